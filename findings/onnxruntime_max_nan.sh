#!/usr/bin/env bash
# Expected: a NaN passes through a maximum, as through numpy.max and PyTorch's max pooling. A network that ends with the greatest value of its heat map
#           says NaN about an image that broke it, and who checks the output of a float network for NaN notices.
# Happens:  onnxruntime's maxima lose it, depending on its place: of a map of 64, MaxPool and GlobalMaxPool keep it at the last place only, ReduceMax
#           and ReduceMin at the first only. Anywhere else the greatest of the other values comes out, an ordinary probability. Where the graph is to
#           tell, add a second output that passes it on: AveragePool, ReduceSum and ReduceMean do, and Relu, Clip and Max of two tensors.
# Versions: onnxruntime 1.32.0 (CPU, x86-64), onnx 1.23.2, numpy 2.4.6. ONNX's text of these operators leaves NaN open. Date: 2026-11-27.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet onnxruntime==1.32.0 onnx==1.23.2 numpy==2.4.6
cd "$folder"
ORT_DISABLE_TELEMETRY=1 "$folder/venv/bin/python" - <<'PYTHON'
import sys

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper

print("onnxruntime", ort.__version__, "onnx", onnx.__version__, "numpy", np.__version__)
SIDE = 8
POOL, REDUCE = {"kernel_shape": [SIDE, SIDE]}, {"keepdims": 1}
OPERATORS = {
    "MaxPool": POOL,
    "GlobalMaxPool": {},
    "ReduceMax": REDUCE,
    "ReduceMin": REDUCE,
    "AveragePool": POOL,
    "ReduceSum": REDUCE,
    "ReduceMean": REDUCE,
}
rng = np.random.default_rng(1)
HEAT_MAP = rng.normal(size=(1, 1, SIDE, SIDE)).astype(np.float32)


def session(operator, attributes):
    """A graph that makes a probability of a heat map of logits (1, 1, 8, 8) by one operator and a sigmoid."""
    axes = ["axes"] if attributes is REDUCE else []
    nodes = [helper.make_node(operator, ["logits", *axes], ["logit"], **attributes), helper.make_node("Sigmoid", ["logit"], ["probability"])]
    graph = helper.make_graph(
        nodes,
        "finding",
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, HEAT_MAP.shape)],
        [helper.make_tensor_value_info("probability", TensorProto.FLOAT, [1, 1, 1, 1])],
        [helper.make_tensor(name, TensorProto.INT64, [2], [2, 3]) for name in axes],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    return ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])


def places_kept(operator, attributes):
    """The places of a single NaN in the heat map for which the probability is NaN."""
    graph, kept, values = session(operator, attributes), [], set()
    for place in range(HEAT_MAP.size):
        logits = HEAT_MAP.copy()
        logits.flat[place] = np.nan
        assert np.isnan(logits.max())
        probability = graph.run(None, {"logits": logits})[0].item()
        if np.isnan(probability):
            kept.append(place)
        else:
            values.add(round(probability, 3))
    shown = "all" if len(kept) == HEAT_MAP.size else kept
    print(f"{operator:14} NaN for a NaN at these places of {HEAT_MAP.size}: {shown!s:5} otherwise: {sorted(values)}")
    return len(kept)


found = {operator: places_kept(operator, attributes) for operator, attributes in OPERATORS.items()}
lose = [operator for operator, count in found.items() if count < HEAT_MAP.size / 2]
whole = [operator for operator, count in found.items() if count == HEAT_MAP.size]
if lose != list(OPERATORS)[:4] or whole != list(OPERATORS)[4:]:
    sys.exit("The behaviour has changed.")
print("As found: a maximum hides that the image is broken.")
PYTHON
