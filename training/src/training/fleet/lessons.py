"""What a network learns in the fleet's run: labels, side tasks, a teacher that sees the very same view, and two things
that make its map mean something: a place where nothing of the patient is to be seen says nothing, and neither does any
place of an image without the finding (every instance of a negative bag is negative; Dietterich et al. 1997).

The teacher is run on each view that the student gets ("function matching", Beyer et al. 2022, arXiv 2106.05237).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from training.backbones.densenet import DenseNet
from training.backbones.grid import GridClassifier


@dataclass(frozen=True)
class Shares:
    """How much each part of the loss counts."""

    teacher: float = 0.6
    side: float = 0.2
    view: float = 0.2
    blank: float = 0.5
    absent: float = 0.2
    smoothing: float = 0.02


@dataclass(frozen=True)
class Batch:
    """`views` float [N, s, s] in 0..255, `blank` [N, s, s] 1 where nothing is to be seen, `labels` [N, 5] and `side`
    [N, S] in 0..1 with NaN left out, `view` [N] the share of AP in 0..1 (-1 unknown)."""

    views: Tensor
    blank: Tensor
    labels: Tensor
    side: Tensor
    view: Tensor

    def mixed(self, share: float, order: Tensor) -> "Batch":
        """Each image with the one at `order`, `share` of it its own (mixup, Zhang et al. 2018, arXiv 1710.09412)."""

        def mix(values: Tensor) -> Tensor:
            return share * values + (1 - share) * values[order]

        view = torch.where((self.view < 0) | (self.view[order] < 0), -1.0, mix(self.view))
        return Batch(mix(self.views), self.blank * self.blank[order], mix(self.labels), mix(self.side), view)


class Teacher:
    """Trained networks with their weights [networks, 5]; it answers at `size` px."""

    def __init__(self, networks: Sequence[GridClassifier], weights: Tensor, size: int) -> None:
        self.networks = [network.eval().requires_grad_(False) for network in networks]
        self.weights, self.size = weights, size

    @torch.no_grad()
    def see(self, views: Tensor) -> Tensor:
        """Probabilities [N, 5] of float [N, s, s]: the weighted mean."""
        shrunk = resize(views, self.size)
        each = torch.stack([torch.sigmoid(network(shrunk).float()) for network in self.networks])
        return (each * self.weights[:, None]).sum(0)


class Lesson(nn.Module):
    """A network and the heads that only training has."""

    def __init__(self, network: GridClassifier, side: int, shares: Shares) -> None:
        super().__init__()
        self.network, self.shares = network, shares
        self.side = nn.Linear(cast(DenseNet, network.body).features, side)

    def loss(self, batch: Batch, size: int, teacher: Teacher | None) -> Tensor:
        """Mean loss of a batch whose views are as large as the larger of the network's and the teacher's input."""
        network, shares = self.network, self.shares
        middle, final = network.maps(resize(batch.views, size))
        cells, logits, view = network.answer(middle, final)
        prior = network.prior_of(batch.view.clamp(min=0))
        wanted = batch.labels * (1 - shares.smoothing) + shares.smoothing * 0.1
        if teacher is not None:
            wanted = torch.lerp(wanted, teacher.see(batch.views), shares.teacher)
        total = known(logits.float() + prior, wanted)
        total = total + shares.side * known(self.side(final.mean((2, 3))).float(), batch.side)
        total = total + shares.view * known(view.float(), torch.where(batch.view < 0, torch.nan, batch.view))
        nothing = functional.softplus(cells.float() + prior[:, :, None, None])  # cross-entropy with 0
        blank = (functional.adaptive_avg_pool2d(batch.blank.unsqueeze(1), cells.shape[2:]) > 0.8).float()
        total = total + shares.blank * (nothing * blank).sum() / (5 * blank.sum()).clamp(min=1)
        absent = torch.nan_to_num(1 - batch.labels)[:, :, None, None] * (1 - blank)
        return total + shares.absent * (nothing * absent).mean()


def known(logits: Tensor, targets: Tensor) -> Tensor:
    """Mean binary cross-entropy over the targets that are not NaN, without asking the device how many there are."""
    there = ~torch.isnan(targets)
    each = functional.binary_cross_entropy_with_logits(logits, torch.nan_to_num(targets), reduction="none")
    return (each * there).sum() / there.sum().clamp(min=1)


def resize(maps: Tensor, edge: int) -> Tensor:
    """[N, h, w] or [N, K, h, w] to another grid, bilinear, averaged where it shrinks."""
    if maps.shape[-1] == edge:
        return maps
    four = (maps if maps.ndim == 4 else maps.unsqueeze(1)).float()
    out = functional.interpolate(four, (edge, edge), mode="bilinear", antialias=True, align_corners=False)
    return out if maps.ndim == 4 else out[:, 0]
