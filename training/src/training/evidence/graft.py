"""Puts a head of local evidence into a served graph: its maps are the head's, its probabilities as they were."""

import io
import warnings

import numpy as np
import onnx
import torch
from numpy.typing import NDArray

from training.evidence.early import EarlyLayers, prune
from training.evidence.head import EvidenceHead
from training.export import OPSET, TOLERANCE, max_gap, run_graph

_PREFIX = "evidence/"


def graft(
    graph: onnx.ModelProto, head: EvidenceHead, fine: str, coarse: str, images: NDArray[np.uint8]
) -> onnx.ModelProto:  # fmt: skip
    """The graph with new `maps` [N, 5, h, w]. ValueError where, on these images (uint8 [N, s, s]), its probabilities
    are not the old ones to the bit, or its maps not the head's."""
    early = [torch.from_numpy(values) for values in EarlyLayers(graph, fine, coarse)(images)]
    exported = onnx.compose.add_prefix(_exported(head.eval(), early), _PREFIX)
    exported.ir_version = graph.ir_version
    trunk = onnx.ModelProto()
    trunk.CopyFrom(graph)
    _rename(trunk, "maps", "classifier/maps")  # where the probabilities need it
    prune(trunk, ("probabilities", fine, coarse))
    kept = [output for output in graph.graph.output if output.name == "probabilities"]
    del trunk.graph.output[:]
    trunk.graph.output.extend([*kept, *map(onnx.helper.make_empty_tensor_value_info, (fine, coarse))])
    whole = onnx.compose.merge_models(
        trunk, exported, [(fine, f"{_PREFIX}fine"), (coarse, f"{_PREFIX}coarse")], outputs=["probabilities", f"{_PREFIX}maps"]
    )  # fmt: skip
    _rename(whole, f"{_PREFIX}maps", "maps")
    whole.graph.output[1].name = "maps"
    onnx.checker.check_model(whole)
    with torch.inference_mode():
        expected = head(*early).numpy()
    before, after = run_graph(graph, images), run_graph(whole, images)
    if not np.array_equal(before[0], after[0]) or max_gap([expected], [after[1]]) > TOLERANCE:
        raise ValueError("The new graph's answers differ from the old one's and the head's.")
    return whole


def _rename(graph: onnx.ModelProto, old: str, new: str) -> None:
    for node in graph.graph.node:
        for names in (node.input, node.output):
            names[:] = [new if name == old else name for name in names]


def _exported(head: EvidenceHead, early: list[torch.Tensor]) -> onnx.ModelProto:
    buffer, names = io.BytesIO(), ["fine", "coarse"]
    with torch.inference_mode(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            head, tuple(early), buffer, dynamo=False, opset_version=OPSET, input_names=names, output_names=["maps"],  # type: ignore[arg-type]
            dynamic_axes={name: {0: "batch"} for name in (*names, "maps")},
        )  # fmt: skip
    return onnx.load_from_string(buffer.getvalue())
