"""Do the maps point at the finding? Boxes that radiologists drew, against the maps of each backbone and the ensemble.

For measuring only: nothing that is trained, calibrated or chosen may see these images.
"""

import csv
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from thorax.bundle import Bundle
from thorax.cascade import answering
from thorax.findings import FINDINGS, Finding
from thorax.heatmaps import fuse
from training.cascade import would_run
from training.datasets import DataError
from training.predict import each_image, predict_files
from training.report import Report

SIDE = 112
"""Grid that maps and boxes are compared on."""

_COLUMNS = ("image", "finding", "x", "y", "width", "height")
_ROUNDS = 1000
_LEVELS = np.linspace(0.02, 0.98, 49)

Grid = NDArray[np.float32]


@dataclass(frozen=True)
class Case:
    """One finding in one image: where its boxes are, bool [SIDE, SIDE], and whose image it is."""

    image: str
    finding: Finding
    inside: NDArray[np.bool_]
    patient: str


def read_boxes(path: Path, images: Path) -> tuple[list[Case], dict[str, str]]:
    """Cases of a CSV with image, finding, x, y, width and height as fractions of the edges, and what was skipped.

    A row whose finding is unknown, whose box is not inside the image or whose image is missing is named by its line.
    DataError for a file without these columns or without a usable row.
    """
    try:
        with path.open(newline="", encoding="utf-8") as lines:
            reader = csv.DictReader(lines)
            header, rows = reader.fieldnames or [], list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: {error}.") from error
    missing = [name for name in _COLUMNS if name not in header]
    if missing:
        raise DataError(f"{path}: expected the columns {', '.join(_COLUMNS)}; missing {missing[0]}.")
    inside: dict[tuple[str, str], NDArray[np.bool_]] = {}
    patients: dict[str, str] = {}
    skipped = {}
    for line, row in enumerate(rows, 2):
        fault = _fault(row, images)
        if fault:
            skipped[f"{path.name}, line {line}"] = fault
            continue
        patients[row["image"]] = row.get("patient_id") or row["image"]
        place = inside.setdefault((row["image"], row["finding"]), np.zeros((SIDE, SIDE), bool))
        place |= _drawn(*(float(row[name]) for name in _COLUMNS[2:]))
    if not inside:
        raise DataError(
            f"{path}: no usable box in {len(rows)} rows; {next(iter(skipped.values()), 'it is empty')}"
        )
    return [Case(i, Finding(f), grid, patients[i]) for (i, f), grid in inside.items()], skipped


def _fault(row: dict[str, str], images: Path) -> str | None:
    if row["finding"] not in list(FINDINGS):
        return f"unknown finding {row['finding']!r}."
    try:
        x, y, width, height = (float(row[name]) for name in _COLUMNS[2:])
    except (TypeError, ValueError):
        return "x, y, width and height must be numbers."
    slack = 1e-6
    if not (width > 0 and height > 0 and min(x, y) >= -slack and max(x + width, y + height) <= 1 + slack):
        return f"the box {x:g}, {y:g}, {width:g}, {height:g} is not inside the image."
    return None if (images / row["image"]).is_file() else f"{row['image']} is missing."


def _drawn(x: float, y: float, width: float, height: float) -> NDArray[np.bool_]:
    at = (np.arange(SIDE) + 0.5) / SIDE
    return np.outer((at >= y) & (at < y + height), (at >= x) & (at < x + width))


