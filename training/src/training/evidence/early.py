"""What a served graph says of each place before it knows the whole image: two of its early maps, kept as int8."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray

from training.export import open_graph

STEPS = 127
Both = tuple[NDArray[np.float32], NDArray[np.float32]]
"""Of the fine and of the coarse map."""


@dataclass(frozen=True)
class Early:
    """Two maps of N images as they are kept, int8 [N, k, h, w] each, and what a step of each channel is worth, float32 [k, 1, 1]."""

    maps: tuple[NDArray[np.int8], NDArray[np.int8]]
    steps: Both


class EarlyLayers:
    """A graph up to two of its tensors, `fine` and `coarse`. ValueError if it lacks one."""

    def __init__(self, graph: onnx.ModelProto, fine: str, coarse: str) -> None:
        self._session = open_graph(_up_to(graph, (fine, coarse)))

    def __call__(self, images: NDArray[np.uint8]) -> Both:
        """uint8 [N, s, s] -> float32 [N, k, h, w] of each tensor."""
        fine, coarse = self._session.run(None, {"images": images})
        return fine, coarse

    def steps(self, images: NDArray[np.uint8]) -> Both:
        """The steps of int8 by these images: all but one in 2,000 of a channel's values fit."""
        fine, coarse = (
            np.maximum(np.quantile(np.abs(values), 0.9995, axis=(0, 2, 3), keepdims=True)[0], 1e-3)
            for values in self(images)
        )
        return np.float32(fine / STEPS), np.float32(coarse / STEPS)

    def keep(self, batches: Iterable[NDArray[np.uint8]], count: int, steps: Both, stem: Path) -> Early:
        """Write the maps of `count` images to `stem`.fine.npy and .coarse.npy, or open what an earlier call wrote whole."""
        paths = [stem.with_suffix(f".{name}.npy") for name in ("fine", "coarse")]
        if not all(path.exists() for path in paths):
            self._write(batches, count, steps, paths)
        fine, coarse = (np.load(path, mmap_mode="r") for path in paths)
        return Early((fine, coarse), steps)

    def _write(
        self, batches: Iterable[NDArray[np.uint8]], count: int, steps: Both, paths: list[Path]
    ) -> None:
        parts = [path.with_suffix(".part") for path in paths]
        kept: list[NDArray[np.int8]] = []
        row = 0
        for images in batches:
            values = [
                np.clip(np.rint(v / s), -STEPS, STEPS).astype(np.int8)
                for v, s in zip(self(images), steps, strict=True)
            ]
            if not kept:
                shapes = [(count, *v.shape[1:]) for v in values]
                kept = [np.lib.format.open_memmap(p, "w+", np.int8, s) for p, s in zip(parts, shapes, strict=True)]  # fmt: skip
            for array, value in zip(kept, values, strict=True):
                array[row : row + len(value)] = value
            row += len(images)
        for part, path in zip(parts, paths, strict=True):
            part.rename(path)


def _up_to(graph: onnx.ModelProto, tensors: tuple[str, ...]) -> onnx.ModelProto:
    """A copy with these tensors as its outputs, without what they do not need."""
    cut = onnx.ModelProto()
    cut.CopyFrom(graph)
    known = {output for node in cut.graph.node for output in node.output}
    for name in tensors:
        if name not in known:
            raise ValueError(f"The graph has no tensor {name!r}.")
    prune(cut, tensors)
    del cut.graph.output[:]
    cut.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in tensors)
    return cut


def prune(graph: onnx.ModelProto, tensors: Iterable[str]) -> None:
    """Take out the nodes and values that none of these tensors needs."""
    needed, nodes = set(tensors), []
    for node in reversed(graph.graph.node):
        if needed & set(node.output):
            nodes.insert(0, node)
            needed.update(node.input)
    values = [value for value in graph.graph.initializer if value.name in needed]
    del graph.graph.node[:], graph.graph.initializer[:], graph.graph.value_info[:]
    graph.graph.node.extend(nodes)
    graph.graph.initializer.extend(values)
