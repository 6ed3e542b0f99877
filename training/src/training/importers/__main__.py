"""`python -m training.importers KIND FILE --out DIR`: existing weights become a bundle of one backbone."""

import argparse
import math
import sys
from dataclasses import replace
from pathlib import Path

import torch

from thorax.bundle import InputSpec
from thorax.findings import FINDINGS, Finding
from training.backbones import ARCHITECTURES, Classifier
from training.bundles import Ensemble, Member, uniform_weights, write_bundle
from training.export import export_graph, parameter_count
from training.importers.described import Description, load_described, read_description
from training.importers.described_onnx import load_described_graph
from training.importers.keras_h5 import class_order, load_original
from training.importers.torchxrayvision import WEIGHTS, load_published, size_of
from training.quantise import store_int8


def keras_member(path: Path, name: str) -> Member:
    """One of the original's Keras models."""
    return _member(name, load_original(path, name), 224, ARCHITECTURES[name].said, class_order(name))


def torchxrayvision_member(weights: str, path: Path | None, sha256: str) -> Member:
    """A network of TorchXRayVision by the name it gives its weights. ValueError says what to fetch."""
    name = "xrv_" + weights.split("-", maxsplit=1)[0]
    return _member(
        name, load_published(weights, path, sha256), size_of(weights), "x/255*2048-1024 (in the graph)"
    )


def described_member(path: Path) -> Member:
    """A torch or ONNX classifier that a YAML describes."""
    description = read_description(path)
    if description.graph:
        graph = load_described_graph(description, path.parent)
        weights = sum(math.prod(tensor.dims) for tensor in graph.graph.initializer)
        return Member(
            description.name, graph, _said(description), weights, input=InputSpec(size=description.size)
        )
    return _member(
        description.name, load_described(description, path.parent), description.size, _said(description)
    )


def _said(description: Description) -> str:
    grey = f"x*{description.scale:g}{description.offset:+g}"
    if description.mean:
        grey = f"({grey} - {description.mean}) / {description.std}"
    return f"{grey} (in the graph)"


def _member(
    name: str, classifier: Classifier, size: int, said: str, order: tuple[Finding, ...] = FINDINGS
) -> Member:
    graph = export_graph(classifier, size)
    return Member(name, graph, said, parameter_count(classifier), order, InputSpec(size=size))


def main() -> int:
    """The command line; 2 and one sentence for bad input."""
    parser = argparse.ArgumentParser(description="Turn existing weights into a bundle of one backbone.")
    kinds = parser.add_subparsers(dest="kind", required=True)
    keras = kinds.add_parser("keras", help="an .h5 of the original system")
    keras.add_argument("file", type=Path)
    keras.add_argument("--backbone", choices=list(ARCHITECTURES), required=True)
    xrv = kinds.add_parser("torchxrayvision", help="a network of TorchXRayVision, by its weights' name")
    xrv.add_argument("weights", help=", ".join(WEIGHTS))
    xrv.add_argument("--file", type=Path, help="where the weights lie; else they are fetched")
    xrv.add_argument("--sha256", default="", help="of the file that you trust")
    described = kinds.add_parser("described", help="a torch or ONNX classifier with a YAML")
    described.add_argument("file", type=Path)
    for kind in (keras, xrv, described):
        kind.add_argument("--out", type=Path, required=True)
        kind.add_argument("--licence", required=True, help="of the weights")
        kind.add_argument("--storage", choices=("int8", "fp32"), default="fp32")
    arguments = parser.parse_args()
    torch.manual_seed(0)
    try:
        member = _MEMBERS[arguments.kind](arguments)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    if arguments.storage == "int8":
        member = replace(member, graph=store_int8(member.graph))
    name = member.name.replace("_", "-")
    ensemble = Ensemble(uniform_weights([member.name]))
    notes = "Imported; thresholds and calibration are not fitted yet: `make assemble` fits them."
    write_bundle(
        arguments.out, [member], ensemble, name=name, version="0.1.0", licence=arguments.licence, notes=notes
    )
    print(
        f"Wrote {arguments.out}. Fit it to labelled images: make assemble MEMBERS={arguments.out} DATA=… IMAGES=… OUT=…"
    )
    return 0


_MEMBERS = {
    "keras": lambda arguments: keras_member(arguments.file, arguments.backbone),
    "torchxrayvision": lambda arguments: torchxrayvision_member(
        arguments.weights, arguments.file, arguments.sha256
    ),
    "described": lambda arguments: described_member(arguments.file),
}

if __name__ == "__main__":
    sys.exit(main())
