"""The original's fine-tuned Keras models (.h5), backbone and head, in the class order they were trained with."""

from pathlib import Path

from thorax.findings import FINDINGS, Finding
from training.backbones import Classifier, build_classifier
from training.backbones.heads import LinearHead, OriginalHead
from training.importers.keras_file import Layer, Layers
from training.importers.keras_weights import fill, load_body

_EDEMA_SECOND = (
    Finding.ATELECTASIS,
    Finding.EDEMA,
    Finding.CARDIOMEGALY,
    Finding.CONSOLIDATION,
    Finding.PLEURAL_EFFUSION,
)
CLASS_ORDERS = {"densenet169": _EDEMA_SECOND, "densenet201": _EDEMA_SECOND}
"""Two of the original's networks put edema second; the others use the canonical order."""


def class_order(name: str) -> tuple[Finding, ...]:
    """The order of the five outputs in the original's weights."""
    return CLASS_ORDERS.get(name, FINDINGS)


def load_original(path: Path, name: str) -> Classifier:
    """The classifier in a Keras .h5; its head may be the original's or one Dense.

    ValueError, naming the file, for another architecture, another head or weights that are not finite.
    """
    classifier = build_classifier(name, "original")
    rest = load_body(classifier.body, name, path)
    dense = {layer["kernel"].shape: layer for layer in rest.values() if "kernel" in layer}
    width = int(classifier.body.features)  # type: ignore[arg-type]
    if {(width, 1024), (1024, len(FINDINGS))} <= set(dense):  # first: DenseNet-121's width is 1024 as well
        original = OriginalHead(width)
        fill(original.dense1, dense[width, 1024])
        fill(original.dense2, dense[1024, len(FINDINGS)])
        fill(original.bn, _batch_norm(rest, path))
        classifier.head = original
    elif (width, len(FINDINGS)) in dense:
        linear = LinearHead(width)
        fill(linear.dense, dense[width, len(FINDINGS)])
        classifier.head = linear
    else:
        raise ValueError(
            f"{path}: expected a head of Dense {width}x1024 and 1024x5, or of Dense {width}x5; "
            f"found {', '.join('x'.join(map(str, shape)) for shape in dense) or 'no Dense'}."
        )
    return classifier.eval()


def _batch_norm(rest: Layers, path: Path) -> Layer:
    norms = [layer for layer in rest.values() if "moving_mean" in layer]
    if len(norms) != 1:
        raise ValueError(f"{path}: expected one batch norm in the head; found {len(norms)}.")
    return norms[0]
