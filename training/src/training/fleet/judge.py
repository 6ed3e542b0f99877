"""How good a network is on images that it has not learned: AUCs by view, and whether its map shows what it looks at."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.backbones.grid import GridClassifier
from training.backbones.layers import mixed_precision
from training.fleet.corpus import Corpus
from training.fleet.views import shrink
from training.metrics import auc

Floats = NDArray[np.float64]


@torch.inference_mode()
def predict(
    network: GridClassifier, pixels: Tensor, rows: NDArray[np.int64], size: int, batch: int = 128
) -> Floats:
    """Probabilities [n, 5] of these rows of uint8 [N, 256, 256]."""
    seen = []
    for first in range(0, len(rows), batch):
        some = rows[
            np.arange(first, first + batch) % len(rows)
        ]  # always a whole batch: cuDNN prepares for each shape
        images = shrink(pixels[torch.from_numpy(some).to(pixels.device)], size)
        with mixed_precision(pixels.device):
            logits = network(images)
        seen.append(torch.sigmoid(logits.double()).cpu().numpy())
    return np.concatenate(seen)[: len(rows)]


def figures(corpus: Corpus, rows: NDArray[np.int64], probabilities: Floats) -> dict[str, Any]:
    """Mean AUC over the findings, within AP and PA, and per finding; None where one class is missing."""

    def aucs(of: NDArray[np.bool_]) -> list[float]:
        labels = corpus.labels[rows].astype(np.float64)
        return [auc(labels[of, i], probabilities[of, i]) for i in range(labels.shape[1])]

    view = corpus.view[rows]
    every = aucs(np.ones(len(rows), bool))
    means = {name: _mean(aucs(view == code)) for name, code in (("ap", 1), ("pa", 0))}
    return {
        "n": len(rows),
        "mean": _mean(every),
        **means,
        "auc": [None if np.isnan(a) else round(a, 4) for a in every],
    }


@torch.inference_mode()
def deletion(
    network: GridClassifier, corpus: Corpus, pixels: Tensor, rows: NDArray[np.int64], size: int
) -> dict[str, float]:
    """What the logit loses when a quarter of each edge is blurred away around the map's maximum, and elsewhere.

    Over the present findings of `rows`. It asks whether the answer hangs on the place that the map names; it says
    nothing of radiologists, so it may be used to choose between heads. Also the share of maxima in the outer tenth.
    """
    drops: list[tuple[float, float, float]] = []
    rng = np.random.default_rng(0)
    for finding in np.flatnonzero((corpus.labels[rows] == 1).any(0)):
        present = rows[corpus.labels[rows, finding] == 1]
        present = np.resize(present, 128)  # repeated where there are fewer
        images = shrink(pixels[torch.from_numpy(present).to(pixels.device)], size)
        cells, logits, _ = _answer(network, images)
        edge = cells.shape[-1]
        place = cells[:, finding].float().flatten(1).argmax(1)
        at = torch.stack([place // edge, place % edge], 1).cpu().numpy() / edge + 0.5 / edge
        elsewhere = rng.uniform(0.2, 0.8, at.shape)
        lost = []
        for where in (at, elsewhere):
            without = _answer(network, _blank(images, where))[1]
            lost.append((logits - without)[:, finding].float().cpu().numpy())
        outer = ((at < 0.1) | (at > 0.9)).any(1)
        drops += list(zip(*lost, outer.astype(float), strict=True))
    at_maximum, other, outer_share = np.mean(drops, axis=0)
    return {"at_maximum": float(at_maximum), "elsewhere": float(other), "in_outer_tenth": float(outer_share)}


def _answer(network: GridClassifier, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    with mixed_precision(images.device):
        return network.answer(*network.maps(images))


def _blank(images: Tensor, where: Floats) -> Tensor:
    size = images.shape[-1]
    at = (torch.arange(size, device=images.device) + 0.5) / size
    centre = torch.from_numpy(where).float().to(images.device)
    inside = ((at[None, :, None] - centre[:, :1, None]).abs() < 0.125) & (
        (at[None, None] - centre[:, 1:, None]).abs() < 0.125
    )
    return torch.where(inside, images.mean((1, 2), keepdim=True), images)


def _mean(values: list[float]) -> float | None:
    there = [v for v in values if not np.isnan(v)]
    return float(np.mean(there)) if there else None
