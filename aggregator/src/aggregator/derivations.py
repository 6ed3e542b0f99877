"""Keeps a job's answer as DICOM objects for DICOMweb's readers, once somebody looks at its study (docs/adr/0027)."""

import hashlib
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import Engine

from aggregator.delivery.answers import objects_of
from aggregator.objects.answer import Predecessor
from aggregator.objects.identity import Sealed
from thorax import queries
from thorax.database import transactional
from thorax.storage import ORIGINAL, BlobStore

LEASE_S = 30.0
_SQL = queries.load(__file__)


class Derivations:
    """What readers wait for; several sweepers may do it at once."""

    def __init__(self, engine: Engine, blobs: BlobStore) -> None:
        self._engine, self._blobs = transactional(engine), blobs
        self.due_in_s = 0.0  # from the end of the last round; 0: unknown
        self.duties = (self.derive,)

    def derive(self) -> None:
        """Make what is wanted. An attempt that fails is logged by the sweeper, and made again when its lease has ended."""
        self.due_in_s = 0.0
        while True:
            with self._engine.begin() as connection:
                due = connection.execute(_SQL["claim"], {"lease_s": LEASE_S}).first()
                if due is None:
                    self.due_in_s = connection.execute(_SQL["due"]).scalar_one()
                    return
            self._derive(due.job_id, due.tenant_id)

    def _derive(self, job_id: UUID, tenant_id: UUID) -> None:
        with self._engine.connect() as connection:
            before = connection.execute(_SQL["predecessor"], {"job_id": job_id}).first()
        predecessor = Predecessor(before.series, before.sop) if before else None
        sealed, _ = objects_of(self._engine, self._blobs, job_id, predecessor)
        kept = [self._stored(each) for each in sealed]
        with self._engine.begin() as connection:
            if connection.execute(_SQL["made"], {"job_id": job_id}).first():
                for row in kept:
                    connection.execute(_SQL["keep"], {**row, "job_id": job_id, "tenant_id": tenant_id})

    def _stored(self, sealed: Sealed) -> dict[str, Any]:
        """The row of an object whose bytes are stored. Without the row the sweeper erases them as it does any orphan."""
        made, data, id_ = sealed.dataset, sealed.file, uuid4()
        self._blobs.put(id_, ORIGINAL, data)
        return {
            "id": id_,
            "study": str(made.StudyInstanceUID),
            "series": str(made.SeriesInstanceUID),
            "sop": str(made.SOPInstanceUID),
            "sop_class": str(made.SOPClassUID),
            "modality": str(made.Modality),
            "transfer_syntax": str(made.file_meta.TransferSyntaxUID),
            "size_bytes": len(data),
            "sha256": hashlib.sha256(data).hexdigest(),
        }
