"""A model bundle: backbones, ensemble weights and thresholds in a folder that a manifest describes.

The manifest names every graph by its sha256, and its own digest names the bundle: a job that is pinned to a
bundle digest is pinned to every byte of it. Nothing here runs a graph.
"""

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationError, model_validator

from thorax.errors import Code, CodedError
from thorax.findings import FINDINGS, Finding
from thorax.operating_points import FindingPoints, ManifestPart, MapScale, Share, Verdict

MANIFEST = "manifest.json"
CARD = "card.md"
GOLDEN, GOLDEN_IMAGE = "golden.json", "golden.png"  # see thorax_offline.golden; no part of the digest

FiveFloats = Annotated[
    tuple[float, float, float, float, float], Field(description="one per canonical finding")
]
FileName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*\.onnx$")]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
BackboneName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_]{0,39}$")]


class InputSpec(ManifestPart):
    """How a graph wants its grey images: `uint8 [N, size, size]`, prepared as said here."""

    size: int = Field(default=224, ge=32, le=1024, description="edge length in pixels; squashed, not padded")
    equalise: bool = Field(default=False, description="histogram equalisation before resizing")
    crop: float | None = Field(default=None, gt=0, le=1, description="centre crop, as a share of each edge")
    channels: Literal[1] = 1

    @property
    def key(self) -> str:
        """Names the canonical input; backbones with equal keys share one."""
        return f"{self.size}{'-eq' if self.equalise else ''}{f'-crop{self.crop:g}' if self.crop else ''}"


class BackboneSpec(ManifestPart):
    """One network of a bundle: its graph file, its input, and the order of its outputs."""

    name: BackboneName
    file: FileName
    sha256: Sha256
    input: InputSpec = InputSpec()
    class_order: tuple[Finding, ...] = FINDINGS
    normalisation: str = Field(default="in the graph", description="told to people; the graph does it")
    parameters: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _all_five(self) -> Self:
        if sorted(self.class_order) != sorted(FINDINGS):
            raise ValueError(f"class_order of {self.name} must name each of the five findings once")
        return self


class Calibration(ManifestPart):
    """Platt scaling of the ensemble's probability p: sigmoid(a * logit(p) + b) (Platt 1999)."""

    a: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    b: float = Field(default=0.0, allow_inf_nan=False)

    def __call__(self, probability: float) -> float:
        """The calibrated probability, in (0, 1)."""
        p = min(max(probability, 1e-6), 1 - 1e-6)
        return 0.5 + 0.5 * math.tanh((self.a * math.log(p / (1 - p)) + self.b) / 2)


Band = Annotated[tuple[Share, Share], Field(description="from, and below")]


class Cascade(ManifestPart):
    """The backbones that answer first, and when the rest run too: within a finding's band of the first ones' calibrated
    probability, or where their disagreement is larger. See thorax.cascade."""

    first: tuple[BackboneName, ...] = Field(min_length=1)
    weights: dict[str, FiveFloats]
    calibration: tuple[Calibration, Calibration, Calibration, Calibration, Calibration]
    bands: tuple[Band, Band, Band, Band, Band]
    disagreement: tuple[Share, Share, Share, Share, Share]

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        check_weights(self.weights, self.first)
        if any(low > high for low, high in self.bands):
            raise ValueError("a band must not end before it begins")
        return self


def check_weights(weights: dict[str, FiveFloats], names: Sequence[str]) -> None:
    """ValueError unless `weights` are of exactly these backbones, not negative, and leave no finding without any."""
    if set(weights) != set(names):
        raise ValueError(f"weights must name exactly the backbones {', '.join(names)}")
    if any(w < 0 for row in weights.values() for w in row):
        raise ValueError("weights must not be negative")
    for i, finding in enumerate(FINDINGS):
        if sum(row[i] for row in weights.values()) <= 0:
            raise ValueError(f"the weights of {finding} sum to 0")


class Engine(StrEnum):
    """What may run the graphs on a CPU. ONNX Runtime in float32 needs no figures: the others' are differences from it."""

    ONNXRUNTIME = "onnxruntime"
    OPENVINO = "openvino"
    OPENVINO_BF16 = "openvino-bf16"


MOST_AUC_LOST, MOST_MAPS_CHANGED = 0.002, 0.05


class EngineFigures(ManifestPart):
    """What another engine changes, on `images` of the test part: the ensemble's mean AUC by how much, one of its probabilities
    at most, and the fused maps by what share (of their Euclidean norm)."""

    images: int = Field(gt=0)
    auc: Share
    auc_change: float = Field(ge=-1, le=1)
    probability: Share
    maps: float = Field(ge=0)

    @property
    def serves(self) -> bool:
        """Whether it may serve: it loses next to nothing."""
        return self.auc_change >= -MOST_AUC_LOST and self.maps <= MOST_MAPS_CHANGED


