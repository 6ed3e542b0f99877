"""From a torch classifier to one self-contained ONNX graph that gives probabilities and the five maps."""

import io
import warnings
from collections.abc import Sequence
from typing import cast

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort
import torch
from torch import Tensor, nn

from thorax.findings import FINDINGS
from training.backbones import Classifier
from training.backbones.grid import GridClassifier
from training.backbones.heads import Head

OPSET = 17
TOLERANCE = 1e-4


class Explained(nn.Module):
    """What the graph computes: uint8 [N, h, w] -> probabilities [N, 5] and maps [N, 5, h', w'].

    The map of finding c is ReLU(sum_k alpha[c,k] A[k]) with alpha = d logit_c / d A[k], averaged over the grid:
    the Grad-CAM of Selvaraju et al. 2017 (arXiv 1610.02391), exact for our heads and without gradients. A grid head's
    map is absolute: the probability of the finding at each place.
    """

    def __init__(self, classifier: Classifier | GridClassifier) -> None:
        super().__init__()
        self.classifier = classifier

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """See the class."""
        if isinstance(self.classifier, GridClassifier):
            return self.classifier.explained(images)
        final = self.classifier.final_map(images)
        pooled = final.mean((2, 3))
        head = cast(Head, self.classifier.head)
        channels, height, width = (int(edge) for edge in final.shape[1:])  # constants in the graph
        alpha = head.channel_weights(pooled) / (height * width)
        grid = final.reshape(-1, channels, height * width)
        maps = torch.relu(torch.matmul(alpha, grid)).reshape(-1, len(FINDINGS), height, width)
        return self.classifier.probabilities(head(pooled)), maps


def export_graph(classifier: Classifier | GridClassifier, size: int = 224) -> onnx.ModelProto:
    """The classifier as an ONNX graph with a dynamic batch, channels first, batch norms folded where they can be.

    Raises ValueError if the graph's answers are further than TOLERANCE from torch's.
    """
    module = Explained(classifier.float()).eval()
    images = torch.from_numpy(_noise(2, size))
    graph = to_onnx(module, images, ["probabilities", "maps"])
    gap = max_gap(run_graph(graph, images.numpy()), run_torch(module, images))
    if gap > TOLERANCE:
        raise ValueError(f"The exported graph is {gap:.2g} away from torch; at most {TOLERANCE} is allowed.")
    return graph


def to_onnx(module: nn.Module, images: Tensor, outputs: list[str]) -> onnx.ModelProto:
    """A module of one input, `images`, as a checked graph with a dynamic batch."""
    buffer = io.BytesIO()
    with torch.inference_mode(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module,
            (images,),
            buffer,  # type: ignore[arg-type]
            dynamo=False,
            opset_version=OPSET,
            input_names=["images"],
            output_names=outputs,
            dynamic_axes={name: {0: "batch"} for name in ("images", *outputs)},
        )
    graph = onnx.load_from_string(buffer.getvalue())
    onnx.checker.check_model(graph)
    return graph


def run_graph(graph: onnx.ModelProto, images: npt.NDArray[np.uint8]) -> list[npt.NDArray[np.float32]]:
    """Probabilities [N, 5] and maps [N, 5, h', w'] of uint8 [N, h, w] images, by ONNX Runtime on one thread."""
    return [np.asarray(output, np.float32) for output in open_graph(graph).run(None, {"images": images})]


def open_graph(graph: onnx.ModelProto) -> ort.InferenceSession:
    """A session on one thread of the CPU, as a worker opens one: int8 weights are folded to fp32 at load."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.add_session_config_entry("session.disable_quant_qdq", "1")
    return ort.InferenceSession(graph.SerializeToString(), options, providers=["CPUExecutionProvider"])


def run_torch(module: nn.Module, images: Tensor) -> list[npt.NDArray[np.float32]]:
    """The same by torch."""
    with torch.inference_mode():
        return [output.numpy() for output in module(images)]


def max_gap(these: Sequence[npt.NDArray[np.float32]], those: Sequence[npt.NDArray[np.float32]]) -> float:
    """The largest difference, each array's taken relative to 1 or to its own largest value."""
    pairs = zip(these, those, strict=True)
    return max(float(np.abs(a - b).max() / max(1.0, np.abs(b).max())) for a, b in pairs)


def parameter_count(classifier: nn.Module) -> int:
    """Trainable parameters of backbone and head."""
    return sum(parameter.numel() for parameter in classifier.parameters())


def _noise(n: int, size: int) -> npt.NDArray[np.uint8]:
    return np.random.default_rng(len(FINDINGS)).integers(0, 256, (n, size, size), dtype=np.uint8)
