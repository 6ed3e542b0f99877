"""`python benchmarks/export_speed.py` (needs torch): what the maps, the uint8 input and the int8 storage cost.

Beside the graph that Thorax serves, each backbone is exported plainly: float [N, 1, h, w] in, channels first,
probabilities out, fp32 weights. Both run on one thread in turns; the ratio is of their median CPU times.
"""

import argparse
import io
import statistics
import time
import warnings

import numpy as np
import onnxruntime as ort
import torch
from torch import nn
from training.backbones import ARCHITECTURES, Classifier, build_classifier
from training.bundle_random import settle_batch_norms
from training.export import OPSET, export_graph
from training.quantise import store_int8


class Plain(nn.Module):
    """The network alone: scaled float images to probabilities."""

    def __init__(self, classifier: Classifier) -> None:
        super().__init__()
        self.body, self.head = classifier.body, classifier.head

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """float [N, 1, h, w] -> [N, 5]."""
        return torch.sigmoid(self.head(self.body(images).mean((2, 3))))


def plain_graph(classifier: Classifier, size: int) -> bytes:
    """What `torch.onnx.export` gives anybody."""
    buffer = io.BytesIO()
    with torch.inference_mode(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        images = torch.rand(2, 1, size, size)
        names = {"input_names": ["images"], "output_names": ["probabilities"]}
        torch.onnx.export(
            Plain(classifier).eval(),
            (images,),
            buffer,
            dynamo=False,
            opset_version=OPSET,
            dynamic_axes={"images": {0: "batch"}},
            **names,
        )
    return buffer.getvalue()


def session(graph: bytes) -> ort.InferenceSession:
    """As the worker opens one on a CPU."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.disable_quant_qdq", "1")
    return ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


def main() -> None:
    """Print a row per backbone."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backbones", nargs="+", default=list(ARCHITECTURES), choices=list(ARCHITECTURES))
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--size", type=int, default=224)
    arguments = parser.parse_args()
    grey = np.random.default_rng(0).integers(0, 256, (1, arguments.size, arguments.size), dtype=np.uint8)
    print(
        f"{'backbone':22} {'plain':>8} {'served':>8} {'ratio':>6}   (CPU-ms per image, median of {arguments.rounds})"
    )
    for name in arguments.backbones:
        classifier = build_classifier(name)
        settle_batch_norms(classifier, arguments.size)
        served = session(store_int8(export_graph(classifier, arguments.size)).SerializeToString())
        plain = session(plain_graph(classifier, arguments.size))
        runs = ((plain, {"images": grey[:, None].astype(np.float32) / 255}), (served, {"images": grey}))
        spent: tuple[list[float], list[float]] = ([], [])
        for _ in range(arguments.rounds):
            for (network, inputs), times in zip(runs, spent, strict=True):
                began = time.process_time()
                network.run(None, inputs)
                times.append((time.process_time() - began) * 1e3)
        one, other = map(statistics.median, spent)
        print(f"{name:22} {one:8.1f} {other:8.1f} {other / one:6.3f}", flush=True)


if __name__ == "__main__":
    main()
