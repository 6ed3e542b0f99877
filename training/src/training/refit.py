"""`python -m training.refit BUNDLE`: weighs and calibrates a bundle anew on labelled images, its graphs untouched.

A site's own images, or the validation part of the set that the bundle was trained on: never what it was trained on.
Weights, calibration, operating points and the maps' scale are fitted there; the result is a bundle of format 2.
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from thorax.bundle import Bundle, Manifest, load_bundle
from thorax.cascade import answering
from thorax.errors import CodedError
from thorax.heatmaps import add_up
from training import subsets
from training.bundles import copy_for_new_version, version_parser, write_manifest
from training.card import write_card
from training.cascade import fit_cascade, would_run
from training.datasets import DataError, Table, read_table
from training.evaluate import fuse, measure, part_of, summary
from training.fit_ensemble import fit, weigh_candidates
from training.metrics import Floats
from training.points import map_scale, operating_points, unscaled
from training.predict import Predictions, each_image, predict_files
from training.report import Report

_OF_WEIGHTS = ("ensemble", "pointing")
"""Of a manifest's metrics, those that other weights make untrue."""


def refit(
    manifest: Manifest,
    table: Table,
    seen: Predictions,
    unit: str,
    keep_weights: bool = False,
    first: Sequence[str] = (),
    members: tuple[str, ...] | None = None,
) -> Manifest:
    """A manifest of format 2 with everything that can be fitted fitted on the table's images, of which `seen` has
    probabilities and maps in `unit`. With `first` these members answer first (thorax.cascade). Maps are fused of
    `members`, or of the same ones as before."""
    names = [spec.name for spec in manifest.backbones]
    members = members or (manifest.maps.members if manifest.maps else None)
    labels, stacked = table.labels.astype(np.float64), stack(seen, names)
    patients = patients_of(table)
    fitted = fit(labels, stacked, patients, _shares(manifest.weights, names) if keep_weights else None)
    changed: dict[str, Any] = {
        "format": 2,
        "weights": {name: tuple(map(float, row)) for name, row in zip(names, fitted.weights, strict=True)},
        "calibration": fitted.calibration,
        "cascade": None,
        "engines": {},  # measured on the old weights, as is what the metrics say of the ensemble
        "metrics": {key: told for key, told in manifest.metrics.items() if key not in _OF_WEIGHTS},
    }
    weighed, points = manifest.model_copy(update=changed), fitted.points
    if first:
        before = manifest.cascade
        same = keep_weights and before and {*before.first} == {*first}
        kept = _shares(before.weights, first) if before and same else None
        cascade = fit_cascade(weighed, labels, stacked, patients, first, kept)
        weighed = weighed.model_copy(update={"cascade": cascade})
        points = operating_points(labels, fuse(weighed, seen), patients)
    thresholds = tuple(finding.likely.threshold for finding in points)
    drawn = unscaled(unit, members)
    weighed = weighed.model_copy(update={"operating_points": points, "thresholds": thresholds, "maps": drawn})
    return weighed.model_copy(update={"maps": map_scale(labels, tops(weighed, seen, unit), unit, members)})


def _shares(weights: Mapping[str, Sequence[float]], names: Sequence[str]) -> Floats:
    """These members' weights [members, 5], each finding's summing to 1."""
    raw = np.array([weights[name] for name in names], np.float64)
    return np.asarray(raw / raw.sum(0))


def add_cascade(parser: argparse.ArgumentParser) -> None:
    """Let a command say which members answer first."""
    parser.add_argument(
        "--cascade",
        nargs="*",
        metavar="MEMBER",
        help="members that answer first, by default the bundle's own; without names the cheapest that do",
    )
    parser.add_argument("--no-cascade", action="store_true", help="all members answer each image")


def require_members(arguments: argparse.Namespace, names: Sequence[str], drawn: Sequence[str]) -> None:
    """DataError if `--cascade` names what is no member of `names`, all of them, or none of those whose maps are `drawn`."""
    told = arguments.cascade or []
    if unknown := [name for name in told if name not in names]:
        raise DataError(f"--cascade: no member is called {unknown[0]}; there are {', '.join(names)}.")
    if told and {*told} >= {*names}:
        raise DataError("--cascade names all members; expected some of them, or --no-cascade.")
    if told and not {*told} & {*drawn}:
        raise DataError(f"--cascade: expected one of those whose maps are shown too: {', '.join(drawn)}.")


def asked_for(
    arguments: argparse.Namespace, bundle: Bundle, table: Table, seen: Predictions, drawn: Sequence[str]
) -> Sequence[str]:
    """The members that answer first, by the options of `add_cascade`; none where all answer. One of them is `drawn`."""
    if arguments.no_cascade:
        return ()
    if arguments.cascade is None:
        return bundle.manifest.cascade.first if bundle.manifest.cascade else ()
    return list(dict.fromkeys(arguments.cascade)) or enough(bundle, table, seen, drawn)


