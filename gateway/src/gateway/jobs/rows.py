"""From rows to what the API says. A column whose name is a field's needs no line here."""

from collections.abc import Iterable, Mapping, Sequence
from math import isclose
from typing import Any

from gateway.jobs.repository import AnyRow
from gateway.jobs.schemas import (
    ErrorView,
    Grid,
    ImageView,
    JobSummary,
    JobView,
    MapScaleView,
    MapsView,
    Stage,
    StudyView,
)
from thorax.bundle import Calibration
from thorax.errors import Code
from thorax.findings import FINDINGS
from thorax.operating_points import MapScale, margin, moved_prior
from thorax.states import Priority, StepKind

Columns = Mapping[Any, Any]
_INPUT_AT_FAULT = (413, 415, 422)
_PLACE = {finding: place for place, finding in enumerate(FINDINGS)}
_LABELS = {finding: finding.label for finding in FINDINGS}


def whole(job: AnyRow, base: str) -> JobView:
    """A whole job, from `repository.whole_job`; `base` is the path under which the caller reaches it."""
    columns = job._mapping
    images = columns["images"] or []
    own = _backbones(columns)
    if len(images) == 1:
        own[None] = own.get(images[0]["id"], {})

    def findings(instance_id: str | None) -> list[Columns]:
        rows = [row for row in columns["findings"] or () if row["instance_id"] == instance_id]
        return _findings(rows, own.get(instance_id, {}), columns["prevalences"])

    study = {**columns, **_derived(columns), "id": columns["study_id"], "findings": findings(None)}
    return JobView.model_validate(
        {
            **columns,
            **_derived(columns),
            "stages": _stages(columns["steps"], columns["backbones"]) if columns["steps"] else [],
            "backbones": columns["backbones"] or [],
            "full": columns["full_ensemble"],
            "error": error(columns),
            "study": StudyView.model_validate(study),
            "images": [
                _image(
                    row,
                    findings(row["id"]),
                    list(own.get(row["id"], ())),
                    _maps(columns, row["id"]),
                    f"{base}/images/{row['id']}",
                )
                for row in images
            ],
            "map_scale": map_scale(columns["map_scale"]),
            "links": {"self": base, "events": f"{base}/events"},
        }
    )


def summary(job: AnyRow) -> JobSummary:
    """A job for a list, with its study's findings. The top one has the largest margin."""
    columns = dict(zip(job._fields, job, strict=True))
    views = _findings(columns["findings"] or (), {})
    top = max(views, key=lambda view: view["margin"], default=None)
    files = columns["files"]
    first = files[0] if files else {"id": None, "view_position": None}
    own = {
        "findings": views,
        "top_finding": top,
        "error": error(columns),
        "images": len(files),
        "first_image": first["id"],
        "view_position": first["view_position"],
    }
    return JobSummary.model_validate({**columns, **_derived(columns), **own})


def _derived(job: Columns) -> dict[str, Any]:
    """What every view of a job says in other words than its columns."""
    return {
        "priority": Priority.STAT if job["priority"] == Priority.STAT.rank else Priority.ROUTINE,
        "progress": {"done": job["steps_done"], "total": job["steps_total"]},
        "degraded": bool(job["missing_backbones"]),
        "bundle": {name: job[f"bundle_{name}"] for name in ("name", "version", "digest")},
        "patient": job["patient"].hex() if job["patient"] else None,
    }


def error(columns: Columns) -> ErrorView | None:
    """The error of a job or an image with its sentences; None without one."""
    if not columns["error_code"]:
        return None
    code = Code(columns["error_code"])
    return ErrorView(
        code=code,
        title=code.title,
        detail=columns.get("error_detail") or f"{code.title}.",
        remedy=code.remedy,
        permanent=code.status in _INPUT_AT_FAULT,
    )


