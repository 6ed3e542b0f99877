"""`python -m training.evaluate`: scores a bundle on a labelled CSV through the code that serves; needs no torch."""

import argparse
import csv
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from thorax.bundle import Bundle, Manifest, load_bundle
from thorax.cascade import answering, asked_first
from thorax.ensemble import combine
from thorax.errors import CodedError
from thorax.findings import FINDINGS
from training import metrics, plots
from training.boxes import measure_boxes, said
from training.cascade import would_run
from training.datasets import DataError, Table, read_table
from training.metrics import Floats
from training.points import normals_called
from training.predict import Predictions, each_image, predict_files
from training.report import Report, brief, by_group, ensemble_report, mean_auc
from training.splits import CHOICES, split_by_patient, taken


@dataclass(frozen=True)
class Scored:
    """The report, and of the images that could be read their rows, labels [n, 5] and ensemble's probabilities [n, 5]."""

    report: Report
    table: Table
    labels: Floats
    fused: Floats


def evaluate(bundle: Bundle, table: Table, images: Path) -> Scored:
    """Run the bundle over the table's images, and score it."""
    files = [images / name for name in table.images]
    return measure(bundle, table, predict_files(bundle, files, Counter(len(table))))


def measure(bundle: Bundle, table: Table, predictions: Predictions) -> Scored:
    """The same from predictions of the table's images."""
    table = table.take(predictions.read)
    labels = table.labels.astype(np.float64)
    manifest = bundle.manifest
    fused = fuse(manifest, predictions)
    report: Report = {
        "bundle": {"name": manifest.name, "version": manifest.version, "digest": bundle.digest},
        "data": table.source.name,
        "n": len(table),
        "patients": len(set(table.patients)),
        "skipped": predictions.skipped,
        "ensemble": ensemble_report(labels, fused, manifest.thresholds, table.patients),
        "backbones": {n: brief(labels, p.astype(np.float64)) for n, p in predictions.by_backbone.items()},
    }
    if manifest.cascade:
        report["all_members"] = _against_all(manifest, predictions, labels, fused, table.patients)
    if manifest.operating_points and (labels == 0).all(1).any():
        report["normals_called"] = normals_called(labels, fused, manifest.operating_points)
    for column in ("view", "source", "native_px"):
        if column in table.columns:
            report[f"by_{column}"] = by_group(labels, fused, table.columns[column])
    return Scored(report, table, labels, fused)


def fuse(manifest: Manifest, predictions: Predictions) -> Floats:
    """The calibrated ensemble's probabilities [N, 5], image by image as they are served: by those that a cascade would ask."""
    answers = []
    for row in each_image(predictions):
        names = would_run(manifest, row)
        answers.append(combine(answering(manifest, names), {name: row[name] for name in names}))
    return np.stack([answer.probabilities for answer in answers])


def _against_all(
    manifest: Manifest, predictions: Predictions, labels: Floats, fused: Floats, patients: Sequence[str]
) -> Report:
    """What a cascade saves and loses: the share of images that asked all members, and the mean AUC with and without it."""
    asked = [
        len(would_run(manifest, row)) > len(asked_first(manifest, full=False))
        for row in each_image(predictions)
    ]
    whole = fuse(manifest.model_copy(update={"cascade": None}), predictions)
    groups = np.unique(np.array(patients), return_inverse=True)[1]
    rows = list(metrics.draws_of_patients(groups, 1000))
    pairs = [[mean_auc(labels[r], p[r]) or 0.0 for p in (fused, whole)] for r in rows]
    low, high = np.percentile([own - other for own, other in pairs], [2.5, 97.5])
    return {
        **brief(labels, whole),
        "asked_all": float(np.mean(asked)),
        "difference_95": (float(low), float(high)),
    }


def part_of(table: Table, part: str, seed: int) -> Table:
    """The rows of one of CHOICES of the seeded, patient-grouped split that the default bundle was trained with."""
    return table.take(taken(split_by_patient(table.patients, table.labels, seed), part))


