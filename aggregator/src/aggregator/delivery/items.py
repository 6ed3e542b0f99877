"""The objects of a job as DICOM files, made anew for each attempt: they are the same bytes each time."""

from dataclasses import dataclass
from threading import Lock
from typing import Any

from pydicom.uid import ComprehensiveSRStorage
from sqlalchemy import Engine, Row

from aggregator.delivery.answers import objects_of
from aggregator.delivery.errors import NotDeliveredError
from aggregator.objects.answer import Predecessor
from aggregator.objects.identity import Sealed
from thorax import queries
from thorax.errors import Code
from thorax.storage import BlobStore

_SQL = queries.load(__file__)


@dataclass(frozen=True)
class Item:
    """An object to deliver: its UIDs and the DICOM file."""

    study: str
    series: str
    sop: str
    sop_class: str
    file: bytes


class Items:
    """Makes the objects of deliveries."""

    def __init__(self, engine: Engine, blobs: BlobStore) -> None:
        self._engine, self._blobs = engine, blobs
        self._making = Lock()  # one job's at a time: they take memory and a connection

    def of(self, due: Row[Any]) -> tuple[list[Item], str | None]:
        """The objects, the report first, whose UIDs are kept for the version that may follow, and a sentence about those that
        can't be made; none if there is nothing to say. Raises NotDeliveredError if none can be made."""
        before = due.predecessor_sop and Predecessor(due.predecessor_series, due.predecessor_sop)
        with self._making:
            sealed, unmade = objects_of(
                self._engine, self._blobs, due.job_id, before or None, logged=due.attempts == 1
            )
        detail = f"Not made: {', '.join(unmade)}." if unmade else None
        if unmade and not sealed:
            raise NotDeliveredError(Code.OBJECT_NOT_MADE, detail or "", may_pass=False)
        items = [_item(made) for made in sealed]
        if items:
            self._name(due, items[0])
        return items, detail

    def _name(self, due: Row[Any], report: Item) -> None:
        if report.sop_class != ComprehensiveSRStorage:
            return
        with self._engine.begin() as connection:
            attempt = {"id": due.id, "since": due.since, "attempts": due.attempts}
            connection.execute(_SQL["named"], {**attempt, "series": report.series, "sop": report.sop})


def _item(made: Sealed) -> Item:
    head = made.dataset
    return Item(
        str(head.StudyInstanceUID),
        str(head.SeriesInstanceUID),
        str(head.SOPInstanceUID),
        str(head.SOPClassUID),
        made.file,
    )
