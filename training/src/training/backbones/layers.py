"""The pieces that the five architectures share: separable convolution, Keras' "same" pooling, batch norm."""

import torch
from torch import Tensor, nn
from torch.nn import functional


def bf16(device: torch.device) -> bool:
    """Whether bfloat16 is a gain on this device. A CPU without AVX-512 emulates it: a step then takes 4 to 18 times as long
    as in float32 (torch 2.13, one AVX2 core)."""
    return device.type != "cpu" or torch.backends.cpu.get_cpu_capability().startswith("AVX512")


def mixed_precision(device: torch.device) -> torch.autocast:
    """Convolutions in bfloat16 where that is a gain, else everything in float32."""
    return torch.autocast(device.type, torch.bfloat16, enabled=bf16(device))


class SeparableConv(nn.Module):
    """Depthwise 3x3 followed by pointwise 1x1, no bias (Chollet 2017, arXiv 1610.02357, section 3)."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(channels_in, channels_in, 3, padding=1, groups=channels_in, bias=False)
        self.pointwise = nn.Conv2d(channels_in, channels_out, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """float [N, channels_in, h, w] -> [N, channels_out, h, w]."""
        pointwise: Tensor = self.pointwise(self.depthwise(x))
        return pointwise


def halve(x: Tensor) -> Tensor:
    """Max pool 3x3, stride 2, padded as Keras' "same" does: one row on both sides of an odd edge, else only after."""
    return functional.max_pool2d(x, 3, 2, padding=x.shape[-1] % 2, ceil_mode=True)


def batch_norm(channels: int, eps: float) -> nn.BatchNorm2d:
    """Batch norm with running statistics that follow within some fifty steps, since our runs are short."""
    return nn.BatchNorm2d(channels, eps=eps, momentum=0.05)
