"""The five backbones by name, and the classifier that puts a head on one."""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from training.backbones.densenet import DenseNet
from training.backbones.heads import HEADS, Head
from training.backbones.inception_resnet_v2 import InceptionResNetV2
from training.backbones.layers import mixed_precision
from training.backbones.xception import Xception


@dataclass(frozen=True)
class Architecture:
    """How to build one backbone, and the affine scaling of grey levels 0..255 that it was made for."""

    build: Callable[[], nn.Module]
    scale: float
    offset: float
    said: str


_UNIT = (1 / 255, 0.0, "x/255 (in the graph)")
_SYMMETRIC = (1 / 127.5, -1.0, "x/127.5-1 (in the graph)")
ARCHITECTURES = {
    "xception": Architecture(Xception, *_SYMMETRIC),
    "inception_resnet_v2": Architecture(InceptionResNetV2, *_SYMMETRIC),
    "densenet121": Architecture(lambda: DenseNet("densenet121"), *_UNIT),
    "densenet169": Architecture(lambda: DenseNet("densenet169"), *_UNIT),
    "densenet201": Architecture(lambda: DenseNet("densenet201"), *_UNIT),
}


class Classifier(nn.Module):
    """A backbone with scaling before it and a head behind it.

    `mixed` computes the backbone in bfloat16; pooling, head and loss stay float32.
    """

    operating_points: Tensor | None

    def __init__(self, body: nn.Module, head: nn.Module, scale: float, offset: float) -> None:
        super().__init__()
        self.register_buffer("operating_points", None)
        self.body, self.head = body, head
        self.scale, self.offset = scale, offset
        self.mixed = False

    def final_map(self, images: Tensor) -> Tensor:
        """uint8 or float [N, h, w] in 0..255 -> the last convolution's map, float [N, K, h', w']."""
        return cast(Tensor, self._through(self.body, images))

    def both_maps(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """As `final_map`, with the map at a sixteenth of the edge before it: what a student copies."""
        return cast(tuple[Tensor, Tensor], self._through(cast(DenseNet, self.body).both, images))

    def _through(self, body: Callable[[Tensor], object], images: Tensor) -> object:
        scaled = images.float().unsqueeze(1) * self.scale + self.offset
        with mixed_precision(images.device) if self.mixed else nullcontext():
            return body(scaled.contiguous(memory_format=torch.channels_last))

    def probabilities(self, logits: Tensor) -> Tensor:
        """Logits [N, 5] -> probabilities [N, 5]; with operating points t, t itself becomes one half.

        The second form is TorchXRayVision's (`op_norm`): p / 2t below t, 1 - (1 - p) / 2(1 - t) above.
        """
        p = torch.sigmoid(logits)
        if self.operating_points is None:
            return p
        t = self.operating_points
        return torch.where(p < t, p / (2 * t), 1 - (1 - p) / (2 * (1 - t)))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Images as above -> logits [N, 5] and pooled features [N, K], both float32."""
        return self.answer(self.final_map(images))

    def answer(self, final: Tensor) -> tuple[Tensor, Tensor]:
        """The same of the last convolution's map [N, K, h', w']."""
        pooled = final.float().mean((2, 3))
        return cast(Head, self.head)(pooled), pooled


def build_classifier(name: str, head: str = "linear") -> Classifier:
    """A classifier with random weights. ValueError for an unknown backbone or head."""
    if name not in ARCHITECTURES:
        raise ValueError(f"No backbone is called {name}; there are {', '.join(ARCHITECTURES)}.")
    if head not in HEADS:
        raise ValueError(f"No head is called {head}; there are {', '.join(HEADS)}.")
    architecture = ARCHITECTURES[name]
    body = architecture.build()
    features = cast(int, body.features)
    return Classifier(body, HEADS[head](features), architecture.scale, architecture.offset)
