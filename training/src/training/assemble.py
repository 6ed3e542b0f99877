"""`python -m training.assemble A.ckpt B.ckpt …`: exports, stores as int8, weighs, calibrates, writes a bundle."""

import argparse
import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from thorax.bundle import InputSpec, load_bundle
from training import report
from training.backbones import ARCHITECTURES
from training.bundles import Ensemble, Member, uniform_weights, write_bundle
from training.card import write_card
from training.checkpoint import averaged_classifier, load_checkpoint
from training.datasets import Table, read_table
from training.evaluate import measure, summary
from training.export import export_graph, parameter_count
from training.fit_ensemble import Fitted, fit, weigh_candidates
from training.images import load_images
from training.metrics import Floats
from training.predict import Predictions, predict_files
from training.splits import split_by_patient
from training.stored import stored

_SAMPLE = 256


def member(checkpoint: Path, size: int, pixels: NDArray[np.uint8], labels: Floats, int8: bool) -> Member:
    """A trained backbone as a bundle's member. ValueError if int8 storage costs it too much.

    `pixels` uint8 [N, size, size] with `labels` [N, 5] are what the cost is measured on.
    """
    saved = load_checkpoint(checkpoint)
    classifier = averaged_classifier(saved)
    exact = export_graph(classifier, size)
    graph = stored(saved.name, exact, pixels, labels) if int8 else exact
    said = ARCHITECTURES[saved.name].said
    return Member(saved.name, graph, said, parameter_count(classifier), input=InputSpec(size=size))


def predictions(folder: Path, table: Table, images: Path, cache: Path) -> Predictions:
    """What a bundle's members say of the table's images, run as in serving; kept in `cache` by graph."""
    bundle = load_bundle(folder)
    files = [images / name for name in table.images]
    seen = {}
    for spec in bundle.manifest.backbones:
        key = hashlib.sha256("\n".join((spec.sha256, spec.input.key, *table.images)).encode()).hexdigest()
        path = cache / f"{key[:16]}.npy"
        if not path.exists():
            alone = bundle.manifest.model_copy(update={"backbones": (spec,)})
            bar = tqdm(total=len(files), desc=f"{spec.name}, {len(files)} images")
            done = predict_files(replace(bundle, manifest=alone), files, bar.update)
            path.parent.mkdir(parents=True, exist_ok=True)
            np.save(path, done.by_backbone[spec.name])
        seen[spec.name] = np.load(path)
    return Predictions(seen, np.arange(len(files)), {})


def fitted_ensemble(names: list[str], fitted: Fitted) -> Ensemble:
    """The fit as a manifest wants it."""
    weights = {name: tuple(map(float, row)) for name, row in zip(names, fitted.weights, strict=True)}
    return Ensemble(weights, tuple(fitted.thresholds), fitted.calibration)  # type: ignore[arg-type]


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
    parser.add_argument("--sensitivity", type=float, help="set thresholds there instead of by Youden's J")
    parser.add_argument("--split-seed", type=int, default=20)
    parser.add_argument("--notes", type=Path, help="text for the card: data, method, limits")
    parser.add_argument("--cache", type=Path, default=Path("build/training"))
    try:
        assemble(parser.parse_args())
    except ValueError as error:
        raise SystemExit(str(error)) from error


def assemble(arguments: argparse.Namespace) -> None:
    """Export and weigh on the validation part, then measure on the test part and write the card."""
    images, cache = arguments.images, arguments.cache
    table = read_table(arguments.data)
    where = split_by_patient(table.patients, table.labels, arguments.split_seed)
    parts = {
        p: load_images(table.take(where == p), images, 224, cache / "images")[0] for p in ("val", "test")
    }
    members = _members(arguments, parts["val"])
    said = {"name": arguments.name, "version": arguments.version, "licence": arguments.licence}
    names = [m.name for m in members]
    write_bundle(arguments.out, members, Ensemble(uniform_weights(names)), **said)
    seen = {p: predictions(arguments.out, rows, images, cache / "predictions") for p, rows in parts.items()}
    labels = parts["val"].labels.astype(np.float64)
    stacked = np.stack([seen["val"].by_backbone[name].astype(np.float64) for name in names])
    patients = np.unique(np.array(parts["val"].patients), return_inverse=True)[1]
    compared = weigh_candidates(labels, stacked, patients, names)
    ensemble = fitted_ensemble(names, fit(labels, stacked, arguments.sensitivity))
    write_bundle(arguments.out, members, ensemble, **said)
    bundle = load_bundle(arguments.out)
    figures = {part: measure(bundle, rows, seen[part])[0] for part, rows in parts.items()}
    ensemble = replace(
        ensemble, metrics=metrics_of(figures["test"], arguments.data.name, arguments.split_seed)
    )
    manifest = write_bundle(arguments.out, members, ensemble, **said)
    notes = arguments.notes.read_text("utf-8") if arguments.notes else ""
    write_card(arguments.out, manifest, figures, compared, notes, seed=arguments.split_seed)
    (cache / "figures.json").write_text(json.dumps(figures, indent=1), "utf-8")
    print("\n\n".join(f"{part}\n{summary(figures[part])}" for part in figures))


def _members(arguments: argparse.Namespace, val: Table) -> list[Member]:
    sizes = arguments.sizes * (len(arguments.checkpoints) if len(arguments.sizes) == 1 else 1)
    members = []
    for checkpoint, size in zip(arguments.checkpoints, sizes, strict=True):
        sample, pixels = load_images(val, arguments.images, size, arguments.cache / "images")
        some = (pixels[:_SAMPLE].copy(), sample.labels[:_SAMPLE].astype(np.float64))
        members.append(member(checkpoint, size, *some, arguments.storage == "int8"))
    return members


def metrics_of(figures: report.Report, data: str, seed: int) -> report.Report:
    """What the manifest says of itself: the test part's figures, without the intervals."""
    ensemble = {key: figures["ensemble"][key] for key in ("mean_auc", "mean_auc_95", "auc", "ece")}
    split = f"test part, patients apart from training and validation (training.splits, seed {seed})"
    return {
        "data": data,
        "split": split,
        "n": figures["n"],
        "ensemble": ensemble,
        "backbones": figures["backbones"],
    }


if __name__ == "__main__":
    main()
