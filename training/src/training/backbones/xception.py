"""Xception (Chollet 2017) with the layer names of Keras Applications, so that its weights fit by name."""

import torch
from torch import Tensor, nn

from training.backbones.layers import SeparableConv, batch_norm, halve

_EPS = 1e-3
_DOWN = {2: (64, 128, 128), 3: (128, 256, 256), 4: (256, 728, 728), 13: (728, 728, 1024)}
"""Blocks that halve the grid: channels in, after the first and after the second separable convolution."""


class Xception(nn.Module):
    """Grey image, float [N, 1, h, w] in -1..1 -> final map [N, 2048, h/32, w/32] after ReLU."""

    features = 2048
    middle = 728

    def __init__(self) -> None:
        super().__init__()
        self._conv("block1_conv1", nn.Conv2d(1, 32, 3, stride=2, bias=False), 32)
        self._conv("block1_conv2", nn.Conv2d(32, 64, 3, bias=False), 64)
        for block, (first, middle, last) in _DOWN.items():
            self._conv(f"block{block}_residual", nn.Conv2d(first, last, 1, stride=2, bias=False), last)
            self._conv(f"block{block}_sepconv1", SeparableConv(first, middle), middle)
            self._conv(f"block{block}_sepconv2", SeparableConv(middle, last), last)
        for block in range(5, 13):
            for i in (1, 2, 3):
                self._conv(f"block{block}_sepconv{i}", SeparableConv(728, 728), 728)
        self._conv("block14_sepconv1", SeparableConv(1024, 1536), 1536)
        self._conv("block14_sepconv2", SeparableConv(1536, 2048), 2048)

    def _conv(self, name: str, convolution: nn.Module, channels: int) -> None:
        self.add_module(name, convolution)
        self.add_module(f"{name}_bn", batch_norm(channels, _EPS))

    def _apply_conv(self, name: str, x: Tensor) -> Tensor:
        normalised: Tensor = self.get_submodule(f"{name}_bn")(self.get_submodule(name)(x))
        return normalised

    def forward(self, x: Tensor) -> Tensor:
        """See the class: images to the final map."""
        return self.both(x)[1]

    def both(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The twelfth block's map [N, `middle`, h/16, w/16] and the final map."""
        for name in ("block1_conv1", "block1_conv2"):
            x = torch.relu(self._apply_conv(name, x))
        for block in range(2, 13):
            x = self._block(block, x)
        final = self._block(13, x)
        for name in ("block14_sepconv1", "block14_sepconv2"):
            final = torch.relu(self._apply_conv(name, final))
        return x, final

    def _block(self, block: int, x: Tensor) -> Tensor:
        down = block in _DOWN
        residual = self._apply_conv(f"block{block}_residual", x) if down else x
        for i in (1, 2) if down else (1, 2, 3):
            inward = x if (block, i) == (2, 1) else torch.relu(x)
            x = self._apply_conv(f"block{block}_sepconv{i}", inward)
        return residual + (halve(x) if down else x)