def measure_boxes(bundle: Bundle, path: Path, images: Path) -> Report:
    """Per finding: `n` cases, `chance` (share of the image that the boxes cover), and for each backbone and the ensemble
    `hits` (share of maps whose maximum lies inside: the pointing game, Zhang et al. 2018, arXiv 1608.00507), `energy`
    (share of the map inside), `iou` at `level`, the best threshold common to all images (chosen on these very boxes),
    with 95 % intervals that draw whole patients. `others` are the figures of maps that see nothing of the image: for each
    case the mean of the ensemble's maps of the other patients with the finding. It is left out where there is one patient."""
    cases, skipped = read_boxes(path, images)
    names = list(dict.fromkeys(case.image for case in cases))
    seen = predict_files(bundle, [images / name for name in names], lambda _: None, maps=True)
    row_of = {names[row]: i for i, row in enumerate(seen.read)}
    skipped.update(seen.skipped)
    cases = [case for case in cases if case.image in row_of]
    maps: dict[str, NDArray[Any]] = dict(seen.maps)
    served = []
    for row, predictions in enumerate(each_image(seen)):
        ran = would_run(bundle.manifest, predictions)
        own = {name: seen.maps[name][row] for name in ran}
        served.append(fuse(answering(bundle.manifest, ran), own))
    maps["ensemble"] = np.stack(served)
    findings: dict[str, Any] = {}
    for finding in FINDINGS:
        of = [case for case in cases if case.finding == finding]
        if of:
            place = FINDINGS.index(finding)
            inside = np.stack([case.inside for case in of])
            patients = np.unique([case.patient for case in of], return_inverse=True)[1]
            rows = [row_of[case.image] for case in of]
            drawn = {
                name: np.stack([resized(grid) for grid in grids[rows, place]]) for name, grids in maps.items()
            }
            if patients.any():
                drawn["others"] = of_others(drawn["ensemble"], patients)
            figures = {name: pointing(grids, inside, patients) for name, grids in drawn.items()}
            findings[str(finding)] = {"n": len(of), "chance": float(inside.mean()), **figures}
    return {"boxes": path.name, "images": len(row_of), "findings": findings, "skipped": skipped}


def of_others(maps: Grid, patients: NDArray[np.int64]) -> Grid:
    """For each of the maps [n, SIDE, SIDE] the mean of those of other `patients` [n]: at least two."""
    return np.stack([maps[patients != patient].mean(0) for patient in patients])


def resized(grid: NDArray[np.floating]) -> Grid:
    """[h, w] of any size to [SIDE, SIDE], bilinear."""
    return np.asarray(cv2.resize(np.asarray(grid, np.float32), (SIDE, SIDE)), np.float32)


def pointing(maps: Grid, inside: NDArray[np.bool_], patients: NDArray[np.int64]) -> Report:
    """The figures of `measure_boxes` for maps and boxes [n, SIDE, SIDE] of `patients` [n]."""
    flat, boxes = maps.reshape(len(maps), -1), inside.reshape(len(maps), -1)
    # Where a plateau is the maximum, the share of it that lies inside.
    top = flat == flat.max(1, keepdims=True)
    hits = (top & boxes).sum(1) / top.sum(1)
    energy = (flat * boxes).sum(1) / np.maximum(flat.sum(1), 1e-9)
    levels = _LEVELS * float(flat.max())
    overlap = np.array([_iou(flat >= level, boxes) for level in levels])
    best = int(overlap.mean(1).argmax())
    return {
        "hits": float(hits.mean()),
        "hits_95": _interval(hits, patients),
        "energy": float(energy.mean()),
        "energy_95": _interval(energy, patients),
        "iou": float(overlap[best].mean()),
        "iou_95": _interval(overlap[best], patients),
        "level": float(levels[best]),
    }


def _iou(chosen: NDArray[np.bool_], boxes: NDArray[np.bool_]) -> NDArray[np.float64]:
    return np.asarray((chosen & boxes).sum(1) / np.maximum((chosen | boxes).sum(1), 1))


def _interval(values: NDArray[np.float64], patients: NDArray[np.int64]) -> tuple[float, float]:
    """95 % percentile bootstrap of the mean; whole patients are drawn (Efron 1979)."""
    rows: dict[int, list[int]] = defaultdict(list)
    for row, patient in enumerate(patients):
        rows[int(patient)].append(row)
    groups, rng = list(rows.values()), np.random.default_rng(0)
    means = []
    for _ in range(_ROUNDS):
        drawn = [row for i in rng.integers(0, len(groups), len(groups)) for row in groups[i]]
        means.append(values[drawn].mean())
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)


def said(report: Report) -> str:
    """The pointing game as text: finding, cases, chance, and each backbone's share of hits."""
    lines = []
    for finding, row in report["findings"].items():
        parts = [
            f"{name} {figures['hits']:.2f}" for name, figures in row.items() if isinstance(figures, dict)
        ]
        lines.append(f"{finding}: {row['n']} cases, chance {row['chance']:.2f}, hits: {', '.join(parts)}")
    skipped = [f"skipped {where}: {why}" for where, why in report["skipped"].items()]
    return "\n".join([*lines, *skipped, f"{report['images']} images with boxes, {len(skipped)} skipped"])
