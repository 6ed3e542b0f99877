"""The aggregator's handler: when the last prediction is there, the ensemble's findings and heatmaps follow."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, Engine

from aggregator.ensemble import Ensemble, combine, study
from aggregator.heatmaps import fuse
from thorax import queries
from thorax.bundle import Manifest
from thorax.errors import Code, CodedError
from thorax.findings import FINDINGS
from thorax.reading import AS_THE_BUNDLE, Reading, read
from thorax.states import StepKind
from thorax.work import ledger

_SQL = queries.load(__file__)
_SUCCEED, _FAIL = (ledger.completing(_SQL[name].text) for name in ("succeed", "fail"))


@dataclass(frozen=True)
class ImageResult:
    """The ensemble's answer for one image, and its fused maps float16 [5, 28, 28]."""

    instance_id: UUID
    ensemble: Ensemble
    maps: NDArray[np.float16]


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
                (_SUCCEED, _columns(manifest, _reading(connection, claim.job_id), results))
                if results
                else (_FAIL, _reason(connection, claim.job_id))
            )
            connection.execute(statement, {**values, **ledger.held_by(claims)})

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
        degraded = self._quorum > 0
        return [
            ImageResult(
                instance_id,
                combine(
                    manifest,
                    {name: np.array(row.probabilities) for name, row in rows.items()},
                    allow_missing=degraded,
                ),
                fuse(
                    manifest,
                    {n: np.frombuffer(r.maps, np.float16).reshape(r.map_shape) for n, r in rows.items()},
                    allow_missing=degraded,
                ),
            )
            for instance_id, rows in images.items()
        ]


def _reading(connection: Connection, job_id: UUID) -> Reading:
    stored = connection.execute(_SQL["reading"], {"job_id": job_id}).scalar()
    return Reading.model_validate(stored) if stored else AS_THE_BUNDLE


def _columns(manifest: Manifest, reading: Reading, results: Sequence[ImageResult]) -> dict[str, Any]:
    """The values of `_SUCCEED`: a column per array, the study's five findings before each image's."""
    whole = study([result.ensemble for result in results])
    answers = [(None, whole), *((result.instance_id, result.ensemble) for result in results)]
    said = [
        read(manifest, reading, finding, float(p))
        for _, ensemble in answers
        for finding, p in zip(FINDINGS, ensemble.probabilities, strict=True)
    ]
    return {
        "owners": [owner for owner, _ in answers for _ in FINDINGS],
        "findings": [str(finding) for _ in answers for finding in FINDINGS],
        "probabilities": [one.probability for one in said],
        "thresholds": [one.threshold for one in said],
        "positives": [one.positive for one in said],
        "disagreements": [float(d) for _, ensemble in answers for d in ensemble.disagreement],
        "verdicts": [str(one.verdict) for one in said],
        "prevalences": [one.prevalence for one in said],
        "points": [str(one.point) for one in said],
        "images": [result.instance_id for result in results],
        "maps": [result.maps.tobytes() for result in results],
        "shape": list(results[0].maps.shape),
        "missing": list(whole.missing),
    }


def _reason(connection: Connection, job_id: UUID) -> dict[str, Any]:
    """Why no image could be analysed: the image's own code if there is just one."""
    failed = connection.execute(_SQL["failed_images"], {"job_id": job_id}).all()
    code, detail = failed[0] if len(failed) == 1 else (Code.NO_USABLE_IMAGE, "No image could be analysed.")
    return {"code": str(code), "detail": detail}
