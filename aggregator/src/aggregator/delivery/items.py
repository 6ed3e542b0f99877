"""The objects of a job as DICOM files, made anew for each attempt: they are the same bytes each time."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine, Row

from aggregator.delivery.answers import answer_of
from aggregator.objects import objects
from aggregator.objects.answer import Predecessor
from thorax import queries
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

    def of(self, due: Row[Any]) -> list[Item]:
        """The objects, the report first, whose UIDs are kept for the version that may follow; none if there is nothing to say."""
        before = due.predecessor_sop and Predecessor(due.predecessor_series, due.predecessor_sop)
        with self._engine.connect() as connection:
            answer = answer_of(connection, self._blobs, due.job_id, before or None)
        if answer is None:
            return []
        items = [
            Item(
                str(made.dataset.StudyInstanceUID),
                str(made.dataset.SeriesInstanceUID),
                str(made.dataset.SOPInstanceUID),
                str(made.dataset.SOPClassUID),
                made.file,
            )
            for made in objects(answer)
        ]
        with self._engine.begin() as connection:
            values = {"id": due.id, "attempts": due.attempts, "series": items[0].series, "sop": items[0].sop}
            connection.execute(_SQL["named"], values)
        return items
