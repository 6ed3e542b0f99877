"""Inception-ResNet-v2 (Szegedy et al. 2017, arXiv 1602.07261), its layers made in the order Keras makes them."""

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from training.backbones.layers import batch_norm

Kernel = int | tuple[int, int]
Step = tuple[int, Kernel] | tuple[int, Kernel, int]
"""Channels out, kernel, and a stride: a step with a stride is not padded, as Keras' "valid"."""

_MIXED_5B: list[list[Step]] = [[(96, 1)], [(48, 1), (64, 5)], [(64, 1), (96, 3), (96, 3)], [(64, 1)]]
_MIXED_6A: list[list[Step]] = [[(384, 3, 2)], [(256, 1), (256, 3), (384, 3, 2)]]
_MIXED_7A: list[list[Step]] = [
    [(256, 1), (384, 3, 2)],
    [(256, 1), (288, 3, 2)],
    [(256, 1), (288, 3), (320, 3, 2)],
]
_BLOCK35: list[list[Step]] = [[(32, 1)], [(32, 1), (32, 3)], [(32, 1), (48, 3), (64, 3)]]
_BLOCK17: list[list[Step]] = [[(192, 1)], [(128, 1), (160, (1, 7)), (192, (7, 1))]]
_BLOCK8: list[list[Step]] = [[(192, 1)], [(192, 1), (224, (1, 3)), (256, (3, 1))]]


class ConvNorm(nn.Module):
    """Convolution without bias, batch norm, ReLU."""

    def __init__(self, channels_in: int, step: Step) -> None:
        super().__init__()
        channels, kernel, *strides = step
        stride, padding = (strides[0], "valid") if strides else (1, "same")
        self.conv = nn.Conv2d(channels_in, channels, kernel, stride, padding, bias=False)
        self.bn = batch_norm(channels, 1e-3)

    def forward(self, x: Tensor) -> Tensor:
        """float [N, channels_in, h, w] -> [N, channels, h', w']."""
        return torch.relu(self.bn(self.conv(x)))


class Branches(nn.Module):
    """Parallel chains of convolutions over one input, joined by channel."""

    def __init__(self, channels_in: int, branches: list[list[Step]]) -> None:
        super().__init__()
        self.chains = nn.ModuleList(_chain(channels_in, steps) for steps in branches)
        self.channels = sum(steps[-1][0] for steps in branches)

    def forward(self, x: Tensor) -> Tensor:
        """float [N, c, h, w] -> [N, channels, h', w']."""
        return torch.cat([chain(x) for chain in self.chains], 1)


class Mixed5b(Branches):
    """The first inception module: its last chain starts with an average pool that leaves the padding out."""

    def forward(self, x: Tensor) -> Tensor:
        """float [N, 192, h, w] -> [N, 320, h, w]."""
        pooled = functional.avg_pool2d(x, 3, 1, padding=1, count_include_pad=False)
        *others, last = self.chains
        return torch.cat([*(chain(x) for chain in others), last(pooled)], 1)


class Reduction(Branches):
    """Branches of stride 2 beside a max pool."""

    def forward(self, x: Tensor) -> Tensor:
        """float [N, c, h, w] -> [N, channels + c, (h-1)//2, (w-1)//2]."""
        return torch.cat([*(chain(x) for chain in self.chains), functional.max_pool2d(x, 3, 2)], 1)


class Residual(nn.Module):
    """x + scale * up(branches(x)), then ReLU save in the last block (section 3.2, scaling of the residuals)."""

    def __init__(self, channels: int, branches: list[list[Step]], scale: float, relu: bool = True) -> None:
        super().__init__()
        self.branches = Branches(channels, branches)
        self.up = nn.Conv2d(self.branches.channels, channels, 1)
        self.scale, self.relu = scale, relu

    def forward(self, x: Tensor) -> Tensor:
        """float [N, channels, h, w] -> the same shape."""
        total = x + self.scale * cast(Tensor, self.up(self.branches(x)))
        return torch.relu(total) if self.relu else total


class InceptionResNetV2(nn.Module):
    """Grey image, float [N, 1, h, w] in -1..1 -> final map [N, 1536, h', w'] (5x5 at 224 px) after ReLU."""

    features = 1536
    middle = 1088

    def __init__(self) -> None:
        super().__init__()
        self.stem1 = _chain(1, [(32, 3, 2), (32, 3, 1), (64, 3)])
        self.stem2 = _chain(64, [(80, 1, 1), (192, 3, 1)])
        self.mixed_5b = Mixed5b(192, _MIXED_5B)
        self.block35 = nn.Sequential(*(Residual(320, _BLOCK35, 0.17) for _ in range(10)))
        self.mixed_6a = Reduction(320, _MIXED_6A)
        self.block17 = nn.Sequential(*(Residual(1088, _BLOCK17, 0.1) for _ in range(20)))
        self.mixed_7a = Reduction(1088, _MIXED_7A)
        self.block8 = nn.Sequential(
            *(Residual(2080, _BLOCK8, 0.2) for _ in range(9)), Residual(2080, _BLOCK8, 1.0, relu=False)
        )
        self.conv_7b = ConvNorm(2080, (1536, 1))

    def forward(self, x: Tensor) -> Tensor:
        """See the class: images to the final map."""
        return self.both(x)[1]

    def both(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The map after the 17-grid blocks [N, `middle`, h/16, w/16], a little less at the edges, and the final."""
        x = functional.max_pool2d(self.stem1(x), 3, 2)
        x = functional.max_pool2d(self.stem2(x), 3, 2)
        middle: Tensor = self.block17(self.mixed_6a(self.block35(self.mixed_5b(x))))
        return middle, self.conv_7b(self.block8(self.mixed_7a(middle)))


def _chain(channels: int, steps: list[Step]) -> nn.Sequential:
    chain = nn.Sequential()
    for step in steps:
        chain.append(ConvNorm(channels, step))
        channels = step[0]
    return chain
