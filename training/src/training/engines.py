"""`python -m training.engines BUNDLE`: what other engines than ONNX Runtime change in a bundle's answers; needs no torch.

Measured on labelled images that nothing was fitted on, with the engines that are installed here, and written into the
manifest of a new version: a worker takes an engine only if its figures stand there and say that it keeps the AUC.
"""

from pathlib import Path

import numpy as np

from model_worker import engines
from thorax.bundle import CARD, Bundle, Engine, EngineFigures, load_bundle
from thorax.errors import CodedError
from training.bundles import copy_for_new_version, version_parser, write_manifest
from training.datasets import DataError, Table, read_table
from training.evaluate import Counter, fuse, part_of
from training.metrics import change
from training.predict import Predictions, predict_files
from training.report import mean_auc


def compare(bundle: Bundle, table: Table, images: Path, others: list[Engine]) -> dict[Engine, EngineFigures]:
    """What each of `others` changes against ONNX Runtime on the table's images. DataError where a finding has one class only."""
    files = [images / name for name in table.images]

    def seen(engine: Engine) -> Predictions:
        return predict_files(bundle, files, Counter(len(files)), maps=True, engine=engine)

    exact = seen(Engine.ONNXRUNTIME)
    table_read = table.take(exact.read)
    table_read.require_both_classes()  # an AUC that is not measured is not kept either
    labels = table_read.labels.astype(np.float64)
    before = fuse(bundle.manifest, exact)
    figures = {}
    for engine in others:
        found = seen(engine)
        after = fuse(bundle.manifest, found)
        auc = mean_auc(labels, after) or 0.0
        figures[engine] = EngineFigures(
            images=len(labels),
            auc=round(auc, 5),
            auc_change=round(auc - (mean_auc(labels, before) or 0.0), 5),
            probability=round(float(np.abs(after - before).max()), 5),
            maps=round(max(change(found.maps[name], exact.maps[name]) for name in bundle.manifest.drawn), 5),
        )
    return figures


def section(figures: dict[Engine, EngineFigures], part: str) -> str:
    """The card's words on it."""
    rows = [
        f"| {name} | {f.auc:.4f} | {f.auc_change:+.5f} | {f.probability:.4f} | {f.maps:.1%} |"
        for name, f in figures.items()
    ]
    images = next(iter(figures.values())).images
    return "\n".join(
        [
            "## On other engines",
            "",
            f"Against ONNX Runtime in float32, on {images} images ({part} part): the ensemble's mean AUC, its change, how far one",
            "probability is off at most, and how far the maps are (share of their norm). `python -m training.engines` measures it.",
            "",
            "| engine | mean AUC | change | probability | maps |",
            "|---|---:|---:|---:|---:|",
            *rows,
            "",
        ]
    )


def main() -> None:
    """The command line."""
    arguments = version_parser(
        "Measure what other engines change in a bundle's answers.", part="test"
    ).parse_args()
    try:
        bundle = load_bundle(arguments.bundle)
        table = part_of(read_table(arguments.data), arguments.part, arguments.seed)
        others = engines.installed()
        if not others:
            raise DataError("OpenVINO is not installed here: pip install openvino.")
        figures = compare(bundle, table, arguments.images, others)
    except DataError as error:
        raise SystemExit(str(error)) from error
    except CodedError as error:
        raise SystemExit(error.detail) from error
    copy_for_new_version(arguments.bundle, arguments.out)
    manifest = bundle.manifest.model_copy(update={"version": arguments.version, "engines": figures})
    write_manifest(arguments.out, manifest)
    words = section(figures, arguments.part)
    card = bundle.card.replace(bundle.manifest.version, arguments.version, 1).partition(
        "## On other engines"
    )[0]
    (arguments.out / CARD).write_text(f"{card.rstrip()}\n\n{words}", "utf-8")
    print(f"{words}\nWrote {arguments.out}.")


if __name__ == "__main__":
    main()
