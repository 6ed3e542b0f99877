"""What a network learns from besides the five labels: what else the table knows, and what a teacher saw."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from training.backbones import Classifier
from training.datasets import DataError, Table, read_soft_labels

TEACHER_SHARE = 0.5
SIDE_SHARE = 0.5
_RARE = (2.0, 3.0, 2.5, 3.0, 2.0)
"""How much likelier than a normal image one with this finding is drawn, findings in canonical order."""


@dataclass(frozen=True)
class Targets:
    """Rows as in the table. `labels` [N, 5] and `side` [N, S] in 0..1, NaN left out; the teacher's may be None.

    `side`: every label of a `nih_labels` column, AP view, male, age / 100, another network's soft labels.
    `teacher`: its probabilities [N, 5]; `features`: its pooled features on their main axes [N, 64].
    """

    labels: NDArray[np.float32]
    side: NDArray[np.float32]
    teacher: NDArray[np.float32] | None = None
    features: NDArray[np.float32] | None = None

    def chances(self) -> NDArray[np.float64]:
        """The probability that an image is drawn, [N]: the class balance of the loss."""
        weights = np.ones(len(self.labels))
        for column, factor in zip(self.labels.T, _RARE, strict=True):
            weights = np.where(column == 1, np.maximum(weights, factor), weights)
        return np.asarray(weights / weights.sum())


def side_columns(table: Table, soft: Path | None) -> NDArray[np.float32]:
    """Whatever else the table tells of an image, float32 [N, S] in 0..1 with NaN where unknown."""
    columns: list[NDArray[np.float32]] = []
    if "nih_labels" in table.columns:
        named = [set(text.split("|")) for text in table.columns["nih_labels"]]
        for name in sorted(set().union(*named)):
            columns.append(np.array([name in row for row in named], np.float32))
    for column, value in (("view", "AP"), ("sex", "M")):
        if column in table.columns:
            columns.append(np.array([text == value for text in table.columns[column]], np.float32))
    if "age" in table.columns:
        ages = [float(text) / 100 if text else np.nan for text in table.columns["age"]]
        columns.append(np.clip(np.array(ages, np.float32), 0, 1))
    side = np.stack(columns, 1) if columns else np.zeros((len(table), 0), np.float32)
    return side if soft is None else np.concatenate([side, read_soft_labels(soft, table)], 1)


def load_teacher(path: Path, images: tuple[str, ...]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Probabilities [N, 5] and features [N, 64] that `training.distil` wrote for these images."""
    with np.load(path) as saved:
        place = {str(name): i for i, name in enumerate(saved["images"])}
        missing = [name for name in images if name not in place]
        if missing:
            raise DataError(f"{path}: expected a row for every training image; {missing[0]} has none.")
        rows = [place[name] for name in images]
        return saved["probabilities"][rows], saved["features"][rows]


class Learner(nn.Module):
    """A classifier and the linear heads that only training has."""

    def __init__(self, classifier: Classifier, targets: Targets) -> None:
        super().__init__()
        self.classifier = classifier
        width = int(classifier.body.features)  # type: ignore[arg-type]
        self.side = _linear(width, targets.side)
        self.mimic = _linear(width, targets.features)

    def loss(self, images: Tensor, targets: Targets, rows: NDArray[np.int64]) -> Tensor:
        """Mean loss of a batch, images [N, s, s] float in 0..255 on the device, `rows` of the targets."""
        logits, pooled = self.classifier(images)

        def of(values: NDArray[np.float32]) -> Tensor:
            return torch.from_numpy(values[rows]).to(logits.device)

        labels = of(targets.labels)
        if targets.teacher is not None:
            labels = (1 - TEACHER_SHARE) * labels + TEACHER_SHARE * of(targets.teacher)
        total = known_loss(logits, labels)
        if targets.side.shape[1]:
            total = total + SIDE_SHARE * known_loss(self.side(pooled), of(targets.side))
        if targets.features is not None:
            total = total + SIDE_SHARE * functional.mse_loss(self.mimic(pooled), of(targets.features))
        return total


def _linear(width: int, targets: NDArray[np.float32] | None) -> nn.Module:
    """A linear map to as many outputs as there are targets; without any, nothing to learn."""
    wanted = 0 if targets is None else targets.shape[1]
    return nn.Linear(width, wanted) if wanted else nn.Identity()


def known_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Binary cross-entropy over the targets that are not NaN; 0 where none is."""
    known = ~torch.isnan(targets)
    if not bool(known.any()):
        return logits.sum() * 0
    return functional.binary_cross_entropy_with_logits(logits[known], targets[known])
