"""The main axes of a map's channels: what a student copies of its teacher's maps."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

AXES = 64


class Axes:
    """The main axes of a map's channels, half-whitened: the first has variance 1, and a later one's share of the
    loss falls with the root of its deviation, so that noise at the end weighs little."""

    def __init__(self, maps: Tensor) -> None:
        """`maps` float [N, K, h, w]."""
        places = maps.permute(0, 2, 3, 1).reshape(-1, maps.shape[1]).double()
        self.mean = places.mean(0)
        variances, directions = torch.linalg.eigh(torch.cov(places.T))
        deviations = variances.flip(0)[:AXES].clamp(min=1e-12).sqrt()
        self.turn = directions.flip(1)[:, :AXES] / (deviations * deviations[0]).sqrt()

    def __call__(self, maps: Tensor) -> NDArray[np.float16]:
        """float [N, K, h, w] -> float16 [N, at most 64, h, w]."""
        turn, shift = self.turn.float().to(maps.device), self.mean.float().to(maps.device)
        turned = torch.einsum("nkhw,ka->nahw", maps - shift[:, None, None], turn)
        return turned.half().cpu().numpy()
