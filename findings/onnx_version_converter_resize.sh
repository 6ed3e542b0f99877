#!/usr/bin/env bash
# Expected: `onnx.version_converter.convert_version` changes a model's opset and keeps what the model computes; what it can't convert it refuses.
# Happens:  from opset 10 to 11 and later a linear Resize, and an Upsample of opset 9, change their coordinates from asymmetric, the only ones of
#           opset 10, to half_pixel, the default since 11: the feature map moves by half a pixel when it is halved, a quarter when it is doubled, and a heat map
#           with it. Checker and runtime are content. A nearest Resize changes at some factors (a third), not at others (2). A Hardmax over
#           the channels (opset 11 to 13) answers other classes, while Softmax, whose meaning changed alike, is taken care of.
#           Set coordinate_transformation_mode="asymmetric" and nearest_mode="floor" yourself; compare a converted model's answers with the old one's.
# Versions: onnx 1.23.2, onnxruntime 1.32.0, numpy 2.4.6. Date: 2026-11-28.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet onnxruntime==1.32.0 onnx==1.23.2 numpy==2.4.6
"$folder/venv/bin/python" - <<'PYTHON'
import sys
from importlib.metadata import version

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper, version_converter

ramp = np.broadcast_to(np.arange(8, dtype=np.float32), (1, 3, 8, 8)) + np.arange(3, dtype=np.float32).reshape(1, 3, 1, 1)


def model(opset, operator, scale=None, **attributes):
    scales = [] if scale is None else [numpy_helper.from_array(np.float32([1, 1, scale, scale]), "scales")]
    node = helper.make_node(operator, ["x"] + [tensor.name for tensor in scales], ["y"], **attributes)
    x, y = helper.make_tensor_value_info("x", TensorProto.FLOAT, ramp.shape), helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    graph = helper.make_graph([node], "graph", [x], [y], scales)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def run(graph):
    return onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"]).run(None, {"x": ramp})[0]


def change(name, graph, opset):
    """The largest difference that converting the model to another opset makes."""
    converted = version_converter.convert_version(graph, opset)
    onnx.checker.check_model(converted, full_check=True)
    before, after = run(graph), run(converted)
    difference = float(np.abs(before - after).max())
    print(f"{name:36} to {opset}: one row {before[0, 0, 0, :5]} becomes {after[0, 0, 0, :5]}, largest difference {difference:.3g}")
    return difference


print("onnx", version("onnx"), "onnxruntime", version("onnxruntime"))
moved = [
    change("Resize of opset 10, linear, twice", model(10, "Resize", 2, mode="linear"), 11),
    change("Resize of opset 10, linear, to half", model(10, "Resize", 0.5, mode="linear"), 18),
    change("Resize of opset 10, nearest, to third", model(10, "Resize", 1 / 3, mode="nearest"), 13),
    change("Upsample of opset 9, linear, twice", model(9, "Upsample", 2, mode="linear"), 13),
    change("Hardmax of opset 11, over channels", model(11, "Hardmax", axis=1), 13),
]
kept = [
    change("Upsample of opset 9, linear, twice", model(9, "Upsample", 2, mode="linear"), 10),
    change("Resize of opset 10, nearest, twice", model(10, "Resize", 2, mode="nearest"), 13),
    change("Softmax of opset 11, over channels", model(11, "Softmax", axis=1), 13),
]
if not (min(moved) > 0.2 and max(kept) < 1e-6):
    sys.exit("The behaviour has changed.")
print("As found: the converted model computes something else, and nothing says so.")
PYTHON
