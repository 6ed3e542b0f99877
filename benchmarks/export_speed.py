"""`python benchmarks/export_speed.py` (needs torch): what the maps, the uint8 input and the int8 storage cost.

Besides the graph that Thorax serves, each backbone is exported plainly: float [N, 1, h, w] in, channels first,
probabilities out, fp32 weights. Both run on one thread in turns; the ratio is of their median CPU times.
"""

import argparse
import statistics
import time

import numpy as np
import torch
from torch import nn
from training.backbones import ARCHITECTURES, Classifier, build_classifier
from training.bundle_random import set_batch_norms
from training.export import export_graph, open_graph, to_onnx
from training.quantise import store_int8


class Plain(nn.Module):
    """The network alone: scaled float images to probabilities."""

    def __init__(self, classifier: Classifier) -> None:
        super().__init__()
        self.body, self.head = classifier.body, classifier.head

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """float [N, 1, h, w] -> [N, 5]."""
        return torch.sigmoid(self.head(self.body(images).mean((2, 3))))


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
        set_batch_norms(classifier, arguments.size)
        served = open_graph(store_int8(export_graph(classifier, arguments.size)))
        plain = open_graph(
            to_onnx(
                Plain(classifier).eval(), torch.rand(2, 1, arguments.size, arguments.size), ["probabilities"]
            )
        )
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
