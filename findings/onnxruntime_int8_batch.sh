#!/usr/bin/env bash
# Expected: a network answers an image alone as it answers it within a batch, up to the last bits of a float: inference mixes no rows.
# Happens:  a graph from `quantize_dynamic` scales its activations by the least and the greatest value of the whole tensor, all images of the batch
#           (DynamicQuantizeLinear). One bright image takes the steps away from the others, and a patient's probability depends on who came at the
#           same moment. The fp32 graph, and one from `quantize_static`, whose scales are constants, answer the same in any company.
# Versions: onnxruntime 1.32.0, onnx 1.23.2. Date: 2026-11-27.
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

x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["images", 64])
y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["images", 3])
weights = [
    numpy_helper.from_array((rng.normal(size=shape) / 4).astype(np.float32), name) for name, shape in (("v", (64, 32)), ("w", (32, 3)))
]
nodes = [
    helper.make_node("MatMul", ["x", "v"], ["hidden"]),
    helper.make_node("Relu", ["hidden"], ["active"]),
    helper.make_node("MatMul", ["active", "w"], ["logits"]),
    helper.make_node("Sigmoid", ["logits"], ["y"]),
]
graph = helper.make_graph(nodes, "classifier", [x], [y], weights)
onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), "fp32.onnx")


class Samples(CalibrationDataReader):
    """Twenty inputs to calibrate with."""

    def __init__(self):
        self.rows = iter([{"x": rng.normal(size=(8, 64)).astype(np.float32)} for _ in range(20)])

    def get_next(self):
        return next(self.rows, None)


quantize_dynamic("fp32.onnx", "dynamic.onnx")
quantize_static("fp32.onnx", "static.onnx", Samples(), quant_format=QuantFormat.QDQ)

patient = rng.normal(size=(1, 64)).astype(np.float32)
usual = np.concatenate([patient, rng.normal(size=(7, 64)).astype(np.float32)])
bright = usual.copy()
bright[7] *= 20
moved = {}
for name in ("fp32", "static", "dynamic"):
    session = ort.InferenceSession(f"{name}.onnx", providers=["CPUExecutionProvider"])
    alone, among, beside = (session.run(None, {"x": batch})[0][0] for batch in (patient, usual, bright))
    moved[name] = float(np.abs(beside - alone).max())
    print(f"{name:8} alone {np.round(alone, 4)}, among 7 others {np.round(among, 4)}, one of them bright {np.round(beside, 4)}")
print("largest change of a probability:", {name: f"{change:.1e}" for name, change in moved.items()})
if moved["fp32"] > 1e-5 or moved["static"] > 1e-5 or moved["dynamic"] < 0.02:
    sys.exit("The behaviour has changed.")
print("As found: with dynamic quantisation the neighbours in a batch change the answer.")
PYTHON
