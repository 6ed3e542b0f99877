"""TorchXRayVision's networks (Cohen et al. 2022, arXiv 2111.00595): which output is which, scaling, cut points.

Its DenseNets are published as pickled modules, which only the library itself can open, and opening one runs code that
lies in it; so their digest is asked for first. The ResNet is a plain state dict, and needs neither.
"""

from pathlib import Path
from typing import NamedTuple

import torch
from torch import nn

from thorax.findings import FINDINGS
from training.backbones import Classifier
from training.downloads import Pinned, fetch, verify
from training.importers.described import Description, from_module
from training.importers.resnet import ResNet50

FOLDER = Path("~/.torchxrayvision/models_data")
CLASSES = 18
OUTPUTS = dict(zip(FINDINGS, (0, 10, 1, 4, 7), strict=True))
"""Of its 18 outputs: Atelectasis, Cardiomegaly, Consolidation, Edema, Effusion. The same in all its networks."""
_SCALE, _OFFSET = 2048 / 255, -1024.0
"""Its images lie in -1024..1024 (`xrv.utils.normalize`)."""
_RELEASE = "https://github.com/mlmed/torchxrayvision/releases/download/v1"
_DENSE = "densenet121-d121-tw-lr001-rot45-tr15-sc15-seed0-best.pt"


class Published(NamedTuple):
    """A file of its release v1 (Apache-2.0), and the operating points of the five findings in canonical order."""

    pinned: Pinned
    points: tuple[float, float, float, float, float]


def _published(file: str, *points: float, sha256: str = "") -> Published:
    """Neither the release nor the library names a digest, and we have not seen these files.

    One is pinned as half a dozen unrelated projects pin it; of the others `--sha256` must say it.
    """
    atelectasis, cardiomegaly, consolidation, edema, effusion = points
    five = (atelectasis, cardiomegaly, consolidation, edema, effusion)
    return Published(Pinned(f"{_RELEASE}/{file}", sha256=sha256), five)


WEIGHTS = {
    "densenet121-res224-all": _published(
        f"nih-pc-chex-mimic_ch-google-openi-kaggle-{_DENSE}",
        *(0.07422872, 0.050318155, 0.038290843, 0.023601074, 0.103246614),
        sha256="56524913dd16a906422e8d8b66a7a5c46be1d82eb7ac012d8103776f1aa68899",
    ),
    "densenet121-res224-nih": _published(
        f"nih-{_DENSE}", 0.039117552, 0.016149804, 0.0034529066, 0.00045666535, 0.038744126
    ),
    "densenet121-res224-pc": _published(
        f"pc-{_DENSE}", 0.031012505, 0.043258056, 0.013347598, 0.002587246, 0.055412333
    ),
    "densenet121-res224-chex": _published(
        f"chex-{_DENSE}", 0.1988969, 0.19712369, 0.05710573, 0.1435217, 0.27212676
    ),
    "densenet121-res224-mimic_nb": _published(
        f"mimic_nb-{_DENSE}", 0.08558747, 0.06358637, 0.011884617, 0.010733786, 0.118761964
    ),
    "densenet121-res224-mimic_ch": _published(
        f"mimic_ch-{_DENSE}", 0.09121389, 0.05006329, 0.010573786, 0.003698257, 0.08001232
    ),
    "resnet50-res512-all": _published(
        "pc-nih-rsna-siim-vin-resnet50-test512-e400-state.pt",
        *(0.51570356, 0.5056339, 0.50444704, 0.5025118, 0.51862943),
    ),
}
"""Those that know all five findings, by the library's names (`xrv.models.model_urls`)."""


def load_published(name: str, path: Path | None = None, sha256: str = "") -> Classifier:
    """A network by the name of its weights, from `path` or fetched. ValueError says what is wrong or to be fetched."""
    if name not in WEIGHTS:
        raise ValueError(
            f"No weights for the five findings are called {name}; there are {', '.join(WEIGHTS)}."
        )
    published, points = WEIGHTS[name]
    pinned = published._replace(sha256=sha256 or published.sha256)
    if path is None:
        path = fetch(pinned, FOLDER.expanduser())
    elif pinned.sha256:
        verify(path, pinned)
    network = _resnet(path) if name.startswith("resnet") else _densenet(path, pinned.sha256)
    if any(not torch.isfinite(v).all() for v in network.state_dict().values() if v.is_floating_point()):
        raise ValueError(f"{path}: expected finite weights; found NaN or infinity.")
    return from_module(network, _description(name, points))


def size_of(name: str) -> int:
    """The edge of its images, as its name says: `densenet121-res224-all`."""
    return int(name.split("-")[1].removeprefix("res"))


def _description(name: str, points: tuple[float, ...]) -> Description:
    dense = name.startswith("densenet")
    by_output = [0.5] * CLASSES
    for output, point in zip(OUTPUTS.values(), points, strict=True):
        by_output[output] = point
    return Description(
        name=name,
        outputs={str(finding): output for finding, output in OUTPUTS.items()},
        final_map="features" if dense else "layer4",
        head="classifier" if dense else "fc",
        relu=dense,
        channels=1,
        size=size_of(name),
        scale=_SCALE,
        offset=_OFFSET,
        operating_points=by_output,
    )


def _resnet(path: Path) -> nn.Module:
    network: nn.Module = ResNet50(CLASSES)
    try:
        network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    except Exception as error:  # pickle, I/O and shape errors share no base class
        raise ValueError(
            f"{path}: expected a state dict of ResNet-50 with 18 outputs; {_first(error)}"
        ) from error
    return network


def _densenet(path: Path, sha256: str) -> nn.Module:
    if not sha256:
        raise ValueError(
            f"{path} is a pickled module: opening it runs code that lies in it. Say which file you trust by --sha256."
        )
    try:
        import torchxrayvision as xrv  # type: ignore[import-not-found]
    except ImportError as error:
        raise ValueError("TorchXRayVision is not installed: `pip install torchxrayvision`.") from error
    network: nn.Module = xrv.models.DenseNet(weights=None)
    try:
        saved = torch.load(path, map_location="cpu", weights_only=False)
        network.load_state_dict(saved.state_dict())
    except Exception as error:  # as above
        raise ValueError(f"{path}: expected its pickled DenseNet-121; {_first(error)}") from error
    return network


def _first(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
