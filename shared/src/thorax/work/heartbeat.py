"""The signs of life that a process gives, in the database and in a file."""

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from time import monotonic
from typing import Self

import structlog
from prometheus_client import Gauge
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from thorax import queries
from thorax.work import ledger

BEAT_S = 10.0
STUCK_S = 300.0  # no claim may keep a process busy for longer; a liveness probe then lets it be restarted
_BEAT = Gauge("thorax_beat_seconds", "When this process last said that it lives (Unix time)", ["service"])
_SQL = queries.load(__file__)
_log = structlog.get_logger(__name__)


class Heartbeat(threading.Thread):
    """Says every few seconds, in the database and in a file, that this process lives and is not stuck."""

    def __init__(
        self,
        engine: Engine,
        capabilities: Callable[[], ledger.Capabilities],
        *,
        name: str,
        service: str,
        kinds: Sequence[str] = (),
        busy_since: Callable[[], float | None] = lambda: None,
        deaf: Callable[[], bool] = lambda: False,
        file: Path | None = None,
    ) -> None:
        super().__init__(name="heartbeat", daemon=True)
        self._engine, self._id, self._service, self._file = engine, name, service, file
        self._capabilities, self._kinds, self._busy_since = capabilities, kinds, busy_since
        self._deaf = deaf
        self._done = threading.Event()
        if file:  # left by the previous process, in a restarted container
            file.unlink(missing_ok=True)

    def run(self) -> None:
        """Beat until the block ends."""
        while not self._done.is_set():
            try:
                self._beat()
            except Exception as error:  # a full disk, a lost database: neither may end the heartbeat
                _log.warning("heartbeat_lost", error=type(error).__name__)
            self._done.wait(BEAT_S)

    def __enter__(self) -> Self:
        """Begin."""
        _BEAT.labels(self._service).set_to_current_time()
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop, and sign off, so that readiness does not count on this process any longer."""
        self._done.set()
        self.join(1)  # a beat that comes after the sign-off would undo it
        try:
            with self._engine.begin() as connection:
                connection.execute(_SQL["sign_off"], {"id": self._id})
        except DBAPIError as error:
            _log.warning("sign_off_lost", error=type(error).__name__)

    def _beat(self) -> None:
        busy = self._busy_since()
        if busy is not None and monotonic() - busy > STUCK_S:
            _log.error("stuck", seconds=int(monotonic() - busy))
            return
        if self._deaf():
            _log.error("deaf")  # work waits, and no hint arrives
            return
        capabilities = self._capabilities()
        row = {
            "id": self._id,
            "service": self._service,
            "kinds": [*map(str, capabilities.kinds), *self._kinds],
            "backbones": list(capabilities.backbones),
            "bundles": list(capabilities.bundles),
            "loaded": list(capabilities.loaded),
        }
        if self._file:
            self._file.touch()
        with self._engine.begin() as connection:
            connection.execute(_SQL["beat"], row)
        _BEAT.labels(self._service).set_to_current_time()
