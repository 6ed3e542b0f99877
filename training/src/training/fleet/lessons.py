"""What a network learns in the fleet's run: labels, side tasks, and a teacher that sees the very same view.

The teacher is run on each view that the student gets ("function matching", Beyer et al. 2022, arXiv 2106.05237): the
student copies its probabilities, its probabilities per place, and its two maps on their main axes.
"""

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from training.axes import AXES, Axes
from training.backbones.densenet import DenseNet
from training.backbones.grid import GridClassifier


@dataclass(frozen=True)
class Shares:
    """How much each part of the loss counts."""

    teacher: float = 0.5
    side: float = 0.3
    view: float = 0.2
    cells: float = 0.5
    maps: float = 1.0
    smoothing: float = 0.02


@dataclass(frozen=True)
class Batch:
    """`views` float [N, s, s] in 0..255, `labels` [N, 5] and `side` [N, S] in 0..1 with NaN left out, `view` [N] the
    share of AP in 0..1 (-1 unknown)."""

    views: Tensor
    labels: Tensor
    side: Tensor
    view: Tensor

    def mixed(self, share: float, order: Tensor) -> "Batch":
        """Each image with the one at `order`, `share` of it its own (mixup, Zhang et al. 2018, arXiv 1710.09412)."""

        def mix(values: Tensor) -> Tensor:
            return share * values + (1 - share) * values[order]

        view = torch.where((self.view < 0) | (self.view[order] < 0), -1.0, mix(self.view))
        return Batch(mix(self.views), mix(self.labels), mix(self.side), view)


class Teacher:
    """A trained network and the main axes of its maps, found on `sample`, float [N, s, s]."""

    def __init__(self, network: GridClassifier, sample: Tensor) -> None:
        self.network = network.eval().requires_grad_(False)
        self.axes = []
        for maps in self.look(sample)[2:]:
            axes = Axes(maps.float().cpu())
            self.axes.append((axes.turn.float().to(maps.device), axes.mean.float().to(maps.device)))

    @torch.no_grad()
    def look(self, views: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Cells and logits without the prior, and both maps."""
        middle, final = self.network.maps(views)
        cells, logits, _ = self.network.answer(middle, final)
        return cells.float(), logits.float(), middle, final

    def see(self, views: Tensor) -> tuple[Tensor, Tensor, list[Tensor]]:
        """Cells, logits, and the maps on their main axes, float [N, at most 64, h, w]."""
        cells, logits, *maps = self.look(views)
        turned = [
            torch.einsum("nkhw,ka->nahw", m.float() - mean[:, None, None], turn)
            for m, (turn, mean) in zip(maps, self.axes, strict=True)
        ]
        return cells, logits, turned


class Lesson(nn.Module):
    """A network and the heads that only training has."""

    def __init__(self, network: GridClassifier, side: int, taught: bool, shares: Shares) -> None:
        super().__init__()
        self.network, self.shares = network, shares
        body = cast(DenseNet, network.body)
        self.side = nn.Linear(body.features, side)
        self.copies = nn.ModuleList(nn.Conv2d(c, AXES, 1) for c in (body.middle, body.features) if taught)

    def loss(self, batch: Batch, size: int, teacher: Teacher | None, teacher_size: int) -> Tensor:
        """Mean loss of a batch whose views are as large as the larger of the network's and the teacher's input."""
        network, shares = self.network, self.shares
        middle, final = network.maps(resize(batch.views, size))
        cells, logits, view = network.answer(middle, final)
        cells, logits = cells.float(), logits.float()
        prior = network.prior_of(batch.view.clamp(min=0))
        wanted = batch.labels * (1 - shares.smoothing) + shares.smoothing * 0.1
        total = shares.side * known(self.side(final.mean((2, 3))).float(), batch.side)
        total = total + shares.view * known(view.float(), torch.where(batch.view < 0, torch.nan, batch.view))
        if teacher is None:
            return total + known(logits + prior, wanted)
        their_cells, their_logits, theirs = teacher.see(resize(batch.views, teacher_size))
        soft = torch.sigmoid(their_logits + prior)
        total = total + known(logits + prior, torch.lerp(wanted, soft, shares.teacher))
        places = prior[:, :, None, None]
        total = total + shares.cells * functional.binary_cross_entropy_with_logits(
            cells + places, torch.sigmoid(resize(their_cells, cells.shape[-1]) + places)
        )
        for copy, mine, wants in zip(self.copies, (middle, final), theirs, strict=True):
            total = total + shares.maps * functional.mse_loss(copy(mine).float(), resize(wants, mine.shape[-1]))
        return total


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
