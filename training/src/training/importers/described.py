"""Any torch classifier that ends in a final map, an average pool and one Dense, told by a small YAML."""

import importlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import yaml
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from torch import Tensor, nn

from thorax.bundle import BackboneName
from thorax.findings import FINDINGS
from training.backbones import Classifier
from training.backbones.heads import LinearHead

TOLERANCE = 1e-4


@dataclass(frozen=True)
class Description:
    """What the YAML says. `outputs` maps each finding to the number of the network's own output.

    torch: `module` (`package.module:callable`), `arguments`, `weights` (a state dict), and the names of the
    modules that give `final_map` and are the `head`. ONNX: `graph`, and the names of the tensors `final_map` and
    `logits` and of the initializer `head` [outputs, K].

    Grey levels x of 0..255 come in as x * scale + offset; where `mean` and `std` have a number for each channel, that less
    the mean, over the deviation (torchvision's `Normalize`).
    """

    __pydantic_config__ = ConfigDict(extra="forbid")

    name: BackboneName
    outputs: dict[str, Annotated[int, Field(ge=0)]]
    final_map: str
    head: str
    module: str = ""
    arguments: dict[str, Any] = field(default_factory=dict)
    weights: str = ""
    graph: str = ""
    logits: str = ""
    relu: bool = False
    channels: int = 3
    size: Annotated[int, Field(ge=32, le=1024)] = 224
    scale: float = 1 / 255
    offset: float = 0.0
    mean: list[float] = field(default_factory=list)
    std: list[float] = field(default_factory=list)
    operating_points: list[float] = field(default_factory=list)

    @property
    def rows(self) -> list[int]:
        """The network's outputs in canonical order."""
        return [self.outputs[finding] for finding in FINDINGS]


_DESCRIPTION = TypeAdapter(Description)


def read_description(path: Path) -> Description:
    """Read the YAML. ValueError names the file and the first thing that is wrong with it."""
    try:
        description = _DESCRIPTION.validate_python(yaml.safe_load(path.read_text("utf-8")))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "all of it"
        raise ValueError(
            f"{path}: expected a description of a classifier; {where}: {first['msg']}."
        ) from error
    except (OSError, yaml.YAMLError) as error:
        raise ValueError(f"{path}: expected a description of a classifier; {error}.") from error
    if wanted := _lacks(description):
        raise ValueError(f"{path}: expected {wanted}.")
    return description


def _lacks(description: Description) -> str:
    """What a description should have and has not, or nothing."""
    missing = [finding for finding in FINDINGS if finding not in description.outputs]
    if missing:
        return f"an output for {missing[0]}; found outputs for {', '.join(description.outputs) or 'nothing'}"
    if bool(description.module) == bool(description.graph):
        return f"one of `module` and `graph`; found {'both' if description.module else 'neither'}"
    lengths = {len(description.mean), len(description.std)}
    if lengths not in ({0}, {description.channels}):
        return f"`mean` and `std` with a number for each of {description.channels} channels; found {len(description.mean)} and {len(description.std)}"
    return "" if all(value > 0 for value in description.std) else "numbers above 0 in `std`"


def candidates(names: Iterable[str], most: int = 12) -> str:
    """The last of some names, as an error lists them: what ends a network stands at its end."""
    every = list(names)
    return ("…, " if len(every) > most else "") + (", ".join(every[-most:]) or "nothing")


class Tapped(nn.Module):
    """A network cut at its final map: grey float [N, 1, h, w] -> [N, K, h', w']."""

    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module, description: Description) -> None:
        super().__init__()
        self.network, self.description = network, description
        self._seen: Tensor | None = None
        submodule(network, description, "final_map").register_forward_hook(self._keep)
        for name in ("mean", "std"):
            values = getattr(description, name) or [float(name == "std")]
            self.register_buffer(name, torch.tensor(values).reshape(1, -1, 1, 1))

    def _keep(self, _: nn.Module, __: object, output: Tensor) -> None:
        self._seen = output

    def forward(self, x: Tensor) -> Tensor:
        """See the class; grey is repeated where the network wants three channels."""
        channels = x.expand(-1, self.description.channels, -1, -1)
        self.network((channels - self.mean) / self.std)
        assert self._seen is not None
        return torch.relu(self._seen) if self.description.relu else self._seen


def submodule(network: nn.Module, description: Description, field_name: str) -> nn.Module:
    """The module that a field of the description names. ValueError lists those that there are."""
    name = getattr(description, field_name)
    modules = dict(network.named_modules())
    if name not in modules:
        kind = nn.Linear if field_name == "head" else nn.Module
        there = candidates(n for n, module in modules.items() if n and isinstance(module, kind))
        raise ValueError(f"{description.name}: {field_name} names no module {name!r}; there are {there}.")
    return modules[name]


def from_module(network: nn.Module, description: Description) -> Classifier:
    """Our classifier around a torch network. ValueError if the two do not say the same.

    That happens when the head is more than an average pool and one Dense, or the description is wrong.
    """
    network = network.eval()
    dense = submodule(network, description, "head")
    if not isinstance(dense, nn.Linear):
        linear = candidates(name for name, module in network.named_modules() if isinstance(module, nn.Linear))
        raise ValueError(
            f"{description.name}: expected {description.head} to be a Linear; it is a {type(dense).__name__}. "
            f"Linear are: {linear}."
        )
    if max(description.rows) >= dense.out_features:
        raise ValueError(
            f"{description.name}: expected outputs below {dense.out_features}, which {description.head} has; found {max(description.rows)}."
        )
    head = LinearHead(dense.in_features)
    head.dense.weight.data = dense.weight.data[description.rows].clone()
    head.dense.bias.data = dense.bias.data[description.rows].clone()
    classifier = Classifier(Tapped(network, description), head, description.scale, description.offset).eval()
    if description.operating_points:
        points = torch.tensor(description.operating_points)[description.rows]
        classifier.register_buffer("operating_points", points)
    _compare(network, classifier, description, dense)
    return classifier


def load_described(description: Description, folder: Path) -> Classifier:
    """Build the network that a description names, with its weights (a file beside the YAML)."""
    module, _, builder = description.module.partition(":")
    try:
        network: nn.Module = getattr(importlib.import_module(module), builder)(**description.arguments)
    except Exception as error:  # it is their code
        raise ValueError(
            f"{description.name}: expected {description.module} to make a network; {type(error).__name__}: {error}."
        ) from error
    if description.weights:
        path = folder / description.weights
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
            network.load_state_dict(state)
        except Exception as error:  # pickle, I/O and shape errors share no base class
            first = str(error).splitlines()[0]
            raise ValueError(f"{path}: expected a state dict of {description.module}; {first}") from error
        if any(not torch.isfinite(v).all() for v in state.values() if v.is_floating_point()):
            raise ValueError(f"{path}: expected finite weights; found NaN or infinity.")
    return from_module(network, description)


def _compare(network: nn.Module, classifier: Classifier, description: Description, dense: nn.Linear) -> None:
    rng = np.random.default_rng(0)
    images = torch.from_numpy(rng.integers(0, 256, (2, description.size, description.size), dtype=np.uint8))
    logits: list[Tensor] = []
    handle = dense.register_forward_hook(lambda _, __, output: logits.append(output))
    with torch.inference_mode():
        mine = classifier(images)[0]
    handle.remove()
    gap = float((mine - logits[-1][:, description.rows]).abs().max())
    if not gap <= TOLERANCE * max(1.0, float(mine.abs().max())):
        raise ValueError(
            f"{description.name}: the map's mean times the head is {gap:.2g} from the network's logits."
        )
