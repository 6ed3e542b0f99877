"""`python -m training.assemble MEMBER …`: weighs and calibrates networks on labelled images, and writes their bundle.

A member is a checkpoint, a `.net` of training.fleet (both are exported and stored as int8, which needs torch), or the
folder of a bundle, as `thorax bundle import` makes one: all its networks join, their graphs untouched.
"""

import argparse
import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
from tqdm import tqdm

from thorax.bundle import Bundle, load_bundle
from thorax.errors import CodedError
from training.boxes import measure_boxes
from training.bundles import Ensemble, Member, uniform_weights, write_bundle
from training.datasets import DataError, Table, read_table
from training.images import load_images
from training.predict import Predictions, predict_files
from training.refit import add_cascade, asked_for, refit, require_members, write_refitted
from training.splits import split_by_patient, taken

NET = ".net"
OWN_LICENCE = "Apache-2.0"
_SAMPLE = 512


def predictions(folder: Path, table: Table, images: Path, cache: Path) -> Predictions:
    """What a bundle's members say of the table's images, run as in serving, maps too; kept in `cache` by graph and images."""
    bundle = load_bundle(folder)
    files = [images / name for name in table.images]
    seen, maps = {}, {}
    for spec in bundle.manifest.backbones:
        asked = (spec.sha256, spec.input.key, *spec.class_order, str(images.resolve()), *table.images)
        key = hashlib.sha256("\n".join(asked).encode()).hexdigest()
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
    parser = argparse.ArgumentParser(description="Make a bundle of networks that exist.")
    parser.add_argument(
        "members", type=Path, nargs="+", help="checkpoints (.ckpt, .net) and bundles' folders"
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="the bundle's folder")
    parser.add_argument("--name", default="thorax-own")
    parser.add_argument("--version", default="0.1.0")
    parser.add_argument(
        "--licence",
        help=f"by default those of the bundles among the members, and {OWN_LICENCE} of networks of your own",
    )
    parser.add_argument(
        "--fit",
        choices=("val", "all-but-test"),
        help="the part to fit on; by default `val` with a checkpoint, whose networks have seen the rest, else all but test",
    )
    parser.add_argument("--sizes", type=int, nargs="+", default=[224], help="input edge, one or one each")
    parser.add_argument("--storage", choices=("int8", "fp32"), default="int8")
    parser.add_argument("--boxes", type=Path, help="CSV of boxes to measure the maps with, images/ beside it")
    parser.add_argument("--replace", action="store_true", help="a later member takes an earlier one's place if it has its name")  # fmt: skip
    add_cascade(parser)
    parser.add_argument("--split-seed", type=int, default=20)
    parser.add_argument("--notes", type=Path, help="text for the card: data, method, limits")
    parser.add_argument("--cache", type=Path, default=Path("build/training"))
    try:
        assemble(parser.parse_args())
    except (ValueError, CodedError) as error:
        raise SystemExit(error.detail if isinstance(error, CodedError) else str(error)) from error


def assemble(arguments: argparse.Namespace) -> None:
    """Fit on one part, then measure on the test part and write the card."""
    images, cache, out = arguments.images, arguments.cache, arguments.out
    if out.resolve() in [path.resolve() for path in arguments.members]:
        raise DataError(f"{out} is one of the members; expected another folder in --out.")
    imported = {path: load_bundle(path) for path in arguments.members if path.is_dir()}
    table = read_table(arguments.data)
    where = split_by_patient(table.patients, table.labels, arguments.split_seed)
    fit = arguments.fit or ("all-but-test" if len(imported) == len(arguments.members) else "val")
    rows = {"val": taken(where, fit), "test": taken(where, "test")}
    parts = {
        p: load_images(table.take(chosen), images, 224, cache / "images")[0] for p, chosen in rows.items()
    }
    for part in parts.values():
        part.require_both_classes()
    members = _members(arguments, imported, parts["val"])
    unit, drawn = _unit(members)
    names = [m.name for m in members]
    require_members(arguments, names, drawn or names)
    licence = arguments.licence or licence_of(arguments.members, imported)
    said = {"name": arguments.name, "version": arguments.version, "licence": licence}
    uniform = Ensemble(uniform_weights(names))
    plain = write_bundle(out, members, uniform, **said)
    seen = {p: predictions(out, rows, images, cache / "predictions") for p, rows in parts.items()}
    split = (
        f"test part, patients apart from what it was fitted on (training.splits, seed {arguments.split_seed})"
    )
    metrics = {"data": arguments.data.name, "split": split, "n": len(parts["test"])}
    bundle = load_bundle(out)
    first = asked_for(arguments, bundle, parts["val"], seen["val"], drawn or names)
    manifest = refit(plain, parts["val"], seen["val"], unit, first=first, members=drawn)
    manifest = manifest.model_copy(update={"metrics": metrics})
    notes = arguments.notes.read_text("utf-8") if arguments.notes else ""
    bundle = replace(bundle, manifest=manifest)
    pointing = (
        measure_boxes(bundle, arguments.boxes, arguments.boxes.parent / "images") if arguments.boxes else None
    )
    write_refitted(bundle, out, manifest, parts, seen, notes, pointing, fit=fit, seed=arguments.split_seed)


