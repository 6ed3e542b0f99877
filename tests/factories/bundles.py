"""Makes tiny, valid model bundles: real ONNX graphs that run in microseconds. Needs no torch."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from thorax.bundle import (
    CARD,
    MANIFEST,
    BackboneSpec,
    Bundle,
    Calibration,
    Cascade,
    InputSpec,
    Manifest,
    load_bundle,
)
from thorax.findings import FINDINGS, Finding
from thorax.operating_points import FindingPoints, OperatingPoint, Rate

OUTPUTS = (("probabilities", 2), ("maps", 4))
REORDERED = tuple(FINDINGS[i] for i in (0, 3, 1, 2, 4))
"""The class order of the original DenseNet-169 and 201: not the canonical one."""


def make_bundle(
    folder: Path,
    backbones: int | Sequence[str] = 2,
    *,
    size: int = 64,
    weights: Mapping[str, Sequence[float]] | None = None,
    inputs: Mapping[str, InputSpec] | None = None,
    **manifest: Any,
) -> Bundle:
    """Write and load a bundle of so many (or so named) backbones.

    Odd ones answer in another class order and on a 5×5 grid instead of 7×7, so that order and grid matter.
    `inputs` gives single backbones an input of their own; further keywords replace fields of the manifest.
    """
    names = [f"tiny_{i}" for i in range(backbones)] if isinstance(backbones, int) else list(backbones)
    folder.mkdir(parents=True, exist_ok=True)
    specs = []
    for i, name in enumerate(names):
        order, grid = (REORDERED, 5) if i % 2 else (FINDINGS, 7)
        graph = tiny_graph(seed=i, grid=grid, class_order=order)
        specs.append(
            write_backbone(folder, name, graph, order, (inputs or {}).get(name, InputSpec(size=size)))
        )
    fields: dict[str, Any] = {
        "format": 1,
        "name": "tiny",
        "version": "1.0",
        "findings": FINDINGS,
        "backbones": specs,
        "weights": weights or {name: [1.0 + i] * 5 for i, name in enumerate(names)},
        "thresholds": [0.5] * 5,
        "licence": "Apache-2.0",
        "intended_use": "Tests only; the answers mean nothing.",
    }
    (folder / MANIFEST).write_text(Manifest(**{**fields, **manifest}).model_dump_json(indent=2))
    (folder / CARD).write_text("# tiny\nFor tests only.\n")
    return load_bundle(folder)


def make_cascade(*first: str, sure: bool, disagreement: float = 1.0) -> Cascade:
    """These backbones answer first; the rest always run, or (if `sure`) only where these disagree by more."""
    return Cascade(
        first=first,
        weights=dict.fromkeys(first, (1.0,) * 5),
        calibration=(Calibration(a=2.0),) * 5,
        bands=((0.0, 0.0 if sure else 1.0),) * 5,
        disagreement=(disagreement,) * 5,
    )


def finding_points(unlikely: float, likely: float, prevalence: float = 0.05) -> FindingPoints:
    """Operating points with these thresholds; the rates mean nothing."""
    low, high = (
        OperatingPoint(threshold=t, sensitivity=Rate(value=0.9), specificity=Rate(value=0.9))
        for t in (unlikely, likely)
    )
    return FindingPoints(
        prevalence=prevalence, images=1000, present=50, likely=high, unlikely=low, balanced=low
    )


def write_backbone(
    folder: Path,
    name: str,
    graph: bytes,
    order: tuple[Finding, ...] = FINDINGS,
    spec: InputSpec | None = None,
) -> BackboneSpec:
    """Write a graph's bytes and describe them as a manifest does."""
    file = f"{name}.onnx"
    (folder / file).write_bytes(graph)
    digest = hashlib.sha256(graph).hexdigest()
    return BackboneSpec(name=name, file=file, sha256=digest, input=spec or InputSpec(), class_order=order)


def tiny_graph(seed: int = 0, grid: int = 7, class_order: Sequence[Finding] = FINDINGS) -> bytes:
    """A graph `images uint8 [N,H,W] -> probabilities [N,5], maps [N,5,grid,grid]`.

    It shrinks the image to the grid, and for the canonical finding f gives `maps = ReLU(a_f·x + b_f)` and
    `probabilities = sigmoid(mean(4·(a_f·x + b_f)))`, with a and b drawn from `seed`; see `tiny_answer`.
    """
    gain, offset = _coefficients(seed, class_order)
    node = helper.make_node
    nodes = [
        node("Cast", ["images"], ["float"], to=TensorProto.FLOAT),
        node("Div", ["float", "full"], ["scaled"]),
        node("Unsqueeze", ["scaled", "channel"], ["one_channel"]),
        node("Resize", ["one_channel", "", "", "sizes"], ["small"], mode="linear", antialias=1, axes=[2, 3]),
        node("Mul", ["small", "gain"], ["weighted"]),
        node("Add", ["weighted", "offset"], ["evidence"]),
        node("Relu", ["evidence"], ["maps"]),
        node("Mul", ["evidence", "four"], ["louder"]),
        node("ReduceMean", ["louder", "area"], ["logits"], keepdims=0),
        node("Sigmoid", ["logits"], ["probabilities"]),
    ]
    constants = {
        "full": np.float32(255),
        "four": np.float32(4),
        "channel": np.array([1]),
        "area": np.array([2, 3]),
        "sizes": np.array([grid, grid]),
        "gain": gain.reshape(1, 5, 1, 1),
        "offset": offset.reshape(1, 5, 1, 1),
    }
    return as_model(nodes, constants)


def as_model(nodes: list[Any], constants: Mapping[str, Any], input_type: int = TensorProto.UINT8) -> bytes:
    """A model's bytes from nodes that lead from `images` to `probabilities` and `maps`."""
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("images", input_type, ["N", "H", "W"])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None] * rank) for name, rank in OUTPUTS],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def tiny_answer(image: np.ndarray, seed: int = 0) -> np.ndarray:
    """The probabilities `[5]`, canonical order, that `tiny_graph(seed)` gives an evenly grey image."""
    gain, offset = _coefficients(seed, FINDINGS)
    return np.asarray(1 / (1 + np.exp(-4 * (gain * image.mean() / 255 + offset))))


def _coefficients(seed: int, class_order: Sequence[Finding]) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    gain, offset = rng.uniform(0.5, 1.5, 5), rng.uniform(-0.8, -0.2, 5)
    order = [FINDINGS.index(finding) for finding in class_order]
    return gain[order].astype(np.float32), offset[order].astype(np.float32)
