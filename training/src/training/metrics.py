"""The figures: AUC with its interval, average precision, calibration error, thresholds. numpy alone."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def auc(labels: Floats, scores: Floats) -> float:
    """Area under the ROC curve: the share of (present, absent) pairs in the right order (Hanley, McNeil 1982).

    `labels` [N] of 0 and 1, `scores` [N]; ties count half. NaN if one of the classes is missing.
    """
    present = labels == 1
    n_present, n_absent = int(present.sum()), int((~present).sum())
    if not n_present or not n_absent:
        return float("nan")
    _, place, count = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(count) - (count - 1) / 2)[place]
    return float((ranks[present].sum() - n_present * (n_present + 1) / 2) / (n_present * n_absent))


def auc_interval(
    labels: Floats, scores: Floats, rounds: int = 500, seed: int = 0, groups: NDArray[np.int64] | None = None
) -> tuple[float, float]:
    """Percentile bootstrap, 95 % (Efron 1979); NaN if one of the classes is missing. With `groups` [N], whole patients are drawn, not images."""
    if len(np.unique(labels)) < 2:
        return float("nan"), float("nan")
    groups = np.arange(len(labels)) if groups is None else groups
    drawn = [auc(labels[rows], scores[rows]) for rows in draws_of_patients(groups, rounds, seed)]
    low, high = np.nanpercentile(drawn, [2.5, 97.5])
    return float(low), float(high)


def draws_of_patients(patients: NDArray[np.int64], rounds: int, seed: int = 0) -> Iterator[NDArray[np.int64]]:
    """Rows of so many bootstrap samples of `patients` [N]: whole patients are drawn, not images."""
    rng = np.random.default_rng(seed)
    order = np.argsort(patients, kind="stable")
    rows = np.split(order, np.flatnonzero(np.diff(patients[order])) + 1)
    for _ in range(rounds):
        yield np.concatenate([rows[i] for i in rng.integers(0, len(rows), len(rows))])


def average_precision(labels: Floats, scores: Floats) -> float:
    """Mean precision over the present cases, in falling order of score. NaN without a present case."""
    hits = labels[np.argsort(-scores, kind="stable")] == 1
    if not hits.any():
        return float("nan")
    precision = np.cumsum(hits) / np.arange(1, len(hits) + 1)
    return float(precision[hits].mean())


def reliability(labels: Floats, probabilities: Floats, bins: int = 10) -> list[tuple[float, float, int]]:
    """(mean probability, share present, count) of each occupied bin of equal width."""
    which = np.clip((probabilities * bins).astype(int), 0, bins - 1)
    rows = [which == b for b in range(bins)]
    return [(float(probabilities[r].mean()), float(labels[r].mean()), int(r.sum())) for r in rows if r.any()]


def calibration_error(labels: Floats, probabilities: Floats, bins: int = 10) -> float:
    """Expected calibration error with bins of equal width (Guo et al. 2017, arXiv 1706.04599)."""
    table = reliability(labels, probabilities, bins)
    return sum(n * abs(p - share) for p, share, n in table) / len(labels)


def roc(labels: Floats, scores: Floats) -> tuple[Floats, Floats, Floats]:
    """False positive rate, sensitivity and threshold at every distinct score, thresholds falling."""
    order = np.argsort(-scores, kind="stable")
    hits = labels[order] == 1
    last = np.flatnonzero(np.diff(scores[order], append=-np.inf))
    true, false = np.cumsum(hits)[last], np.cumsum(~hits)[last]
    return false / max(1, false[-1]), true / max(1, true[-1]), scores[order][last].astype(np.float64)


def youden_threshold(labels: Floats, scores: Floats) -> float:
    """The threshold with the largest sensitivity + specificity - 1 (Youden 1950)."""
    false, true, thresholds = roc(labels, scores)
    return float(thresholds[np.argmax(true - false)])


def threshold_at(labels: Floats, scores: Floats, sensitivity: float) -> float:
    """The highest threshold that still reaches `sensitivity`, 0..1."""
    _, true, thresholds = roc(labels, scores)
    return float(thresholds[np.argmax(true >= sensitivity)])


def sensitivity_specificity(labels: Floats, positive: NDArray[np.bool_]) -> tuple[float, float]:
    """Shares of the present cases called positive and of the absent ones called negative; NaN without any."""
    present = labels == 1
    rates = [side.mean() if side.size else float("nan") for side in (positive[present], ~positive[~present])]
    return float(rates[0]), float(rates[1])


def change(maps: NDArray[np.floating], exact: NDArray[np.floating]) -> float:
    """How far maps are from those they stand for, as a share of the Euclidean norm of these."""
    wanted = exact.astype(np.float32)
    return float(np.linalg.norm(maps - wanted) / np.linalg.norm(wanted))
