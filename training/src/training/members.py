"""A trained network as a bundle's member: exported, and stored as int8 where that costs little. Needs torch."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from thorax.bundle import InputSpec
from training.backbones import ARCHITECTURES, Classifier
from training.backbones.grid import GridClassifier
from training.bundles import Member
from training.checkpoint import averaged_classifier, load_checkpoint
from training.export import export_graph, parameter_count
from training.fleet.parcel import unpack
from training.metrics import Floats
from training.stored import stored


def exported(path: Path, size: int, pixels: NDArray[np.uint8], labels: Floats, int8: bool) -> Member:
    """A checkpoint, or a `.net` of training.fleet, which knows its own size. ValueError if int8 storage costs too much.

    `pixels` uint8 [N, size, size] with `labels` [N, 5] are what the cost is measured on.
    """
    classifier: Classifier | GridClassifier
    unit = "logit"
    if path.suffix == ".net":
        classifier, size = unpack(path.read_bytes())
        name, unit = classifier.name, "probability"
    else:
        saved = load_checkpoint(path)
        classifier, name = averaged_classifier(saved), saved.name
    exact = export_graph(classifier, size)
    graph = stored(name, exact, pixels, labels) if int8 else exact
    said = ARCHITECTURES[name].said
    return Member(name, graph, said, parameter_count(classifier), input=InputSpec(size=size), unit=unit)
