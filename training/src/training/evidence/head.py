"""A head whose map is what is learned: a logit for each place from two early maps, and none of it from farther away."""

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from thorax.findings import FINDINGS
from training.backbones.grid import lse

SHARPNESS = 5.0


class EvidenceHead(nn.Module):
    """Maps [N, fine, h, w] and [N, coarse, h', w'] -> logits of the places, on the coarse grid.

    `prior` [5] is added for what is shown and left out while learning, where the log odds of the image's view and source
    take its place (`training.evidence.learn`).
    """

    prior: Tensor

    def __init__(self, fine: int, coarse: int, width: int = 160, dropout: float = 0.3) -> None:
        super().__init__()
        self.fine = nn.Sequential(nn.BatchNorm2d(fine), nn.ReLU())
        self.coarse = nn.Sequential(
            nn.BatchNorm2d(coarse), nn.ReLU(), nn.Conv2d(coarse, width, 1, bias=False)
        )
        self.narrow = nn.Conv2d(fine, width // 2, 1, bias=False)
        both = width + width // 2
        self.norm, self.hidden = nn.BatchNorm2d(both), nn.Conv2d(both, width // 2, 1)
        self.drop, self.out = nn.Dropout2d(dropout), nn.Conv2d(width // 2, len(FINDINGS), 1)
        nn.init.normal_(self.out.weight, std=0.01)
        nn.init.zeros_(cast(Tensor, self.out.bias))
        self.register_buffer("prior", torch.zeros(len(FINDINGS)))

    def places(self, fine: Tensor, coarse: Tensor) -> Tensor:
        """The places' logits [N, 5, h', w'], without the prior."""
        own = self.coarse(coarse)
        grid = [int(edge) for edge in own.shape[2:]]  # constants in an exported graph
        stride = int(fine.shape[2]) // grid[0]
        small = self.narrow(functional.avg_pool2d(self.fine(fine), stride))
        both = functional.relu(self.norm(torch.cat([small, own], 1)))
        return cast(Tensor, self.out(functional.relu(self.hidden(self.drop(both)))))

    def image(self, places: Tensor) -> Tensor:
        """The image's logits [N, 5]: log-sum-exp of its places' (Pinheiro, Collobert 2015, arXiv 1411.6228)."""
        return lse(places, places, SHARPNESS)

    def forward(self, fine: Tensor, coarse: Tensor) -> Tensor:
        """What the graph shows: the probability of each finding at each place, [N, 5, h', w']."""
        return torch.sigmoid(self.places(fine, coarse) + self.prior[:, None, None])
