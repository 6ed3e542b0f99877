"""TorchXRayVision's networks (Cohen et al. 2022, arXiv 2111.00595): which output is which, scaling, cut points."""

from torch import nn

from thorax.findings import Finding
from training.backbones import Classifier
from training.importers.described import Description, from_module

OUTPUTS = {
    Finding.ATELECTASIS: "Atelectasis",
    Finding.CARDIOMEGALY: "Cardiomegaly",
    Finding.CONSOLIDATION: "Consolidation",
    Finding.EDEMA: "Edema",
    Finding.PLEURAL_EFFUSION: "Effusion",
}
_SCALE, _OFFSET = 2048 / 255, -1024.0
"""Its images lie in -1024..1024 (`xrv.datasets.normalize`)."""


def load_network(network: nn.Module, name: str) -> Classifier:
    """A `xrv.models.DenseNet` or `ResNet` as our classifier, its operating points in the graph.

    ValueError if one of the five findings is not among its pathologies, or its own output is another.
    """
    pathologies = list(getattr(network, "pathologies", None) or network.targets)  # type: ignore[arg-type]
    missing = [theirs for theirs in OUTPUTS.values() if theirs not in pathologies]
    if missing:
        raise ValueError(f"{name}: expected an output for {missing[0]}; it has {', '.join(pathologies)}.")
    points = getattr(network, "op_threshs", None)
    dense = hasattr(network, "features")
    description = Description(
        name=name,
        outputs={finding: pathologies.index(theirs) for finding, theirs in OUTPUTS.items()},
        final_map="features" if dense else "model.layer4",
        head="classifier" if dense else "model.fc",
        relu=dense,
        channels=1,
        size=224 if dense else 512,
        scale=_SCALE,
        offset=_OFFSET,
        operating_points=[] if points is None else points.flatten().tolist(),
    )
    return from_module(network, description)
