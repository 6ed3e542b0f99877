"""`python -m training.assemble A.ckpt B.ckpt …`: exports, stores as int8, weighs, calibrates, writes a bundle."""

import argparse
import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from thorax.bundle import InputSpec, load_bundle
from training.backbones import ARCHITECTURES, Classifier
from training.backbones.grid import GridClassifier
from training.boxes import measure_boxes
from training.bundles import Ensemble, Member, uniform_weights, write_bundle
from training.checkpoint import averaged_classifier, load_checkpoint
from training.datasets import Table, read_table
from training.export import export_graph, parameter_count
from training.fleet.parcel import unpack
from training.images import load_images
from training.metrics import Floats
from training.predict import Predictions, predict_files
from training.refit import refit, write_refitted
from training.splits import split_by_patient
from training.stored import stored

NET = ".net"
_SAMPLE = 256


def member(checkpoint: Path, size: int, pixels: NDArray[np.uint8], labels: Floats, int8: bool) -> Member:
    """A trained backbone as a bundle's member: a checkpoint, or a `.net` of training.fleet, which knows its own size.
    ValueError if int8 storage costs it too much.

    `pixels` uint8 [N, size, size] with `labels` [N, 5] are what the cost is measured on.
    """
    classifier: Classifier | GridClassifier
    if checkpoint.suffix == NET:
        classifier, size = unpack(checkpoint.read_bytes())
        name = classifier.name
    else:
        saved = load_checkpoint(checkpoint)
        classifier, name = averaged_classifier(saved), saved.name
    exact = export_graph(classifier, size)
    graph = stored(name, exact, pixels, labels) if int8 else exact
    said = ARCHITECTURES[name].said
    return Member(name, graph, said, parameter_count(classifier), input=InputSpec(size=size))


def predictions(folder: Path, table: Table, images: Path, cache: Path) -> Predictions:
    """What a bundle's members say of the table's images, run as in serving, maps too; kept in `cache` by graph."""
    bundle = load_bundle(folder)
    files = [images / name for name in table.images]
    seen, maps = {}, {}
    for spec in bundle.manifest.backbones:
        key = hashlib.sha256("\n".join((spec.sha256, spec.input.key, *table.images)).encode()).hexdigest()
        path = cache / f"{key[:16]}.npz"
        if not path.exists():
            alone = bundle.manifest.model_copy(update={"backbones": (spec,)})
            bar = tqdm(total=len(files), desc=f"{spec.name}, {len(files)} images")
            done = predict_files(replace(bundle, manifest=alone), files, bar.update, maps=True)
            path.parent.mkdir(parents=True, exist_ok=True)
            np.savez(path, probabilities=done.by_backbone[spec.name], maps=done.maps[spec.name])
        with np.load(path) as kept:
            seen[spec.name], maps[spec.name] = kept["probabilities"], kept["maps"]
    return Predictions(seen, np.arange(len(files)), {}, maps)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Make a bundle of trained backbones.")
    parser.add_argument("checkpoints", type=Path, nargs="+")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="the bundle's folder")
    parser.add_argument("--name", default="thorax-own")
    parser.add_argument("--version", default="0.1.0")
    parser.add_argument("--licence", default="Apache-2.0")
    parser.add_argument("--sizes", type=int, nargs="+", default=[224], help="input edge, one or one each")
    parser.add_argument("--storage", choices=("int8", "fp32"), default="int8")
    parser.add_argument("--boxes", type=Path, help="CSV of boxes to measure the maps with, images/ beside it")
    parser.add_argument("--split-seed", type=int, default=20)
    parser.add_argument("--notes", type=Path, help="text for the card: data, method, limits")
    parser.add_argument("--cache", type=Path, default=Path("build/training"))
    try:
        assemble(parser.parse_args())
    except ValueError as error:
        raise SystemExit(str(error)) from error


def assemble(arguments: argparse.Namespace) -> None:
    """Export, fit on the validation part, then measure on the test part and write the card."""
    images, cache = arguments.images, arguments.cache
    table = read_table(arguments.data)
    where = split_by_patient(table.patients, table.labels, arguments.split_seed)
    parts = {
        p: load_images(table.take(where == p), images, 224, cache / "images")[0] for p in ("val", "test")
    }
    members = _members(arguments, parts["val"])
    said = {"name": arguments.name, "version": arguments.version, "licence": arguments.licence}
    uniform = Ensemble(uniform_weights([m.name for m in members]))
    plain = write_bundle(arguments.out, members, uniform, **said)
    seen = {p: predictions(arguments.out, rows, images, cache / "predictions") for p, rows in parts.items()}
    unit = "probability" if arguments.checkpoints[0].suffix == NET else "logit"
    split = f"test part, patients apart from training and validation (training.splits, seed {arguments.split_seed})"
    metrics = {"data": arguments.data.name, "split": split, "n": len(parts["test"])}
    manifest = refit(plain, parts["val"], seen["val"], unit).model_copy(update={"metrics": metrics})
    notes = arguments.notes.read_text("utf-8") if arguments.notes else ""
    bundle = replace(load_bundle(arguments.out), manifest=manifest)
    pointing = (
        measure_boxes(bundle, arguments.boxes, arguments.boxes.parent / "images") if arguments.boxes else None
    )
    write_refitted(bundle, arguments.out, manifest, parts, seen, notes, pointing)


def _members(arguments: argparse.Namespace, val: Table) -> list[Member]:
    sizes = arguments.sizes * (len(arguments.checkpoints) if len(arguments.sizes) == 1 else 1)
    members = []
    for checkpoint, size in zip(arguments.checkpoints, sizes, strict=True):
        sample, pixels = load_images(val, arguments.images, size, arguments.cache / "images")
        some = (pixels[:_SAMPLE].copy(), sample.labels[:_SAMPLE].astype(np.float64))
        members.append(member(checkpoint, size, *some, arguments.storage == "int8"))
    return members


if __name__ == "__main__":
    main()