def licence_of(paths: list[Path], imported: dict[Path, Bundle]) -> str:
    """The members' licences, each once: a bundle's own, and OWN_LICENCE of a checkpoint."""
    each = [imported[path].manifest.licence if path in imported else OWN_LICENCE for path in paths]
    return "; ".join(dict.fromkeys(each))


def _unit(members: list[Member]) -> tuple[str, tuple[str, ...] | None]:
    """The one unit of the maps that are to be fused, since their sum must mean something, and whose these are: None for
    all members'. DataError if units differ."""
    units = {member.name: member.unit for member in members if member.unit}
    if len(set(units.values())) > 1:
        told = ", ".join(f"{name} ({unit})" for name, unit in units.items())
        raise DataError(
            f"Maps in logits and in probabilities can't be added up: {told}. Assemble them apart."
        )
    if not units:
        raise DataError("None of these members has maps to be shown; add one that has.")
    return next(iter(units.values())), None if len(units) == len(members) else tuple(units)


def _members(arguments: argparse.Namespace, imported: dict[Path, Bundle], val: Table) -> list[Member]:
    checkpoints = [path for path in arguments.members if path not in imported]
    if len(arguments.sizes) not in (1, len(checkpoints)):
        raise DataError(
            f"--sizes has {len(arguments.sizes)} numbers for {len(checkpoints)} checkpoints; expected one, or one each."
        )
    edges = arguments.sizes * (len(checkpoints) if len(arguments.sizes) == 1 else 1)
    sizes = dict(zip(checkpoints, edges, strict=True))
    members: list[Member] = []
    for path in arguments.members:
        if path in imported:
            members += from_bundle(imported[path])
        else:
            members.append(_exported(path, sizes[path], arguments, val))
    return list({m.name: m for m in members}.values()) if arguments.replace else named_apart(members)


def _exported(path: Path, size: int, arguments: argparse.Namespace, val: Table) -> Member:
    try:
        from training.members import exported
    except ModuleNotFoundError as error:
        raise DataError(f"{path}: a checkpoint needs torch; `make training-env` installs it.") from error
    sample, pixels = load_images(val, arguments.images, size, arguments.cache / "images")
    some = (pixels[:_SAMPLE].copy(), sample.labels[:_SAMPLE].astype(np.float64))
    return exported(path, size, *some, arguments.storage == "int8")


def from_bundle(bundle: Bundle) -> list[Member]:
    """A bundle's networks as members of another. CodedError if a graph's sha256 is not the manifest's."""
    manifest = bundle.manifest
    unit = manifest.maps.unit if manifest.maps else "logit"
    return [
        Member(
            spec.name,
            onnx.load_model_from_string(bundle.graph(spec)),
            spec.normalisation,
            spec.parameters,
            spec.class_order,
            spec.input,
            unit if spec.name in manifest.drawn else None,
        )
        for spec in manifest.backbones
    ]


def named_apart(members: list[Member]) -> list[Member]:
    """The same with a number, one that is free, after each name that came before."""
    taken_names = {member.name for member in members}
    apart: dict[str, Member] = {}
    for member in members:
        name, number = member.name, 1
        while name in apart or (number > 1 and name in taken_names):
            number += 1
            name = f"{member.name}_{number}"
        apart[name] = replace(member, name=name)
    return list(apart.values())


if __name__ == "__main__":
    main()
