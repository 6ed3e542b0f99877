#!/usr/bin/env bash
# Expected: NaN in, NaN out. A service that checks its network's output for NaN notices a broken input.
# Happens:  in a graph that was quantised to int8 (QDQ, or dynamically), QuantizeLinear turns NaN into some integer, and the outputs are
#           ordinary probabilities between 0 and 1. The same graph in fp32 answers NaN. The check must come before quantisation.
# Versions: onnxruntime 1.32.0, onnx 1.23.2 (the operator's text leaves NaN open). Date: 2026-11-27.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet onnxruntime==1.32.0 onnx==1.23.2 numpy==2.4.6
cd "$folder"
ORT_DISABLE_TELEMETRY=1 "$folder/venv/bin/python" - <<'PYTHON'
import logging
import sys

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, quantize_dynamic, quantize_static

logging.disable(logging.WARNING)
print("onnxruntime", ort.__version__, "onnx", onnx.__version__)
rng = np.random.default_rng(0)

x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 16])
y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 5])
weights = numpy_helper.from_array(rng.normal(size=(16, 5)).astype(np.float32), "w")
nodes = [helper.make_node("MatMul", ["x", "w"], ["z"]), helper.make_node("Sigmoid", ["z"], ["y"])]
graph = helper.make_graph(nodes, "classifier", [x], [y], [weights])
onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), "fp32.onnx")


class Samples(CalibrationDataReader):
    """Twenty inputs to calibrate with."""

    def __init__(self):
        self.rows = iter([{"x": rng.normal(size=(1, 16)).astype(np.float32)} for _ in range(20)])

    def get_next(self):
        return next(self.rows, None)


quantize_static("fp32.onnx", "int8.onnx", Samples(), quant_format=QuantFormat.QDQ)
quantize_dynamic("fp32.onnx", "dynamic.onnx")

broken = rng.normal(size=(1, 16)).astype(np.float32)
broken[0, 3] = np.nan
has_nan = {}
for name in ("fp32", "int8", "dynamic"):
    answer = ort.InferenceSession(f"{name}.onnx", providers=["CPUExecutionProvider"]).run(None, {"x": broken})[0]
    has_nan[name] = bool(np.isnan(answer).any())
    print(f"{name:8}", np.round(answer[0], 3))
if has_nan != {"fp32": True, "int8": False, "dynamic": False}:
    sys.exit("The behaviour has changed.")
print("As found: quantised graphs hide the NaN.")
PYTHON