class Manifest(ManifestPart):
    """What `manifest.json` says. See docs/reference/bundle-format.md for each field."""

    format: Literal[1, 2]
    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")
    version: str = Field(pattern=r"^[0-9A-Za-z][0-9A-Za-z.+-]{0,31}$")
    findings: tuple[Finding, ...]
    backbones: tuple[BackboneSpec, ...] = Field(min_length=1)
    weights: dict[str, FiveFloats]
    thresholds: FiveFloats
    calibration: tuple[Calibration, ...] = Field(default=tuple(Calibration() for _ in FINDINGS))
    maps: MapScale | None = Field(default=None, description="format 2: maps on an absolute scale")
    operating_points: tuple[FindingPoints, ...] | None = Field(
        default=None, description="format 2: one per canonical finding"
    )
    cascade: Cascade | None = None
    engines: dict[Engine, EngineFigures] = Field(default_factory=dict)
    metrics: dict[str, Any] = Field(default_factory=dict)
    licence: str
    intended_use: str
    notes: str = ""

    def verdict(self, finding: Finding, probability: float) -> Verdict:
        """The band of a calibrated probability; without operating points (format 1) the threshold leaves two of the three."""
        place = FINDINGS.index(finding)
        if self.operating_points:
            return self.operating_points[place].verdict(probability)
        return Verdict.LIKELY if probability >= self.thresholds[place] else Verdict.UNLIKELY

    def prevalence(self, finding: Finding) -> float | None:
        """The share of images with the finding among those that it was calibrated on; None where the bundle states none."""
        points = self.operating_points
        return points[FINDINGS.index(finding)].prevalence if points else None

    @property
    def drawn(self) -> tuple[str, ...]:
        """The backbones whose maps are fused."""
        return (self.maps and self.maps.members) or tuple(b.name for b in self.backbones)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        names = [b.name for b in self.backbones]
        if self.findings != FINDINGS:
            raise ValueError(f"findings must be {', '.join(FINDINGS)}, in this order")
        if len(set(names)) != len(names):
            raise ValueError("two backbones have the same name")
        check_weights(self.weights, names)
        if self.cascade and not {*self.cascade.first} < {*names}:
            raise ValueError("the first backbones of a cascade must be some of the bundle's, and not all")
        asked = self.cascade.first if self.cascade else names
        if not {*self.drawn} <= {*names} or not {*self.drawn} & {*asked}:
            raise ValueError("the members of maps must be backbones, and one of them must answer every image")
        if len(self.calibration) != len(FINDINGS):
            raise ValueError("calibration must have one entry per finding")
        if any(not 0 <= t <= 1 for t in self.thresholds):
            raise ValueError("thresholds must lie between 0 and 1")
        if (self.format == 2) != (self.maps is not None) or (self.format == 2) != bool(self.operating_points):
            raise ValueError("format 2 has maps and operating_points, format 1 has neither")
        if self.operating_points and len(self.operating_points) != len(FINDINGS):
            raise ValueError("operating_points must have one entry per finding")
        return self


@dataclass(frozen=True)
class Bundle:
    """A manifest, where it lies, and the digest that names it: the sha256 of the manifest's bytes."""

    folder: Path
    manifest: Manifest
    digest: str
    card: str

    @property
    def names(self) -> tuple[str, ...]:
        """The backbones' names, in the manifest's order."""
        return tuple(b.name for b in self.manifest.backbones)

    def graph(self, spec: BackboneSpec) -> bytes:
        """The bytes of a backbone's graph, given out only when their sha256 is the manifest's."""
        path = self.folder / spec.file
        try:
            data = path.read_bytes()
        except OSError as error:
            raise CodedError(Code.BUNDLE_INVALID, f"{path}: {error.strerror}.") from error
        found = hashlib.sha256(data).hexdigest()
        if found != spec.sha256:
            raise CodedError(
                Code.BUNDLE_INVALID, f"{path}: its sha256 is {found}, the manifest says {spec.sha256}."
            )
        return data


def load_bundle(folder: Path) -> Bundle:
    """Read a bundle's manifest and card; graphs are only read by `Bundle.graph`.

    Raises CodedError(BUNDLE_MISSING) without a manifest and CodedError(BUNDLE_INVALID) for a bad one.
    """
    path = folder / MANIFEST
    try:
        data = path.read_bytes()
    except OSError as error:
        raise CodedError(Code.BUNDLE_MISSING, f"{path}: {error.strerror}.") from error
    try:
        manifest = Manifest.model_validate_json(data)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "manifest"
        raise CodedError(Code.BUNDLE_INVALID, f"{path}: {where}: {first['msg']}.") from error
    card = folder / CARD
    try:
        text = card.read_text("utf-8") if card.is_file() else ""
    except (OSError, UnicodeDecodeError) as error:
        raise CodedError(Code.BUNDLE_INVALID, f"{card} can't be read as UTF-8 text.") from error
    return Bundle(folder, manifest, hashlib.sha256(data).hexdigest(), text)


def find_bundles(root: Path, refused: Callable[[CodedError], None] = lambda _: None) -> dict[str, Bundle]:
    """Every valid bundle directly under `root` (or `root` itself), by digest. `refused` is told of each that is broken; a folder
    without a manifest is none."""
    found = {}
    for folder in [root, *sorted(p for p in root.iterdir() if p.is_dir())] if root.is_dir() else []:
        try:
            bundle = load_bundle(folder)
        except CodedError as error:
            if not isinstance(error.__cause__, FileNotFoundError):
                refused(error)
            continue
        found[bundle.digest] = bundle
    return found