def enough(bundle: Bundle, table: Table, seen: Predictions, drawn: Sequence[str]) -> list[str]:
    """The cheapest members, one of them `drawn`, whose plain mean loses little to the fitted ensemble on patients left out."""
    names = list(bundle.names)
    labels, stacked, patients = table.labels.astype(np.float64), stack(seen, names), patients_of(table)
    goal = weigh_candidates(labels, stacked, patients, names)["fitted (out of fold)"]["mean_auc"] or 0.0
    spent = {name: cost.cpu_ms for name, cost in subsets.costs(bundle).items()}
    every = subsets.compare(labels, stacked, patients, names)
    able = {said: row for said, row in every.items() if {*drawn} & {*subsets.members_of(said)}}
    chosen = subsets.few(able, spent, goal)
    return chosen if len(chosen) < len(names) else []


def tops(manifest: Manifest, seen: Predictions, unit: str) -> Floats:
    """Each fused map's maximum, [N, 5], in `unit`."""
    rows = []
    for row, predictions in enumerate(each_image(seen)):
        names = would_run(manifest, predictions)
        maps = {name: seen.maps[name][row] for name in names}
        rows.append(add_up(answering(manifest, names), maps, unit).max((1, 2)))
    return np.stack(rows).astype(np.float64)


def stack(seen: Predictions, names: list[str]) -> Floats:
    """Probabilities [members, N, 5]."""
    return np.stack([seen.by_backbone[name].astype(np.float64) for name in names])


def patients_of(table: Table) -> NDArray[np.int64]:
    """A number for each image's patient, [N]."""
    return np.asarray(np.unique(np.array(table.patients), return_inverse=True)[1], np.int64)


def write_refitted(
    bundle: Bundle, out: Path, manifest: Manifest, tables: dict[str, Table], seen: dict[str, Predictions], notes: str, pointing: Report | None,
    *, fit: str, seed: int,
) -> Bundle:  # fmt: skip
    """Write manifest and card into `out`, which has the graphs, with the figures of the parts that were fitted on
    (`val`; `fit` is what it is called in the split of this seed) and, where there is one, apart (`test`)."""
    write_manifest(out, manifest)
    written = load_bundle(out)
    figures = {part: measure(written, table, seen[part]).report for part, table in tables.items()}
    if "test" in figures:
        said = {key: figures["test"]["ensemble"][key] for key in ("mean_auc", "mean_auc_95", "auc", "ece")}
        metrics = {**bundle.manifest.metrics, "ensemble": said, "backbones": figures["test"]["backbones"]}
        if pointing:
            metrics["pointing"] = {f: {"n": r["n"], "chance": r["chance"], "hits": r["ensemble"]["hits"]} for f, r in pointing["findings"].items()}  # fmt: skip
        manifest = manifest.model_copy(update={"metrics": metrics})
        write_manifest(out, manifest)
    names = [spec.name for spec in manifest.backbones]
    labels, stacked = tables["val"].labels.astype(np.float64), stack(seen["val"], names)
    patients = patients_of(tables["val"])
    ways = weigh_candidates(labels, stacked, patients, names)
    every = subsets.compare(labels, stacked, patients, names)
    write_card(
        out,
        manifest,
        figures,
        ways,
        every,
        subsets.costs(written),
        notes,
        fit=fit,
        seed=seed,
        pointing=pointing,
    )
    heads = {"val": "What it was fitted on (so these are too good)", "test": "Test part"}
    print("\n\n".join(f"{heads[part]}\n{summary(report)}" for part, report in figures.items()))
    print(f"Wrote {out}; its card has these figures. Serve it: make run BUNDLE={out}")
    return load_bundle(out)


def main() -> None:
    """The command line."""
    parser = version_parser("Weigh and calibrate a bundle anew; its graphs stay.", part="all")
    parser.add_argument("--keep-weights", action="store_true")
    add_cascade(parser)
    parser.add_argument("--notes", type=Path, help="text for the card")
    arguments = parser.parse_args()
    try:
        bundle = load_bundle(arguments.bundle)
        require_members(arguments, bundle.names, bundle.manifest.drawn)
        table = part_of(read_table(arguments.data), arguments.part, arguments.seed)
        table.require_both_classes()
        seen = predict_files(
            bundle, [arguments.images / name for name in table.images], lambda _: None, maps=True
        )
        table = table.take(seen.read)
        table.require_both_classes()  # also of what could be read
        unit = bundle.manifest.maps.unit if bundle.manifest.maps else "logit"
        first = asked_for(arguments, bundle, table, seen, bundle.manifest.drawn)
        manifest = refit(bundle.manifest, table, seen, unit, arguments.keep_weights, first)
        copy_for_new_version(arguments.bundle, arguments.out)
        manifest = manifest.model_copy(update={"version": arguments.version})
        seen = replace(seen, read=np.arange(len(table)))
        notes = arguments.notes.read_text("utf-8") if arguments.notes else ""
        write_refitted(
            bundle,
            arguments.out,
            manifest,
            {"val": table},
            {"val": seen},
            notes,
            None,
            fit=arguments.part,
            seed=arguments.seed,
        )
    except ValueError as error:
        raise SystemExit(str(error)) from error
    except CodedError as error:
        raise SystemExit(error.detail) from error


if __name__ == "__main__":
    main()
