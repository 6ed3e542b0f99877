"""The aggregator's craft: when the last prediction is there, the ensemble's findings and heatmaps follow."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, Engine, text

from aggregator.ensemble import Ensemble, combine, study
from aggregator.heatmaps import fuse
from thorax import ledger
from thorax.bundle import Manifest
from thorax.errors import Code, CodedError
from thorax.findings import FINDINGS
from thorax.models import JobState, StepKind

_PREDICTIONS = text("""
select instance_id, backbone, probabilities, maps, map_shape from predictions where job_id = :job_id""")
_FAILED_IMAGES = text("""
select i.error_code, i.error_detail from instances i join jobs j on j.study_id = i.study_id
where j.id = :job_id and i.state = 'failed' order by i.position""")
_PREPARED = text("""
select count(*) from instances i join jobs j on j.study_id = i.study_id where j.id = :job_id and i.state <> 'failed'""")
_MANIFEST = text("select manifest from bundles where digest = :digest")
_FINDINGS = text("""
insert into study_findings (job_id, instance_id, finding, probability, threshold, positive, disagreement)
values (:job_id, :instance_id, :finding, :probability, :threshold, :positive, :disagreement)""")
_HEATMAP = text("""
insert into heatmaps (job_id, instance_id, maps, map_shape) values (:job_id, :instance_id, :maps, :map_shape)""")
_SUCCEED = text("""
with spans as (
  select kind, min(started_at) as began, coalesce(max(finished_at), clock_timestamp()) as ended
  from steps where job_id = :job_id group by kind),
seconds as (
  select jsonb_object_agg(kind || '_s', round(extract(epoch from ended - began)::numeric, 4)) as by_kind,
    min(began) as began from spans),
ended as (
  update jobs j set state = 'succeeded', finished_at = clock_timestamp(), missing_backbones = :missing,
    steps_done = steps_done + 1, version = version + 1,
    timings = by_kind || jsonb_build_object(
      'queued_s', round(extract(epoch from began - created_at)::numeric, 4),
      'total_s', round(extract(epoch from clock_timestamp() - created_at)::numeric, 4))
  from seconds where j.id = :job_id returning id, version, state)
select pg_notify('thorax_jobs', concat_ws(' ', id, version, state)) from ended""")


@dataclass(frozen=True)
class ImageResult:
    """The ensemble's answer for one image, and its fused maps float16 [5, 28, 28]."""

    instance_id: UUID
    ensemble: Ensemble
    maps: NDArray[np.float16]


class AggregateCraft:
    """Performs `aggregate` claims."""

    def __init__(self, engine: Engine, *, quorum: int) -> None:
        self._engine, self._quorum = engine, quorum
        self._manifests: dict[str, Manifest] = {}

    def appetite(self) -> ledger.Appetite:
        """`aggregate`, of any bundle."""
        return ledger.Appetite((StepKind.AGGREGATE,))

    def perform(self, claims: Sequence[ledger.Claim]) -> None:
        """One job's last step."""
        (claim,) = claims
        with self._engine.begin() as connection:
            manifest = self._manifest(connection, claim.bundle_digest)
            results = self._results(connection, claim.job_id, manifest)
            if not ledger.hold(connection, claims):
                return
            if results:
                _record(connection, claim.job_id, manifest, results)
            else:
                _fail(connection, claim.job_id)

    def _manifest(self, connection: Connection, digest: str) -> Manifest:
        if digest not in self._manifests:
            stored = connection.execute(_MANIFEST, {"digest": digest}).scalar_one()
            self._manifests[digest] = Manifest.model_validate(stored)
        return self._manifests[digest]

    def _results(self, connection: Connection, job_id: UUID, manifest: Manifest) -> list[ImageResult]:
        """Every image's answer. Raises CodedError(INTERNAL) unless each has exactly the manifest's backbones."""
        images: dict[UUID, dict[str, Any]] = {}
        for row in connection.execute(_PREDICTIONS, {"job_id": job_id}):
            images.setdefault(row.instance_id, {})[row.backbone] = row
        if connection.execute(_PREPARED, {"job_id": job_id}).scalar_one() != len(images):
            raise CodedError(Code.INTERNAL, "An image has no prediction at all.")
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


def _record(connection: Connection, job_id: UUID, manifest: Manifest, results: Sequence[ImageResult]) -> None:
    whole = study([result.ensemble for result in results])
    answers = [(None, whole), *((result.instance_id, result.ensemble) for result in results)]
    rows = [row for owner, ensemble in answers for row in _finding_rows(job_id, owner, manifest, ensemble)]
    connection.execute(_FINDINGS, rows)
    connection.execute(
        _HEATMAP,
        [
            {
                "job_id": job_id,
                "instance_id": result.instance_id,
                "maps": result.maps.tobytes(),
                "map_shape": list(result.maps.shape),
            }
            for result in results
        ],
    )
    connection.execute(_SUCCEED, {"job_id": job_id, "missing": list(whole.missing)})


def _finding_rows(
    job_id: UUID, instance_id: UUID | None, manifest: Manifest, ensemble: Ensemble
) -> list[dict[str, Any]]:
    return [
        {
            "job_id": job_id,
            "instance_id": instance_id,
            "finding": str(finding),
            "probability": float(ensemble.probabilities[i]),
            "threshold": manifest.thresholds[i],
            "positive": bool(ensemble.positive[i]),
            "disagreement": float(ensemble.disagreement[i]),
        }
        for i, finding in enumerate(FINDINGS)
    ]


def _fail(connection: Connection, job_id: UUID) -> None:
    """No image could be analysed: the job fails, with the image's own code if there is just one."""
    failed = connection.execute(_FAILED_IMAGES, {"job_id": job_id}).all()
    code, detail = failed[0] if len(failed) == 1 else (Code.NO_USABLE_IMAGE, "No image could be analysed.")
    ledger.end(connection, job_id, JobState.FAILED, code=code, detail=detail)
