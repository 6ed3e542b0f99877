"""Puts Keras weights into our backbones: which layer is which, and how each kind of array is laid out."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from training.backbones.densenet import DenseNet
from training.backbones.inception_resnet_v2 import ConvNorm, InceptionResNetV2
from training.backbones.layers import SeparableConv
from training.backbones.xception import Xception
from training.importers.keras_file import Layer, Layers, in_order, read_keras_weights

Slot = str | tuple[str, int]
"""A layer's name, or the how-manyeth of a kind it is where Keras makes up the name."""

_BN = {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean", "running_var": "moving_variance"}


def load_body(body: nn.Module, name: str, path: Path) -> Layers:
    """Fill a backbone from a Keras file; gives back the layers that are not the backbone's (the head).

    ValueError, naming file and layer, if the file is of another architecture.
    """
    layers = read_keras_weights(path)
    order = {kind: in_order(layers, kind) for kind in ("conv2d", "batch_normalization")}
    used = set()
    for module_name, slot in slots(body):
        if isinstance(slot, tuple):
            kind, number = slot
            layer = order[kind][number] if number < len(order[kind]) else f"{kind} number {number + 1}"
        else:
            layer = slot
        if layer not in layers:
            raise ValueError(f"{path}: expected the weights of {name}; its layer {layer} is missing.")
        try:
            fill(body.get_submodule(module_name), layers[layer])
        except (KeyError, RuntimeError, ValueError) as error:
            raise ValueError(
                f"{path}: expected the weights of {name}; {layer} does not fit: {error}."
            ) from error
        used.add(layer)
    return {layer: weights for layer, weights in layers.items() if layer not in used}


def slots(body: nn.Module) -> Iterator[tuple[str, Slot]]:
    """(our module's name, Keras' layer) for every layer with weights."""
    if isinstance(body, Xception):
        return _xception(body)
    if isinstance(body, DenseNet):
        return _densenet(body)
    if isinstance(body, InceptionResNetV2):
        return _inception_resnet_v2(body)
    raise TypeError(f"no Keras layer names are known for {type(body).__name__}")


def fill(module: nn.Module, layer: Layer) -> None:
    """Copy one Keras layer's arrays into ours. KeyError for a missing array, ValueError for another shape."""
    if isinstance(module, SeparableConv):
        _set(module.depthwise, "weight", layer["depthwise_kernel"].transpose(2, 3, 0, 1))
        _set(module.pointwise, "weight", layer["pointwise_kernel"].transpose(3, 2, 0, 1))
    elif isinstance(module, nn.BatchNorm2d | nn.BatchNorm1d):
        ones = np.ones(module.num_features, np.float32)  # Inception-ResNet-v2 has no gamma
        for ours, theirs in _BN.items():
            _set(module, ours, layer.get(theirs, ones) if theirs == "gamma" else layer[theirs])
    elif isinstance(module, nn.Linear):
        _set(module, "weight", layer["kernel"].T)
        _set(module, "bias", layer["bias"])
    elif isinstance(module, nn.Conv2d):
        kernel = layer["kernel"].transpose(3, 2, 0, 1)
        if module.in_channels == 1 and kernel.shape[1] == 3:
            kernel = kernel.sum(1, keepdims=True)  # the grey image stood on all three channels
        _set(module, "weight", kernel)
        if module.bias is not None:
            _set(module, "bias", layer["bias"])


def _set(module: nn.Module, name: str, values: NDArray[np.float32]) -> None:
    mine = getattr(module, name)
    if tuple(mine.shape) != values.shape:
        raise ValueError(f"expected {name} of shape {tuple(mine.shape)}, found {values.shape}")
    with torch.no_grad():
        mine.copy_(torch.from_numpy(np.ascontiguousarray(values)))


def _xception(body: Xception) -> Iterator[tuple[str, Slot]]:
    residual = 0
    for name, _ in body.named_children():
        if name.endswith("_residual"):
            yield name, ("conv2d", residual)
            yield f"{name}_bn", ("batch_normalization", residual)
            residual += 1
        elif "_residual" not in name:
            yield name, name


def _densenet(body: DenseNet) -> Iterator[tuple[str, Slot]]:
    yield from (("conv1", "conv1_conv"), ("conv1_bn", "conv1_bn"), ("bn", "bn"))
    parts = {"bn0": "0_bn", "conv1": "1_conv", "bn1": "1_bn", "conv2": "2_conv"}
    for number, stage in enumerate(body.stages):
        for i, (_, member) in enumerate(stage.named_children()):
            for part, _ in member.named_children():
                transition = part in ("bn", "conv")
                layer = (
                    f"pool{number + 2}_{part}"
                    if transition
                    else f"conv{number + 2}_block{i + 1}_{parts[part]}"
                )
                yield f"stages.{number}.{i}.{part}", layer


def _inception_resnet_v2(body: InceptionResNetV2) -> Iterator[tuple[str, Slot]]:
    unnamed = 0
    for name, module in body.named_modules():
        if isinstance(module, ConvNorm) and name == "conv_7b":
            yield from ((f"{name}.conv", "conv_7b"), (f"{name}.bn", "conv_7b_bn"))
        elif isinstance(module, ConvNorm):
            yield from (
                (f"{name}.conv", ("conv2d", unnamed)),
                (f"{name}.bn", ("batch_normalization", unnamed)),
            )
            unnamed += 1
        elif name.endswith(".up"):
            block, index, _ = name.split(".")
            yield name, f"{block}_{int(index) + 1}_conv"
