"""Any ONNX classifier that ends in a final map, an average pool and one Dense, told by a small YAML."""

from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper, version_converter

from thorax.findings import FINDINGS
from training.export import OPSET, run_graph
from training.importers.described import Description, candidates

_PREFIX = "described/"


def load_described_graph(description: Description, folder: Path) -> onnx.ModelProto:
    """The bundle's graph around theirs. ValueError names the file and what was expected of it."""
    path = folder / description.graph
    try:
        theirs = onnx.load(path, load_external_data=False)
    except Exception as error:  # protobuf's and the file system's errors share no base class
        raise ValueError(f"{path}: expected an ONNX graph; {error}.") from error
    if any(t.data_location == TensorProto.EXTERNAL for t in theirs.graph.initializer):
        raise ValueError(f"{path}: expected a graph with its weights inside; found external data.")
    graph = _joined(version_converter.convert_version(theirs, OPSET), description, path)
    onnx.checker.check_model(graph)
    probe = np.zeros((2, description.size, description.size), np.uint8)
    probabilities, maps = run_graph(graph, probe)
    if probabilities.shape != (2, len(FINDINGS)) or maps.ndim != 4 or not np.isfinite(maps).all():
        raise ValueError(f"{path}: expected finite maps [N, 5, h, w]; found {list(maps.shape)}.")
    return graph


def _joined(theirs: onnx.ModelProto, description: Description, path: Path) -> onnx.ModelProto:
    initializers = {t.name: t for t in theirs.graph.initializer}
    if description.head not in initializers:
        there = candidates(name for name, tensor in initializers.items() if len(tensor.dims) == 2)
        raise ValueError(f"{path}: no initializer is called {description.head}; matrices are: {there}.")
    weight = numpy_helper.to_array(initializers[description.head]).astype(np.float32)
    made = [name for node in theirs.graph.node for name in node.output]
    for name in (description.final_map, description.logits):
        if name not in made:
            raise ValueError(f"{path}: no tensor is called {name!r}; the last are: {candidates(made)}.")
    outputs_first = weight.shape[0] > max(description.rows) and weight.shape[0] < weight.shape[1]
    rows = (weight if outputs_first else weight.T)[description.rows]
    nodes = [*_scaling(theirs.graph.input[0].name, description), *theirs.graph.node, *_outputs(description)]
    own = [
        *theirs.graph.initializer,
        *(numpy_helper.from_array(v, _PREFIX + k) for k, v in _own(description, rows)),
    ]
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        description.name,
        [value("images", TensorProto.UINT8, ["batch", "height", "width"])],
        [
            value("probabilities", TensorProto.FLOAT, ["batch", len(FINDINGS)]),
            value("maps", TensorProto.FLOAT, ["batch", len(FINDINGS), "rows", "columns"]),
        ],
        own,
    )
    return helper.make_model(graph, opset_imports=theirs.opset_import, ir_version=min(theirs.ir_version, 9))


def _own(description: Description, weight: NDArray[np.float32]) -> list[tuple[str, NDArray[np.generic]]]:
    return [
        ("scale", np.array(description.scale, np.float32)),
        ("offset", np.array(description.offset, np.float32)),
        ("one", np.array([1], np.int64)),
        ("channels", np.array([1, description.channels, 1, 1], np.int64)),
        ("mean", np.array(description.mean or [0], np.float32).reshape(1, -1, 1, 1)),
        ("std", np.array(description.std or [1], np.float32).reshape(1, -1, 1, 1)),
        ("rows", np.array(description.rows, np.int64)),
        ("weight", weight.reshape(*weight.shape, 1, 1)),
    ]


def _scaling(theirs: str, description: Description) -> list[onnx.NodeProto]:
    """uint8 [N, h, w] -> their float [N, channels, h, w]."""
    p = _PREFIX
    return [
        helper.make_node("Cast", ["images"], [p + "float"], to=TensorProto.FLOAT),
        helper.make_node("Mul", [p + "float", p + "scale"], [p + "scaled"]),
        helper.make_node("Add", [p + "scaled", p + "offset"], [p + "grey"]),
        helper.make_node("Unsqueeze", [p + "grey", p + "one"], [p + "channel"]),
        helper.make_node("Expand", [p + "channel", p + "channels"], [p + "input"]),
        helper.make_node("Sub", [p + "input", p + "mean"], [p + "centred"]),
        helper.make_node("Div", [p + "centred", p + "std"], [theirs]),
    ]


def _outputs(description: Description) -> list[onnx.NodeProto]:
    """Their logits -> five probabilities; their final map -> five class activation maps: a 1x1 convolution,
    divided by the map's cells as in `training.export`, since the ensemble adds maps of all backbones up."""
    p = _PREFIX
    return [
        helper.make_node("Gather", [description.logits, p + "rows"], [p + "logits"], axis=1),
        helper.make_node("Sigmoid", [p + "logits"], ["probabilities"]),
        helper.make_node("Conv", [description.final_map, p + "weight"], [p + "cam"]),
        helper.make_node("Shape", [p + "cam"], [p + "edges"], start=2),
        helper.make_node("ReduceProd", [p + "edges"], [p + "cells"], keepdims=0),
        helper.make_node("Cast", [p + "cells"], [p + "share"], to=TensorProto.FLOAT),
        helper.make_node("Div", [p + "cam", p + "share"], [p + "mean_cam"]),
        helper.make_node("Relu", [p + "mean_cam"], ["maps"]),
    ]
