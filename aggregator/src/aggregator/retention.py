"""What is older than its tenant keeps it, and what has to make room when the disk fills."""

from collections.abc import Callable
from time import monotonic

import structlog
from sqlalchemy import Engine

from thorax import queries
from thorax.database import transactional
from thorax.storage import RESERVE_BYTES, BlobStore, is_input

AT_ONCE = 200
ROUND_S = 600.0
_SQL = queries.load(__file__)
_BLOBS: dict[str, Callable[[str], bool]] = {
    "inputs": is_input,
    "originals": lambda name: not is_input(name),  # and what is made of them to be seen
}
_KINDS = ("maps", *_BLOBS)  # maps lie in the database
_EXPENDABLE = ("maps", "inputs")  # in this order; a retry makes both again, while nothing makes an original
_log = structlog.get_logger(__name__)


class Retention:
    """Duties that several processes may do at once: what is erased twice is not an error."""

    def __init__(self, engine: Engine, blobs: BlobStore) -> None:
        self._engine, self._blobs = engine, blobs
        self._whole = transactional(engine)
        self._next = 0.0
        self.duties = (self.erase_old, self.make_room)

    def erase_old(self) -> None:
        """Erase studies, originals, inputs and maps that are over their age."""
        if monotonic() < self._next:
            return
        more = False
        with self._engine.connect() as connection:
            wanted = connection.execute(_SQL["wanted"]).scalar_one()
        if wanted:
            with self._whole.begin() as connection:
                erased = connection.execute(_SQL["delete_studies"], {"at_most": AT_ONCE}).scalar_one()
            more = erased == AT_ONCE
            for kind in _KINDS:
                more |= self._expire(kind, "due") == AT_ONCE
        self._next = monotonic() + (0 if more else ROUND_S)

    def make_room(self) -> None:
        """While the disk is nearly full, erase the oldest maps, then inputs; originals and results never before their age."""
        room = self._blobs.room()
        if room is None or room[0] >= 2 * min(RESERVE_BYTES, room[1] // 20):
            return
        for kind in _EXPENDABLE:
            if gone := self._expire(kind, "oldest"):
                _log.warning("erased_to_make_room", kind=kind, images=gone, free_bytes=room[0])
                return

    def _expire(self, kind: str, which: str) -> int:
        with self._engine.connect() as connection:
            ids = list(connection.execute(_SQL[which], {"kind": kind, "at_most": AT_ONCE}).scalars())
        if not ids:
            return 0
        if kind in _BLOBS:
            for instance_id in ids:
                self._blobs.erase(instance_id, only=_BLOBS[kind])
        with self._whole.begin() as connection:
            if kind == "maps":
                connection.execute(_SQL["drop_maps"], {"ids": ids})
            connection.execute(_SQL["mark"], {"kind": kind, "ids": ids})
        return len(ids)
