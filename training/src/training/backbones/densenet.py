"""DenseNet-121, 169 and 201 (Huang et al. 2017, arXiv 1608.06993) with the layer names of Keras Applications."""

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from training.backbones.layers import batch_norm

_EPS = 1.001e-5
_GROWTH = 32
BLOCKS = {"densenet121": (6, 12, 24, 16), "densenet169": (6, 12, 32, 32), "densenet201": (6, 12, 48, 32)}


class DenseLayer(nn.Module):
    """BN, ReLU, 1x1 to 128, BN, ReLU, 3x3 to 32, joined to the input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.bn0 = batch_norm(channels, _EPS)
        self.conv1 = nn.Conv2d(channels, 4 * _GROWTH, 1, bias=False)
        self.bn1 = batch_norm(4 * _GROWTH, _EPS)
        self.conv2 = nn.Conv2d(4 * _GROWTH, _GROWTH, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """float [N, c, h, w] -> [N, c + 32, h, w]."""
        new = self.conv2(torch.relu(self.bn1(self.conv1(torch.relu(self.bn0(x))))))
        return torch.cat([x, new], 1)


class Transition(nn.Module):
    """BN, ReLU, 2x2 average pool, 1x1 to half the channels: the paper's order turned round, since a mean and a
    1x1 convolution commute and this way the convolution sees a quarter of the pixels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.bn = batch_norm(channels, _EPS)
        self.conv = nn.Conv2d(channels, channels // 2, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """float [N, c, h, w] -> [N, c/2, h/2, w/2]."""
        halved: Tensor = self.conv(functional.avg_pool2d(torch.relu(self.bn(x)), 2))
        return halved


class DenseNet(nn.Module):
    """Grey image, float [N, 1, h, w] in 0..1 -> final map [N, features, h/32, w/32] after ReLU."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 64, 7, stride=2, padding=3, bias=False)
        self.conv1_bn = batch_norm(64, _EPS)
        self.stages = nn.ModuleList()
        channels = 64
        for number, layers in enumerate(BLOCKS[name]):
            stage = nn.Sequential(*(DenseLayer(channels + _GROWTH * i) for i in range(layers)))
            channels += _GROWTH * layers
            if number == 2:
                self.middle = channels
            if number < 3:
                stage.append(Transition(channels))
                channels //= 2
            self.stages.append(stage)
        self.bn = batch_norm(channels, _EPS)
        self.features = channels

    def forward(self, x: Tensor) -> Tensor:
        """See the class: images to the final map."""
        return self.both(x)[1]

    def both(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The third stage's map [N, `middle`, h/16, w/16] before its transition, and the final map."""
        x = functional.max_pool2d(torch.relu(self.conv1_bn(self.conv1(x))), 3, 2, padding=1)
        first, second, third, last = self.stages
        *layers, transition = cast(nn.Sequential, third)
        x = second(first(x))
        for layer in layers:
            x = layer(x)
        return x, torch.relu(self.bn(last(transition(x))))
