"""Takes a bundle's graph apart again: its int8 weights back into a network that can be trained on.

An exported graph has its batch norms folded into the convolutions. Each gets one back that changes nothing: with the
mean and variance that its convolution's output has on real images as its running statistics, and a weight and bias
that undo them. So training can go on where batch statistics count (Ioffe, Szegedy 2015, arXiv 1502.03167).
"""

from pathlib import Path
from typing import Any, cast

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import numpy_helper
from torch import Tensor, nn

from training.backbones.grid import GridClassifier
from training.evidence.early import prune

Arrays = dict[str, NDArray[Any]]


Folded = list[tuple[nn.Conv2d, nn.BatchNorm2d]]
"""Convolutions that swallowed their batch norm, and the identity that stands in its place."""


def reopen(graph: onnx.ModelProto, network: GridClassifier) -> Folded:
    """Put the weights of `graph` (one of our `linear` heads) into the network, batch norms as identities.

    ValueError if the graph's convolutions are not the network's.
    """
    folded: Folded = []
    arrays = {t.name: numpy_helper.to_array(t) for t in graph.graph.initializer}
    arrays.update(_dequantised(graph, arrays))
    convolutions = [n for n in graph.graph.node if n.op_type == "Conv"]
    order = _called(network)
    own = [m for m in order if isinstance(m, nn.Conv2d)]
    if len(own) != len(convolutions):
        raise ValueError(f"The graph has {len(convolutions)} convolutions, {network.name} has {len(own)}.")
    for module, node in zip(own, convolutions, strict=True):
        _fill(module.weight, arrays[node.input[1]])
        bias = arrays[node.input[2]] if len(node.input) > 2 else None
        if bias is not None and module.bias is not None:
            _fill(module.bias, bias)
        elif bias is not None:
            norm = cast(nn.BatchNorm2d, order[order.index(module) + 1])
            _identity(norm, bias)
            folded.append((module, norm))
    for name, parameter in network.body.state_dict().items():
        if f"classifier.body.{name}" in arrays and ".bn" in f".{name}":
            _fill(parameter, arrays[f"classifier.body.{name}"])
    _fill(network.head.coarse.weight[:5], arrays["classifier.head.dense.weight"][:, :, None, None])
    return folded


def set_statistics(network: GridClassifier, folded: Folded, images: Tensor) -> None:
    """Give the identities their statistics: one pass of images, uint8 or float [N, s, s], in evaluation mode.

    Filters are made of length 1 on the way, so that a learning rate means the same in every layer.
    """
    seen: dict[nn.BatchNorm2d, tuple[Tensor, Tensor]] = {}

    def look(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        values = inputs[0].float()
        seen[cast(nn.BatchNorm2d, module)] = values.mean((0, 2, 3)), values.var((0, 2, 3))

    norms = [norm for _, norm in folded]
    hooks = [norm.register_forward_pre_hook(look) for norm in (*norms, network.head.norm)]
    with torch.no_grad():
        network.eval()(images)
        for hook in hooks:
            hook.remove()
        _statistics(network.head.norm, *seen[network.head.norm])
        for convolution, norm in folded:
            mean, variance = seen[norm]
            length = convolution.weight.flatten(1).norm(dim=1).clamp(min=1e-6)
            convolution.weight /= length[:, None, None, None]
            norm.bias += mean
            _statistics(norm, mean / length, variance / length**2)
            norm.weight.copy_((cast(Tensor, norm.running_var) + norm.eps).sqrt() * length)


def _statistics(norm: nn.BatchNorm2d, mean: Tensor, variance: Tensor) -> None:
    cast(Tensor, norm.running_mean).copy_(mean)
    cast(Tensor, norm.running_var).copy_(variance)


def _identity(norm: nn.BatchNorm2d, bias: NDArray[Any]) -> None:
    nn.init.zeros_(cast(Tensor, norm.running_mean))
    nn.init.constant_(cast(Tensor, norm.running_var), 1 - norm.eps)
    nn.init.ones_(norm.weight)
    _fill(norm.bias, bias)


def _called(network: GridClassifier) -> list[nn.Module]:
    """The body's convolutions and batch norms in the order in which an image passes them, as the graph has them."""
    order: list[nn.Module] = []
    leaves = [m for m in network.body.modules() if isinstance(m, nn.Conv2d | nn.BatchNorm2d)]
    hooks = [m.register_forward_hook(lambda module, *_: order.append(module)) for m in leaves]
    with torch.no_grad():
        network.eval().maps(torch.zeros(1, 128, 128))
    for hook in hooks:
        hook.remove()
    return order


def _dequantised(graph: onnx.ModelProto, arrays: Arrays) -> Arrays:
    """The float32 weights that DequantizeLinear (and the Reshape after one) give."""
    made: Arrays = {}
    for node in graph.graph.node:
        if node.op_type == "DequantizeLinear":
            values, scales = arrays[node.input[0]], arrays[node.input[1]]
            axis = next((a.i for a in node.attribute if a.name == "axis"), 1)
            shape = [-1 if i == axis else 1 for i in range(values.ndim)]
            made[node.output[0]] = values.astype(np.float32) * scales.reshape(shape)
        elif node.op_type == "Identity" and node.input[0] in arrays:  # equal tensors are kept once
            made[node.output[0]] = arrays[node.input[0]]
        elif node.op_type == "Reshape" and node.input[0] in made:
            made[node.output[0]] = made[node.input[0]].reshape(arrays[node.input[1]])
    return made


def _fill(into: Tensor, values: NDArray[Any]) -> None:
    with torch.no_grad():
        into.copy_(torch.from_numpy(np.array(values)))


def _classifier(path: Path) -> onnx.ModelProto:
    """A bundle's graph without what makes only its maps: `training.evidence` puts a head there."""
    graph = onnx.load(str(path))
    prune(graph, ("probabilities",))
    return graph


def build_reopened(path: Path, name: str, pool: str, images: Tensor) -> GridClassifier:
    """A network with the weights of a bundle's graph, its batch norms set by `images`, uint8 [N, s, s]."""
    network = GridClassifier(name, pool)
    set_statistics(network, reopen(_classifier(path), network), images)
    return network


def build_teacher(path: Path, name: str) -> GridClassifier:
    """The graph's own answers as a network: mean pooling, its own bias, nothing that the view tells. A teacher."""
    network, graph = GridClassifier(name, "mean"), _classifier(path)
    reopen(graph, network)
    bias = next(t for t in graph.graph.initializer if t.name == "classifier.head.dense.bias")
    _fill(cast(Tensor, network.head.coarse.bias), numpy_helper.to_array(bias))
    network.prior.zero_()
    return network.eval()
