"""`python -m model_worker.check_bundle FOLDER`: opens every graph of a bundle, before anybody's image depends on it."""

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx

from model_worker.backbone import CPU, Backbone, first_line, invalid
from thorax import telemetry
from thorax.bundle import CARD, GOLDEN, GOLDEN_IMAGE, MANIFEST, BackboneSpec, Bundle, load_bundle
from thorax.errors import CodedError

_FLOATS = (
    onnx.TensorProto.FLOAT,
    onnx.TensorProto.FLOAT16,
    onnx.TensorProto.BFLOAT16,
    onnx.TensorProto.DOUBLE,
)
SAME = 1e-3  # between an image's probabilities alone and in a batch


def check_bundle(folder: Path) -> Iterator[str]:
    """One line for each graph that is as it should be, and for each file that nothing names.

    Raises CodedError (BUNDLE_MISSING, BUNDLE_INVALID) at the first fault: the file, and what was expected of it.
    """
    bundle = load_bundle(folder)
    for spec in bundle.manifest.backbones:
        yield f"{spec.file}: {check_backbone(bundle, spec)}"
    named = {MANIFEST, CARD, GOLDEN, GOLDEN_IMAGE, *(spec.file for spec in bundle.manifest.backbones)}
    for path in sorted(folder.iterdir()):
        if path.name not in named:
            yield f"{path.name}: not named by the manifest, and not used"


def check_backbone(bundle: Bundle, spec: BackboneSpec) -> str:
    """What the graph was found to be. CodedError(BUNDLE_INVALID) unless it keeps all of docs/reference/bundle-format.md, "The graph"."""
    path = bundle.folder / spec.file
    _check_weights(path, bundle.graph(spec))
    backbone = Backbone(bundle, spec, [CPU])
    rng, size = np.random.default_rng(0), spec.input.size
    shades = [np.full((size, size), shade, np.uint8) for shade in (0, 255)]
    images = np.stack([rng.integers(0, 64, (size, size), dtype=np.uint8), *shades])  # their means differ
    try:
        together, alone = backbone.predict(images), backbone.predict(images[:1])
    except Exception as error:  # ONNX Runtime's own exceptions share no public base class
        raise invalid(path, "to run on batches of 1 and of 3", first_line(error)) from error
    p, maps = together.probabilities, together.maps
    if p.shape != (3, 5) or not ((p >= 0) & (p <= 1)).all():  # NaN compares false
        raise invalid(
            path, "probabilities [3, 5] in 0..1 for 3 images", f"{list(p.shape)}, {p.min()}..{p.max()}"
        )
    if maps.shape[:2] != (3, 5) or not (np.isfinite(maps) & (maps >= 0)).all():
        found = f"{list(maps.shape)}, {maps.min()}..{maps.max()}"
        raise invalid(path, "maps [3, 5, h, w] for 3 images, finite as float16 and not negative", found)
    gap = float(np.abs(p[0] - alone.probabilities[0]).max())
    if gap > SAME:
        raise invalid(
            path, "an image's probabilities not to depend on its batch", f"a difference of {gap:.3g}"
        )
    return f"uint8 [N, {size}, {size}] -> probabilities [N, 5], maps [N, 5, {maps.shape[2]}, {maps.shape[3]}]"


def _check_weights(path: Path, data: bytes) -> None:
    """Every tensor lies in the file itself and is finite; a lone number may be infinite (a clip's, a padding's)."""
    try:
        model = onnx.load_model_from_string(data)
    except Exception as error:  # protobuf's own
        raise invalid(path, "an ONNX graph", first_line(error)) from error
    for tensor in _tensors(model):
        if tensor.data_location == onnx.TensorProto.EXTERNAL or tensor.external_data:
            raise invalid(path, "a self-contained graph", f"external data for {tensor.name}")
        if tensor.data_type not in _FLOATS:
            continue
        values = onnx.numpy_helper.to_array(tensor)
        if np.isnan(values).any() or (values.size > 1 and np.isinf(values).any()):
            raise invalid(path, "finite weights", f"NaN or infinity in {tensor.name}")


def _tensors(model: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    """All of a model's constants, in its functions and in the branches of its nodes as well."""
    yield from _of_graph(model.graph)
    for function in model.functions:
        yield from _of_nodes(function.node)


def _of_graph(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    yield from _of_nodes(graph.node)


def _of_nodes(nodes: "onnx.GraphProto.node") -> Iterator[onnx.TensorProto]:
    for attribute in (attribute for node in nodes for attribute in node.attribute):
        yield from (attribute.t, *attribute.tensors)
        for sparse in (attribute.sparse_tensor, *attribute.sparse_tensors):
            yield from (sparse.values, sparse.indices)
        for graph in (attribute.g, *attribute.graphs):
            yield from _of_graph(graph)


def main() -> int:
    """The command line; 1 and one sentence for a bundle that must not serve."""
    telemetry.configure("check", level="ERROR", form="console")
    try:
        for line in check_bundle(Path(sys.argv[1])):
            print(line)
    except CodedError as error:
        print(error.detail, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
