"""Stores a graph's weights as int8, one scale per output channel or per block; the runtime turns them back at load."""

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

_SMALLEST = 1024
"""Tensors with fewer values stay float32: they cost next to nothing."""


def store_int8(graph: onnx.ModelProto, block: int | None = None) -> onnx.ModelProto:
    """A copy whose convolution and matrix weights are int8 with a DequantizeLinear each.

    The arithmetic stays fp32: with the session option `session.disable_quant_qdq=1` ONNX Runtime folds every
    DequantizeLinear at load. Symmetric, 127 steps either way of the channel's best clipping point. With `block` every
    run of about so many weights of a channel has its own scale: a third less error for an eighth more bytes at 32.
    """
    stored = onnx.ModelProto()
    stored.CopyFrom(graph)
    axes = _output_axes(stored)
    initializers = {tensor.name: tensor for tensor in stored.graph.initializer}
    nodes = []
    for name, axis in axes.items():
        tensor = initializers[name]
        if np.prod(tensor.dims) < _SMALLEST:
            continue
        weights = numpy_helper.to_array(tensor)
        runs = weights if block is None or axis else in_blocks(weights, block)
        values, scales = quantise(runs, axis)
        stored.graph.initializer.remove(tensor)
        parts: dict[str, npt.NDArray[Any]] = {"q": values, "s": scales, "z": np.zeros(scales.shape, np.int8)}
        names = [f"{name}.{part}" for part in parts]
        whole = f"{name}.runs" if runs is not weights else name
        nodes.append(helper.make_node("DequantizeLinear", names, [whole], name=f"{name}.dq", axis=axis))
        if runs is not weights:
            parts["shape"] = np.array(weights.shape, np.int64)
            nodes.append(helper.make_node("Reshape", [whole, f"{name}.shape"], [name], name=f"{name}.joined"))
        stored.graph.initializer.extend(
            numpy_helper.from_array(array, f"{name}.{part}") for part, array in parts.items()
        )
    everything = [*nodes, *stored.graph.node]
    del stored.graph.node[:]
    stored.graph.node.extend(everything)
    onnx.checker.check_model(stored)
    return stored


def in_blocks(weights: npt.NDArray[np.float32], block: int) -> npt.NDArray[np.float32]:
    """Weights [channels, ...] as [blocks, length]: a channel's in equal runs of at least `block` values."""
    row = weights[0].size
    parts = next(n for n in range(max(1, row // block), 0, -1) if row % n == 0)
    return weights.reshape(len(weights) * parts, row // parts)


def quantise(
    weights: npt.NDArray[np.float32], axis: int
) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.float32]]:
    """int8 values of the same shape and float32 scales [channels], weights ~ values * scale along `axis`.

    Of a few clipping points below the channel's maximum the one with the least squared error is taken.
    """
    rows = np.moveaxis(weights, axis, 0).reshape(weights.shape[axis], -1).astype(np.float32)
    peak = np.maximum(np.abs(rows).max(1), 1e-12)
    best, error = peak / 127, np.full(len(rows), np.inf)
    for share in (1.0, 0.95, 0.9, 0.85, 0.8, 0.7):
        scale = peak * share / 127
        back = np.clip(np.rint(rows / scale[:, None]), -127, 127) * scale[:, None]
        now = ((rows - back) ** 2).sum(1)
        best, error = np.where(now < error, scale, best), np.minimum(now, error)
    scales = best.astype(np.float32)
    shape = [-1 if i == axis else 1 for i in range(weights.ndim)]
    values = np.clip(np.rint(weights / scales.reshape(shape)), -127, 127).astype(np.int8)
    return values, scales


def _output_axes(graph: onnx.ModelProto) -> dict[str, int]:
    """The initializers that are weights of a convolution or a matrix product, with the axis of output channels."""
    floats = {t.name for t in graph.graph.initializer if t.data_type == TensorProto.FLOAT and len(t.dims) > 1}
    axes = {}
    for node in graph.graph.node:
        if node.op_type in ("Conv", "Gemm", "MatMul") and len(node.input) > 1 and node.input[1] in floats:
            transposed = any(a.name == "transB" and a.i for a in node.attribute)
            axes[node.input[1]] = 0 if node.op_type == "Conv" or transposed else 1
    return axes
