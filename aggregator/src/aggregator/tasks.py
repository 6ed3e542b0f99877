"""The aggregator's handler: when the last prediction is there, the ensemble's findings and heatmaps follow."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import numpy as np
from sqlalchemy import Connection, Engine

from thorax import queries
from thorax.bundle import Manifest
from thorax.errors import Code, CodedError
from thorax.reading import AS_THE_BUNDLE, Reading
from thorax.states import StepKind
from thorax.work import ledger
from thorax.work.answer import RECORD, ImageResult, result_of, values_of
from thorax.work.ending import Ended

_SQL = queries.load(__file__)
_SUCCEED = ledger.completing(f"{RECORD}, {_SQL['succeed'].text}")
_FAIL = ledger.completing(_SQL["fail"].text)


class AggregateHandler:
    """Does `aggregate` steps."""

    def __init__(self, engine: Engine, *, quorum: int) -> None:
        self._engine, self._quorum = engine, quorum
        self._manifests: dict[str, Manifest] = {}

    def capabilities(self) -> ledger.Capabilities:
        """`aggregate`, of any bundle."""
        return ledger.Capabilities((StepKind.AGGREGATE,))

    def tidy(self) -> bool:
        """Nothing: this is the sweeper's."""
        return False

    def run(self, claims: Sequence[ledger.Claim]) -> None:
        """One job's last step."""
        (claim,) = claims
        with self._engine.connect() as connection:
            manifest = self._manifest(connection, claim.bundle_digest)
            results = self._results(connection, claim.job_id, manifest)
            statement, values = (
                (_SUCCEED, values_of(manifest, _reading(connection, claim.job_id), results))
                if results
                else (_FAIL, _reason(connection, claim.job_id))
            )
            row = connection.execute(statement, {**values, **ledger.held_by(claims)}).first()
        if row:
            Ended.of(row).tell()

    def _manifest(self, connection: Connection, digest: str) -> Manifest:
        if digest not in self._manifests:
            stored = connection.execute(_SQL["manifest"], {"digest": digest}).scalar_one()
            self._manifests[digest] = Manifest.model_validate(stored)
        return self._manifests[digest]

    def _results(self, connection: Connection, job_id: UUID, manifest: Manifest) -> list[ImageResult]:
        """Every image's answer. Raises CodedError(INTERNAL) unless each has exactly the manifest's backbones."""
        images: dict[UUID, dict[str, Any]] = {}
        for row in connection.execute(_SQL["predictions"], {"job_id": job_id}):
            if row.backbone is None:
                raise CodedError(Code.INTERNAL, "An image lacks all predictions.")
            images.setdefault(row.instance_id, {})[row.backbone] = row
        return [
            result_of(
                manifest,
                instance_id,
                {name: np.array(row.probabilities) for name, row in rows.items()},
                {n: np.frombuffer(r.maps, np.float16).reshape(r.map_shape) for n, r in rows.items()},
                allow_missing=self._quorum > 0,
            )
            for instance_id, rows in images.items()
        ]


def _reading(connection: Connection, job_id: UUID) -> Reading:
    stored = connection.execute(_SQL["reading"], {"job_id": job_id}).scalar()
    return Reading.model_validate(stored) if stored else AS_THE_BUNDLE


def _reason(connection: Connection, job_id: UUID) -> dict[str, Any]:
    """Why no image could be analysed: the image's own code if there is just one."""
    failed = connection.execute(_SQL["failed_images"], {"job_id": job_id}).all()
    code, detail = failed[0] if len(failed) == 1 else (Code.NO_USABLE_IMAGE, "No image could be analysed.")
    return {"code": str(code), "detail": detail}
