"""`python -m training.bundle_random --out DIR`: a full-size bundle with random weights, to measure speed with."""

import argparse
from pathlib import Path

import torch
from torch import nn

from training.backbones import ARCHITECTURES, Classifier, build_classifier
from training.bundles import Ensemble, Member, uniform_weights, write_bundle
from training.export import export_graph, parameter_count
from training.quantise import store_int8


def set_batch_norms(classifier: Classifier, size: int = 224) -> None:
    """Set the running statistics to those of two images of noise, so that no layer dies or explodes."""
    for module in classifier.modules():
        if isinstance(module, nn.BatchNorm2d | nn.BatchNorm1d):
            module.momentum = 1.0
    images = torch.randint(0, 256, (2, size, size), dtype=torch.uint8)
    with torch.no_grad():
        classifier.train()(images)
    classifier.eval()


def random_member(name: str, size: int, int8: bool) -> Member:
    """A backbone with random weights as a bundle's member."""
    classifier = build_classifier(name)
    set_batch_norms(classifier, size)
    graph = export_graph(classifier, size)
    said = ARCHITECTURES[name].said
    return Member(name, store_int8(graph) if int8 else graph, said, parameter_count(classifier))


def main() -> None:
    """The command line; prints each file as it is written."""
    parser = argparse.ArgumentParser(description="Build a full-size bundle with random weights.")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--backbones", nargs="+", default=list(ARCHITECTURES), choices=list(ARCHITECTURES))
    parser.add_argument("--storage", choices=("int8", "fp32"), default="int8")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    torch.manual_seed(arguments.seed)
    members = []
    for name in arguments.backbones:
        members.append(random_member(name, 224, arguments.storage == "int8"))
        print(f"{name}: {members[-1].graph.ByteSize() / 1e6:.1f} MB", flush=True)
    write_bundle(
        arguments.out,
        members,
        Ensemble(uniform_weights(arguments.backbones)),
        name="random-full",
        version="0.1.0",
        licence="Apache-2.0",
        notes="Random weights: its answers mean nothing. Made to measure speed with.",
    )
    print(f"wrote {arguments.out}")


if __name__ == "__main__":
    main()
