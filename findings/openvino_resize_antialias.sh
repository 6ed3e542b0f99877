#!/usr/bin/env bash
# Expected: OpenVINO reads an ONNX model as the operator's specification says, or refuses what it does not support.
# Happens:  a Resize with antialias=1 (opset 18, linear, a floating image made smaller) is read without a word and computed without the antialiasing: it picks
#           pixels where ONNX Runtime and onnx's own reference average them, so that a network that shrinks its input inside the graph
#           sees another picture, and answers otherwise. At f32, on every CPU. The same Resize with antialias=0 agrees.
#           Compare both runtimes' answers on real images before one takes the other's place, or make the image smaller before the graph.
# Versions: openvino 2026.4.1, onnxruntime 1.32.0, onnx 1.23.2, numpy 2.4.6. Date: 2026-11-28.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet openvino==2026.4.1 onnxruntime==1.32.0 onnx==1.23.2 numpy==2.4.6
"$folder/venv/bin/python" - <<'PYTHON'
import sys
from importlib.metadata import version

import numpy as np
import onnxruntime
import openvino
from onnx import TensorProto, checker, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

image = np.random.default_rng(0).random((1, 1, 64, 64), dtype=np.float32)


def model(antialias):
    sizes = numpy_helper.from_array(np.array([8, 8]), "sizes")
    node = helper.make_node("Resize", ["x", "", "", "sizes"], ["y"], mode="linear", antialias=antialias, axes=[2, 3])
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in (("x", image.shape), ("y", (1, 1, 8, 8))))
    made = helper.make_model(helper.make_graph([node], "graph", [x], [y], [sizes]), opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    checker.check_model(made)
    return made


print(", ".join(f"{name} {version(name)}" for name in ("openvino", "onnxruntime", "onnx", "numpy")))
gaps = {}
for antialias in (0, 1):
    graph = model(antialias)
    data = graph.SerializeToString()
    runtime = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"]).run(None, {"x": image})[0]
    reference = ReferenceEvaluator(graph).run(None, {"x": image})[0]
    core = openvino.Core()
    other = core.compile_model(core.read_model(data), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})(image)[0]
    gaps[antialias] = float(np.abs(other - runtime).max())
    print(f"antialias={antialias}: standard deviation {runtime.std():.3f} by ONNX Runtime, {reference.std():.3f} by onnx's reference, {other.std():.3f} by OpenVINO;"
          f" largest difference of OpenVINO from ONNX Runtime {gaps[antialias]:.3f}")
sys.exit(not (gaps[0] < 1e-4 and gaps[1] > 0.1))
PYTHON
