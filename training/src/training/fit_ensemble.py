"""Weighs, calibrates and chooses operating points on predictions of images that no member was trained on. numpy alone."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from thorax.bundle import Calibration
from thorax.findings import FINDINGS
from thorax.operating_points import FindingPoints
from training import metrics
from training.metrics import Floats
from training.points import operating_points
from training.report import Report, brief, mean_report

FOLDS, DIVISIONS = 5, 6


@dataclass(frozen=True)
class Fitted:
    """Weights [members, 5] whose columns sum to 1, Platt scaling and operating points of the calibrated ensemble."""

    weights: Floats
    calibration: tuple[Calibration, ...]
    points: tuple[FindingPoints, ...]


def fit(
    labels: Floats, probabilities: Floats, patients: NDArray[np.int64], weights: Floats | None = None
) -> Fitted:
    """`labels` [N, 5] with NaN left out, `probabilities` [members, N, 5] of images of `patients` [N].

    `weights` [members, 5] are kept where they are given.
    """
    weights = weigh(labels, probabilities, patients) if weights is None else weights
    calibration, scaled = calibrate(labels, mix(weights, probabilities))
    return Fitted(weights, calibration, operating_points(labels, scaled, patients))


def calibrate(labels: Floats, mean: Floats) -> tuple[tuple[Calibration, ...], Floats]:
    """Platt scaling per finding of the means [N, 5], and what it makes of them."""
    calibration = []
    for i in range(len(FINDINGS)):
        known = ~np.isnan(labels[:, i])
        calibration.append(platt(labels[known, i], mean[known, i]))
    scaled = np.stack([apply_platt(scaling, mean[:, i]) for i, scaling in enumerate(calibration)], 1)
    return tuple(calibration), scaled


ORIGINAL = {
    "xception": (0.50, 0.30, 1.00, 1.10, 1.00),
    "inception_resnet_v2": (0.40, 1.00, 0.70, 0.00, 0.75),
    "densenet121": (1.50, 0.20, 1.00, 0.10, 0.40),
    "densenet169": (0.80, 0.50, 0.90, 0.00, 0.75),
    "densenet201": (0.80, 0.50, 0.60, 0.00, 0.10),
}
"""The weights that the original system's authors found by hand, before each column is made to sum to 1."""


def weigh_candidates(
    labels: Floats, probabilities: Floats, patients: NDArray[np.int64], names: list[str]
) -> dict[str, Report]:
    """`brief` for uniform, the original's and fitted weights.

    The fitted ones are scored on patients left out, the mean of several ways to divide these into folds: a single way
    may be 0.004 off.
    """
    members = len(names)
    uniform = np.full((members, len(FINDINGS)), 1 / members)
    mixes = {"uniform": uniform}
    if set(names) <= set(ORIGINAL):
        by_hand = np.array([ORIGINAL[name] for name in names]) + 1e-9
        mixes["the original's"] = by_hand / by_hand.sum(0)
    compared = {name: brief(labels, mix(weights, probabilities)) for name, weights in mixes.items()}
    left_out = [_left_out(labels, probabilities, patients, seed) for seed in range(DIVISIONS)]
    compared["fitted (out of fold)"] = mean_report([brief(labels, scores) for scores in left_out])
    return compared


def _left_out(labels: Floats, probabilities: Floats, patients: NDArray[np.int64], seed: int) -> Floats:
    """Each image's scores [N, 5] by weights that were fitted without its patient."""
    fold_of = np.random.default_rng(seed).integers(0, FOLDS, patients.max() + 1)
    scores = np.empty_like(labels)
    for fold in range(FOLDS):
        apart = fold_of[patients] == fold
        weights = weigh(labels[~apart], probabilities[:, ~apart], patients[~apart], seed=seed)
        scores[apart] = mix(weights, probabilities[:, apart])
    return scores


def mix(weights: Floats, probabilities: Floats) -> Floats:
    """The weighted mean [N, 5] of `probabilities` [members, N, 5] by `weights` [members, 5]."""
    return np.asarray(np.einsum("mf,mnf->nf", weights, probabilities))


def weigh(
    labels: Floats, probabilities: Floats, patients: NDArray[np.int64], shrink: float = 0.5, seed: int = 0
) -> Floats:
    """Non-negative weights [members, 5] per finding, columns summing to 1, that raise the AUC of the mean.

    Greedy ensemble selection with replacement (Caruana et al. 2004) on bootstrap samples of whole patients, averaged,
    then drawn half of the way to the uniform weights: with some hundred positives a finding's optimum is mostly noise,
    and what fits one hospital's split best need not hold elsewhere. Where all labels of a finding are alike, the uniform
    ones stay.
    """
    members = len(probabilities)
    weights = np.full((members, len(FINDINGS)), 1 / members)
    draws = metrics.draws_of_patients(patients, 1_000_000, seed)
    for i, known in enumerate(~np.isnan(labels).T):
        if len(np.unique(labels[known, i])) < 2:
            continue  # no draw would have both
        chosen = []
        while len(chosen) < 10:
            drawn = next(draws)
            rows = drawn[~np.isnan(labels[drawn, i])]
            if 0 < labels[rows, i].sum() < len(rows):
                chosen.append(_select(labels[rows, i], probabilities[:, rows, i]))
        weights[:, i] = np.mean(chosen, axis=0)
    return shrink / members + (1 - shrink) * weights


def _select(labels: Floats, scores: Floats, picks: int = 10) -> Floats:
    """Add, again and again, the member that gives the sum the best AUC; the shares of picks, [members]."""
    counts = np.zeros(len(scores))
    total = np.zeros(scores.shape[1])
    for _ in range(picks):
        best = int(np.argmax([metrics.auc(labels, total + member) for member in scores]))
        counts[best] += 1
        total += scores[best]
    return counts / picks


def platt(labels: Floats, probabilities: Floats) -> Calibration:
    """sigmoid(a logit(p) + b) of least log loss, by Newton's method with Platt's smoothed targets (1999)."""
    x = np.stack([logit(probabilities), np.ones(len(probabilities))], 1)
    present = labels.sum()
    absent = len(labels) - present
    targets = np.where(labels == 1, (present + 1) / (present + 2), 1 / (absent + 2))
    ab = np.array([1.0, 0.0])
    for _ in range(100):
        p = _sigmoid(x @ ab)
        hessian = (x * (p * (1 - p))[:, None]).T @ x + 1e-6 * np.eye(2)
        step = np.linalg.solve(hessian, x.T @ (p - targets))
        size = 1.0
        while _log_loss(x @ (ab - size * step), targets) > _log_loss(x @ ab, targets) and size > 1e-6:
            size /= 2  # a full step may overshoot where the slope is flat
        ab = ab - size * step
    return Calibration(a=float(max(ab[0], 1e-3)), b=float(ab[1]))


def apply_platt(scaling: Calibration, probabilities: Floats) -> Floats:
    """What `Calibration` does, for an array."""
    return _sigmoid(scaling.a * logit(probabilities) + scaling.b)


def _sigmoid(z: Floats) -> Floats:
    return np.asarray(0.5 * (1 + np.tanh(z / 2)))  # does not overflow


def _log_loss(z: Floats, targets: Floats) -> float:
    return float((np.logaddexp(0, z) - targets * z).sum())


def logit(probabilities: Floats) -> Floats:
    """log(p / (1 - p)), p kept 1e-6 away from 0 and 1 as in serving."""
    p = np.clip(probabilities, 1e-6, 1 - 1e-6)
    return np.asarray(np.log(p / (1 - p)))
