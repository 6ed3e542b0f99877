"""Turns a final map into five logits and into the five maps that explain them, without gradients at run time."""

from typing import Protocol

import torch
from torch import Tensor, nn

FINDINGS = 5


class Head(Protocol):
    """What a classifier needs of its head."""

    def __call__(self, pooled: Tensor) -> Tensor:
        """Pooled features, float [N, K] -> logits [N, 5]."""

    def channel_weights(self, pooled: Tensor) -> Tensor:
        """d logit_c / d pooled_k, float [N, 5, K] or [5, K] where it does not depend on the image."""


class LinearHead(nn.Module):
    """Dropout and one Dense: the map is the classic class activation map (Zhou et al. 2016, arXiv 1512.04150)."""

    def __init__(self, features: int, dropout: float = 0.2) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.dense = nn.Linear(features, FINDINGS)
        nn.init.constant_(self.dense.bias, -2.0)  # findings are rare: about one in eight

    def forward(self, pooled: Tensor) -> Tensor:
        """float [N, K] -> logits [N, 5]."""
        logits: Tensor = self.dense(self.dropout(pooled))
        return logits

    def channel_weights(self, pooled: Tensor) -> Tensor:
        """float [5, K], the same for every image."""
        return self.dense.weight


class OriginalHead(nn.Module):
    """The original's: Dense 1024, ReLU, batch norm, dropout 0.3, Dense 5."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.dense1 = nn.Linear(features, 1024)
        self.bn = nn.BatchNorm1d(1024, eps=1e-3, momentum=0.05)
        self.dropout = nn.Dropout(0.3)
        self.dense2 = nn.Linear(1024, FINDINGS)

    def forward(self, pooled: Tensor) -> Tensor:
        """float [N, K] -> logits [N, 5]."""
        logits: Tensor = self.dense2(self.dropout(self.bn(torch.relu(self.dense1(pooled)))))
        return logits

    def channel_weights(self, pooled: Tensor) -> Tensor:
        """sum_j V[c,j] [h_j > 0] W1[j,k], float [N, 5, K], batch norm folded into V (see docs/reference/bundle-format.md)."""
        scale = self.bn.weight * torch.rsqrt(torch.as_tensor(self.bn.running_var) + self.bn.eps)
        awake = (self.dense1(pooled) > 0).to(pooled.dtype)
        return torch.matmul(awake[:, None, :] * (self.dense2.weight * scale), self.dense1.weight)


HEADS = {"linear": LinearHead, "original": OriginalHead}
