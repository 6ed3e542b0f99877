"""Gives a graph of the `linear` head an absolute map: each place's probability instead of a share without a scale.

With the last map A, the pooled z = mean(A) and logit = W z + b, the mean over the places of W A[place] + b is the logit.
So sigmoid(W A[place] + b) is what the network would say if all of the image looked like this place: no weight is
changed, no probability moves, and the map of an image without the finding stays near 0.
"""

import numpy as np
import onnx
from onnx import helper, numpy_helper


def absolute(graph: onnx.ModelProto) -> onnx.ModelProto:
    """A copy whose `maps` are probabilities. ValueError if the graph is not one of `training.export`'s linear ones."""
    made = onnx.ModelProto()
    made.CopyFrom(graph)
    nodes = {output: node for node in made.graph.node for output in node.output}
    reshape = nodes.get("maps")
    relu = nodes.get(reshape.input[0]) if reshape is not None and reshape.op_type == "Reshape" else None
    product = nodes.get(relu.input[0]) if relu is not None and relu.op_type == "Relu" else None
    gemm = next((node for node in made.graph.node if node.op_type == "Gemm" and "head.dense" in node.input[1]), None)
    if product is None or product.op_type != "MatMul" or gemm is None:
        raise ValueError("Expected a graph of the linear head: MatMul, ReLU and Reshape before its maps.")
    shape = numpy_helper.to_array(nodes[reshape.input[1]].attribute[0].t)  # -1, 5, h, w
    places = int(shape[2] * shape[3])
    bias = next(t for t in made.graph.initializer if t.name == gemm.input[2])
    constants = {
        "maps.places": np.array(places, np.float32),
        "maps.bias": numpy_helper.to_array(bias).reshape(1, -1, 1).astype(np.float32),
    }
    made.graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in constants.items())
    relu.op_type = "Sigmoid"
    before = list(made.graph.node).index(relu)
    steps = [
        helper.make_node("Mul", [product.output[0], "maps.places"], ["maps.logits"], name="maps.scaled"),
        helper.make_node("Add", ["maps.logits", "maps.bias"], ["maps.cells"], name="maps.shifted"),
    ]
    relu.input[0] = "maps.cells"
    nodes_after = [*made.graph.node[:before], *steps, *made.graph.node[before:]]
    del made.graph.node[:]
    made.graph.node.extend(nodes_after)
    onnx.checker.check_model(made)
    return made
