"""Writes a model bundle: graphs, manifest and card, so that `thorax.bundle.load_bundle` takes it."""

import argparse
import hashlib
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import onnx

from thorax.bundle import (
    CARD,
    GOLDEN,
    GOLDEN_IMAGE,
    MANIFEST,
    BackboneSpec,
    Calibration,
    InputSpec,
    Manifest,
)
from thorax.findings import FINDINGS, Finding
from thorax.operating_points import FindingPoints, MapScale
from training.splits import CHOICES

INTENDED_USE = "Demonstration, not for diagnosis. No regulatory clearance; never validated in a clinic."
Five = tuple[float, float, float, float, float]


@dataclass(frozen=True)
class Member:
    """One network of a bundle to be: its graph and what the manifest says of it. `unit`: what its maps are in; None where
    they are not to be fused."""

    name: str
    graph: onnx.ModelProto
    normalisation: str
    parameters: int
    class_order: tuple[Finding, ...] = FINDINGS
    input: InputSpec = field(default_factory=InputSpec)
    unit: str | None = "logit"


@dataclass(frozen=True)
class Ensemble:
    """How the members are weighed: `weights` by member, thresholds and Platt scaling per canonical finding. With
    `maps` and `points` the bundle is of format 2."""

    weights: dict[str, Five]
    thresholds: Five = (0.5,) * 5
    calibration: tuple[Calibration, ...] = tuple(Calibration() for _ in FINDINGS)
    metrics: dict[str, Any] = field(default_factory=dict)
    maps: MapScale | None = None
    points: tuple[FindingPoints, ...] | None = None


def write_bundle(
    folder: Path,
    members: list[Member],
    ensemble: Ensemble,
    *,
    name: str,
    version: str,
    licence: str,
    notes: str = "",
    card: str = "",
) -> Manifest:
    """Write `folder` (made if need be) and give back its manifest. ValueError if the manifest is not valid."""
    folder.mkdir(parents=True, exist_ok=True)
    manifest = Manifest(
        format=2 if ensemble.points else 1,
        name=name,
        version=version,
        findings=FINDINGS,
        backbones=tuple(_write_member(folder, member) for member in members),
        weights=ensemble.weights,
        thresholds=ensemble.thresholds,
        calibration=ensemble.calibration,
        maps=ensemble.maps,
        operating_points=ensemble.points,
        metrics=ensemble.metrics,
        licence=licence,
        intended_use=INTENDED_USE,
        notes=notes,
    )
    (folder / CARD).write_text(card or f"# {name} {version}\n\n{INTENDED_USE}\n\n{notes}\n", "utf-8")
    write_manifest(folder, manifest)
    return manifest


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write it where `load_bundle` looks for it."""
    (folder / MANIFEST).write_text(manifest.model_dump_json(indent=1) + "\n", "utf-8")


def version_parser(description: str, part: str) -> argparse.ArgumentParser:
    """The command line of what makes a new version of a bundle by labelled images; `part` of these by default."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="the new bundle's folder")
    parser.add_argument("--version", required=True)
    parser.add_argument("--part", choices=CHOICES, default=part, help="of the seeded split")
    parser.add_argument("--seed", type=int, default=20)
    return parser


def copy_for_new_version(bundle: Path, out: Path) -> None:
    """Copy a bundle's files, unless it is to be changed in place, but for the golden answers: they are of the old digest."""
    if out.resolve() != bundle.resolve():
        leave = shutil.ignore_patterns(GOLDEN, GOLDEN_IMAGE)
        shutil.copytree(bundle, out, dirs_exist_ok=True, ignore=leave)


def uniform_weights(names: list[str]) -> dict[str, Five]:
    """Every member counts the same for every finding."""
    return {name: (1 / len(names),) * 5 for name in names}


def _write_member(folder: Path, member: Member) -> BackboneSpec:
    data = member.graph.SerializeToString()
    (folder / f"{member.name}.onnx").write_bytes(data)
    return BackboneSpec(
        name=member.name,
        file=f"{member.name}.onnx",
        sha256=hashlib.sha256(data).hexdigest(),
        input=member.input,
        class_order=member.class_order,
        normalisation=member.normalisation,
        parameters=member.parameters,
    )