def main() -> int:
    """The command line: prints a small table, writes JSON and, with --plots, pictures. 2 for bad input."""
    parser = argparse.ArgumentParser(description="Score a model bundle on a labelled CSV.")
    parser.add_argument("--data", type=Path, required=True, help="CSV with image and the five findings")
    parser.add_argument("--images", type=Path, required=True, help="folder that the names in the CSV are in")
    parser.add_argument("--out", type=Path, required=True, help="JSON to write")
    parser.add_argument("--bundle", type=Path, default=Path("models/default"))
    parser.add_argument("--part", choices=CHOICES, default="all", help="of the bundle's own split")
    parser.add_argument("--seed", type=int, default=20, help="of that split")
    parser.add_argument(
        "--boxes", type=Path, help="CSV of boxes to hold the maps against, for measuring only"
    )
    parser.add_argument("--box-images", type=Path, help="their images (default: images/ beside the CSV)")
    parser.add_argument("--predictions", type=Path, help="CSV of each image's probabilities and verdicts")
    parser.add_argument("--plots", type=Path, help="folder for ROC and reliability pictures")
    arguments = parser.parse_args()
    try:
        bundle = load_bundle(arguments.bundle)
        pointing = _pointing(bundle, arguments.boxes, arguments.box_images)
        table = part_of(read_table(arguments.data, partial=True), arguments.part, arguments.seed)
        scored = evaluate(bundle, table, arguments.images)
    except DataError as error:
        print(error, file=sys.stderr)
        return 2
    except CodedError as error:
        print(error.detail, file=sys.stderr)
        return 2
    report = scored.report
    report["part"] = arguments.part
    for sentence in scored.table.one_sided().values():
        print(f"not measured: {sentence}", file=sys.stderr)
    if pointing:
        report["pointing"] = pointing
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(report, indent=1) + "\n", "utf-8")
    if arguments.plots:
        plots.draw(arguments.plots, scored.labels, scored.fused)
    if arguments.predictions:
        write_predictions(arguments.predictions, bundle.manifest, scored)
    print(summary(report))
    if pointing:
        print(said(pointing))
    return 0


def _pointing(bundle: Bundle, boxes: Path | None, images: Path | None) -> Report | None:
    return measure_boxes(bundle, boxes, images or boxes.parent / "images") if boxes else None


def summary(report: Report) -> str:
    """The AUC table as text, one row per backbone and one for the ensemble."""
    rows = {**report["backbones"], "ensemble": report["ensemble"]}
    lines = [
        f"{'':22}" + "".join(f"{f[:12]:>14}" for f in report["ensemble"]["auc"]) + f"{'mean':>8}{'ECE':>7}"
    ]
    for name, row in rows.items():
        aucs = "".join(f"{_text(a):>14}" for a in row["auc"].values())
        lines.append(f"{name:22}{aucs}{_text(row['mean_auc']):>8}{_text(row['ece']):>7}")
    if whole := report.get("all_members"):
        low, high = whole["difference_95"]
        lines.append(
            f"all members: {_text(whole['mean_auc'])}, asked for {whole['asked_all']:.1%} of the images; "
            f"95 % of the difference {low:+.4f} to {high:+.4f}"
        )
    lines.append(f"{report['n']} images of {report['patients']} patients, {len(report['skipped'])} skipped")
    return "\n".join([*lines, *report["skipped"].values()])


def _text(figure: float | None) -> str:
    return "-" if figure is None else f"{figure:.3f}"


def write_predictions(path: Path, manifest: Manifest, scored: Scored) -> None:
    """A row per image with the columns of `thorax predict`: probabilities and verdicts, and the labels beside them."""
    header = ["image", *FINDINGS, *(f"{f}_verdict" for f in FINDINGS), *(f"{f}_label" for f in FINDINGS)]
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(header)
        for image, five, labels in zip(scored.table.images, scored.fused, scored.labels, strict=True):
            verdicts = [manifest.verdict(f, float(p)) for f, p in zip(FINDINGS, five, strict=True)]
            known = ["" if np.isnan(label) else int(label) for label in labels]
            table.writerow([image, *(f"{p:.6f}" for p in five), *verdicts, *known])


class Counter:
    """Prints how many of `total` images are done, on one line, where somebody watches."""

    def __init__(self, total: int) -> None:
        self.total, self.done = total, 0

    def __call__(self, more: int) -> None:
        self.done = min(self.total, self.done + more)
        if sys.stderr.isatty():
            end = "\n" if self.done == self.total else ""
            print(f"\r{self.done}/{self.total} images", end=end, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