def _findings(
    rows: Iterable[Columns], backbones: dict[str, list[float]], prevalences: Sequence[float] = ()
) -> list[Columns]:
    """What becomes `FindingView`s, in canonical order; `backbones` maps a name to its five probabilities at the bundle's `prevalences`."""
    return [
        {
            "finding": row["finding"],
            "label": _LABELS[row["finding"]],
            "probability": round(row["probability"], 6),
            "threshold": round(row["threshold"], 6),
            "operating_point": row["point"],
            "positive": row["positive"],
            "verdict": row["verdict"],
            "prevalence": row["prevalence"] and round(row["prevalence"], 6),
            "times_the_average": row["prevalence"] and round(row["probability"] / row["prevalence"], 4),
            "margin": round(margin(row["probability"], row["threshold"]), 6),
            "disagreement": round(row["disagreement"], 6),
            "backbones": {name: round(_own(five, row, prevalences), 6) for name, five in backbones.items()},
        }
        for row in sorted(rows, key=lambda row: _PLACE[row["finding"]])
    ]


def _own(five: Sequence[float], row: Columns, prevalences: Sequence[float]) -> float:
    """A backbone's probability of a row's finding, for the prevalence that the row holds for."""
    place = _PLACE[row["finding"]]
    if not prevalences or isclose(prevalences[place], row["prevalence"], rel_tol=1e-6):
        return five[place]
    return moved_prior(five[place], prevalences[place], row["prevalence"])


def _backbones(job: Columns) -> dict[str | None, dict[str, list[float]]]:
    """Each backbone's five calibrated probabilities, by image and backbone."""
    found: dict[str | None, dict[str, list[float]]] = {}
    scales = [Calibration.model_validate(scale) for scale in job["calibration"]] if job["predictions"] else []
    for row in job["predictions"] or ():
        five = [scale(p) for scale, p in zip(scales, row["probabilities"], strict=True)]
        found.setdefault(row["instance_id"], {})[row["backbone"]] = five
    return found


def _maps(job: Columns, instance_id: str) -> MapsView | None:
    """The grids of an image's maps: the fused one's, and those of the backbones whose maps are fused."""
    if instance_id not in (job["map_shapes"] or {}):
        return None
    own = {row["backbone"]: row for row in job["predictions"] or () if row["instance_id"] == instance_id}
    members = (job["map_scale"] or {}).get("members") or own
    backbones = {name: _grid(row["map_shape"]) for name, row in own.items() if name in members}
    return MapsView(ensemble=_grid(job["map_shapes"][instance_id]), backbones=backbones)


def _grid(shape: Sequence[int]) -> Grid:
    return Grid(rows=shape[1], columns=shape[2])


def map_scale(stored: Columns | None) -> MapScaleView | None:
    """A manifest's scale of maps, by finding; None where it has none."""
    if stored is None:
        return None
    scale = MapScale.model_validate(stored, extra="ignore")
    by_finding = {name: dict(zip(FINDINGS, getattr(scale, name), strict=True)) for name in ("full", "cuts")}
    return MapScaleView.model_validate({"unit": scale.unit, **by_finding})


def _stages(steps: Sequence[Columns], backbones: Sequence[str]) -> list[Stage]:
    """All stages of an open job; the ledger learns of the later steps only when work gets there."""
    known = {(step["kind"], step["backbone"]): step for step in steps}
    kinds: list[tuple[StepKind, str | None]] = [
        (StepKind.PREPARE, None),
        *((StepKind.INFER, name) for name in backbones),
        (StepKind.AGGREGATE, None),
    ]
    return [
        Stage.model_validate({**known.get((kind, name), {}), "kind": kind, "backbone": name})
        for kind, name in kinds
    ]


def _image(
    row: Columns, findings: list[Columns], ran: list[str], maps: MapsView | None, base: str
) -> ImageView:
    links = {"original": f"{base}/original"}
    if row["state"] == "prepared":
        links["image"] = f"{base}/image.png"
    if findings:
        links["heatmaps"] = f"{base}/heatmaps.npz"
        links |= {f"heatmap:{f}": f"{base}/heatmaps/{f}.png" for f in FINDINGS}
        links |= {f"overlay:{f}": f"{base}/overlay/{f}.png" for f in FINDINGS}
    own = {"error": error(row), "findings": findings, "ran": ran, "maps": maps, "links": links}
    return ImageView.model_validate({**row, **own})
