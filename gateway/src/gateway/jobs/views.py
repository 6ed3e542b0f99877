"""From rows to what the API says."""

from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

from gateway.jobs.repository import AnyRow
from gateway.jobs.schemas import (
    BundleView,
    ErrorView,
    FindingView,
    ImageView,
    JobSummary,
    JobView,
    Priority,
    Progress,
    Stage,
    StudyView,
)
from thorax.bundle import Calibration
from thorax.errors import Code
from thorax.findings import FINDINGS, Finding
from thorax.states import JobState, StepKind

_PLACE = {finding: place for place, finding in enumerate(FINDINGS)}


def priority(rank: int) -> Priority:
    """The word for the ledger's number."""
    return Priority.STAT if rank == Priority.STAT.rank else Priority.ROUTINE


def error_view(code: str | None, detail: str | None) -> ErrorView | None:
    """A stored error code with its sentences; None without one."""
    if not code:
        return None
    row = Code(code)
    return ErrorView(code=code, title=row.title, detail=detail or row.title, remedy=row.remedy)


def finding_views(rows: Sequence[Any], backbones: dict[str, list[float]]) -> list[FindingView]:
    """The findings in canonical order; `backbones` maps a name to its five probabilities."""
    return [
        FindingView(
            finding=Finding(row.finding),
            label=Finding(row.finding).label,
            probability=round(row.probability, 6),
            threshold=round(row.threshold, 6),
            positive=row.positive,
            disagreement=round(row.disagreement, 6),
            backbones={name: round(five[_PLACE[row.finding]], 6) for name, five in backbones.items()},
        )
        for row in sorted(rows, key=lambda row: _PLACE[row.finding])
    ]


def job_view(job: AnyRow, base: str) -> JobView:
    """A whole job, from `repository.whole_job`; `base` is the path under which the caller reaches it."""
    images = [SimpleNamespace(**image) for image in job.images or ()]
    own: dict[str | None, dict[str, list[float]]] = {}
    scales = [Calibration.model_validate(scale) for scale in job.calibration] if job.predictions else []
    for row in job.predictions or ():
        five = [scale(p) for scale, p in zip(scales, row["probabilities"], strict=True)]
        own.setdefault(row["instance_id"], {})[row["backbone"]] = five
    if len(images) == 1:
        own[None] = own.get(images[0].id, {})
    grouped: dict[str | None, list[SimpleNamespace]] = {}
    for row in job.findings or ():
        grouped.setdefault(row["instance_id"], []).append(SimpleNamespace(**row))

    def views(instance_id: str | None) -> list[FindingView]:
        return finding_views(grouped.get(instance_id, []), own.get(instance_id, {}))

    return JobView(
        id=job.id,
        state=JobState(job.state),
        priority=priority(job.priority),
        progress=Progress(done=job.steps_done, total=job.steps_total),
        stages=_stages(job.steps, job.backbones) if job.steps else [],
        version=job.version,
        bundle=BundleView(name=job.bundle_name, version=job.bundle_version, digest=job.bundle_digest),
        degraded=bool(job.missing_backbones),
        missing_backbones=job.missing_backbones,
        created_at=job.created_at,
        started_at=job.started_at,
        finished_at=job.finished_at,
        expires_at=job.expires_at,
        timings=job.timings,
        error=error_view(job.error_code, job.error_detail),
        study=StudyView(
            id=job.study_id,
            title=job.title,
            study_instance_uid=job.study_instance_uid,
            study_date=job.study_date,
            findings=views(None),
        ),
        images=[_image_view(image, views(image.id), f"{base}/images/{image.id}") for image in images],
        links={"self": base, "events": f"{base}/events"},
    )


def _stages(steps: Sequence[Mapping[str, Any]], backbones: Sequence[str]) -> list[Stage]:
    """All that an open job goes through; the ledger learns of the later steps only when work gets there."""
    known = {(step["kind"], step["backbone"]): step for step in steps}
    kinds: list[tuple[StepKind, str | None]] = [
        (StepKind.PREPARE, None),
        *((StepKind.INFER, name) for name in backbones),
        (StepKind.AGGREGATE, None),
    ]
    nothing = {"done": 0, "running": 0, "total": 0}
    return [
        Stage(
            kind=kind,
            backbone=name,
            **{**nothing, **{k: v for k, v in known.get((kind, name), {}).items() if k in nothing}},
        )
        for kind, name in kinds
    ]


def _image_view(image: SimpleNamespace, findings: list[FindingView], base: str) -> ImageView:
    links = {"original": f"{base}/original"}
    if image.state == "prepared":
        links["image"] = f"{base}/image.png"
    if findings:
        links["heatmaps"] = f"{base}/heatmaps.npz"
        links |= {f"heatmap:{f}": f"{base}/heatmaps/{f}.png" for f in FINDINGS}
        links |= {f"overlay:{f}": f"{base}/overlay/{f}.png" for f in FINDINGS}
    return ImageView(
        id=image.id,
        position=image.position,
        file_name=image.file_name,
        media_type=image.media_type,
        rows=image.rows,
        columns=image.columns,
        view_position=image.view_position,
        sop_instance_uid=image.sop_instance_uid,
        state=image.state,
        error=error_view(image.error_code, image.error_detail),
        findings=findings,
        links=links,
    )


def summary(job: AnyRow, findings: Sequence[AnyRow]) -> JobSummary:
    """A job for a list, with its study's findings. Its top finding is the one furthest above (or least below) its threshold."""
    views = finding_views(findings, {})
    top = max(views, key=lambda view: view.probability - view.threshold, default=None)
    values: dict[str, Any] = {
        name: getattr(job, name)
        for name in (
            *("id", "study_id", "title", "study_date"),
            *("created_at", "finished_at", "images", "first_image"),
        )
    }
    return JobSummary(
        **values,
        state=JobState(job.state),
        priority=priority(job.priority),
        progress=Progress(done=job.steps_done, total=job.steps_total),
        findings=views,
        top_finding=top,
        degraded=bool(job.missing_backbones),
    )
