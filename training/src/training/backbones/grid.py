"""Heads whose map is what is learned: a logit per place, pooled to the image's logit; and the classifier around one.

The places are a sixteenth of the edge apart (14x14 at 224 px), twice as fine as the last convolution's, at no
inference cost worth the name: a place's logit is the sum of what the last map says there (resized) and of what the map
before the last stride says, each by a 1x1 convolution, as in a feature pyramid (Lin et al. 2017, arXiv 1612.03144).
"""

from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from training.backbones import ARCHITECTURES
from training.backbones.densenet import DenseNet
from training.backbones.heads import FINDINGS
from training.backbones.layers import batch_norm


def mean(cells: Tensor, _: Tensor) -> Tensor:
    """The mean over the places: the class activation map of Zhou et al. 2016 (arXiv 1512.04150)."""
    return cells.mean((2, 3))


def pcam(cells: Tensor, _: Tensor) -> Tensor:
    """Weighted by each place's own probability (PCAM pooling, Ye et al. 2020, arXiv 2005.14480): no new parameters."""
    weights = torch.sigmoid(cells)
    return (weights * cells).sum((2, 3)) / weights.sum((2, 3))


def lse(cells: Tensor, _: Tensor, sharpness: float = 3.0) -> Tensor:
    """Log-sum-exp, between mean and maximum (Pinheiro, Collobert 2015, arXiv 1411.6228)."""
    flat = cells.flatten(2)
    count = torch.log(torch.tensor(float(flat.shape[2])))
    return cast(Tensor, (torch.logsumexp(flat * sharpness, 2) - count) / sharpness)


def attention(cells: Tensor, looks: Tensor) -> Tensor:
    """Weighted by a softmax over the places of a map of its own (attention MIL, Ilse et al. 2018, arXiv 1802.04712)."""
    weights = torch.softmax(looks.flatten(2), 2)
    return (weights * cells.flatten(2)).sum(2)


POOLS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "mean": mean,
    "pcam": pcam,
    "lse": lse,
    "attention": attention,
}


class GridHead(nn.Module):
    """Maps at a sixteenth and a thirty-second of the edge -> the places' logits, and the image's."""

    def __init__(self, features: int, middle: int, pool: str, dropout: float = 0.2) -> None:
        super().__init__()
        self.pool = pool
        channels = FINDINGS * (2 if pool == "attention" else 1)
        self.drop = nn.Dropout2d(dropout)
        self.coarse = nn.Conv2d(features, channels, 1)
        self.norm = batch_norm(middle, 1e-3)
        self.fine = nn.Conv2d(middle, channels, 1, bias=False)
        nn.init.zeros_(self.fine.weight)
        nn.init.zeros_(cast(Tensor, self.coarse.bias))

    def forward(self, middle: Tensor, final: Tensor) -> tuple[Tensor, Tensor]:
        """float [N, middle, h, w] and [N, features, h', w'] -> cells [N, 5, h, w] and logits [N, 5]."""
        coarse = self.coarse(self.drop(final))
        fine = self.fine(self.drop(torch.relu(self.norm(middle))))
        grid = tuple(int(edge) for edge in fine.shape[2:])  # constants in an exported graph
        both = fine + functional.interpolate(coarse, grid, mode="bilinear", align_corners=False)
        cells, looks = both[:, :FINDINGS].contiguous(), both[:, FINDINGS:].contiguous()
        return cells, POOLS[self.pool](cells, looks)


class GridClassifier(nn.Module):
    """A backbone, a grid head, and what the view tells.

    `prior` [2, 5]: the log odds of each finding among PA and among AP films. In training the true view's row is
    added to the logits (logit adjustment, Menon et al. 2021, arXiv 2007.07314), so that the network need not look for
    letters, tubes and borders that give the view away; when it serves, the view is estimated from the pooled features.
    """

    prior: Tensor

    def __init__(self, name: str, pool: str = "pcam") -> None:
        super().__init__()
        architecture = ARCHITECTURES[name]
        self.name, self.scale, self.offset = name, architecture.scale, architecture.offset
        self.body = architecture.build()
        body = cast(DenseNet, self.body)
        self.head = GridHead(body.features, body.middle, pool)
        self.view = nn.Linear(body.features, 1)
        self.register_buffer("prior", torch.full((2, FINDINGS), -2.0))

    def maps(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """uint8 or float [N, s, s] in 0..255 -> the middle and the final map."""
        scaled = images.float().unsqueeze(1) * self.scale + self.offset
        return cast(DenseNet, self.body).both(scaled)

    def answer(self, middle: Tensor, final: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Of both maps: cells [N, 5, h, w] and logits [N, 5], both without the prior, and the view's logit [N]."""
        cells, logits = self.head(middle, final)
        pooled = final.mean((2, 3)).detach()  # the view must not shape what the network sees
        return cells, logits, self.view(pooled)[:, 0]

    def prior_of(self, view: Tensor) -> Tensor:
        """[N] share of AP in 0..1 -> [N, 5]."""
        return torch.lerp(*self.prior.float(), view.float()[:, None])

    def explained(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """What the graph gives: probabilities [N, 5] and, on the same scale, each place's [N, 5, h, w]."""
        cells, logits, view = self.answer(*self.maps(images))
        prior = self.prior_of(torch.sigmoid(view))
        return torch.sigmoid(logits + prior), torch.sigmoid(cells + prior[:, :, None, None])

    def forward(self, images: Tensor) -> Tensor:
        """Images as in `maps` -> logits [N, 5] with the prior of the estimated view."""
        _, logits, view = self.answer(*self.maps(images))
        return logits + self.prior_of(torch.sigmoid(view))
