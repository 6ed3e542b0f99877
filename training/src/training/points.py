"""Operating points and the maps' scale, chosen on images that no network was trained on. numpy alone."""

import numpy as np
from numpy.typing import NDArray

from thorax.findings import FINDINGS
from thorax.operating_points import FindingPoints, MapScale, OperatingPoint, Rate
from training import metrics
from training.metrics import Floats

SENSITIVITY = 0.90
"""Below the threshold that keeps it a finding is unlikely."""

SPECIFICITIES, NORMALS_CALLED = (0.90, 0.905, 0.91, 0.915, 0.92, 0.925, 0.93, 0.94, 0.95), 0.25
"""A finding is likely from the first of these specificities on with which at most so large a share of the images
without any finding get one or more called likely."""

CUT_SPECIFICITY = 0.90
_ROUNDS = 500


def operating_points(
    labels: Floats, probabilities: Floats, patients: NDArray[np.int64]
) -> tuple[FindingPoints, ...]:
    """Of labels [N, 5] (NaN left out) and calibrated probabilities [N, 5] of images of `patients` [N]."""
    points = []
    edges = likely_thresholds(labels, probabilities)
    for i in range(len(FINDINGS)):
        known = ~np.isnan(labels[:, i])
        y, p, of = labels[known, i] == 1, probabilities[known, i], patients[known]
        likely = float(edges[i])
        unlikely = min(likely, metrics.threshold_at(y.astype(float), p, SENSITIVITY))
        balanced = metrics.youden_threshold(y.astype(float), p)
        at = [operating_point(y, p, threshold, of) for threshold in (likely, unlikely, balanced)]
        points.append(
            FindingPoints(
                prevalence=float(y.mean()),
                images=len(y),
                present=int(y.sum()),
                likely=at[0],
                unlikely=at[1],
                balanced=at[2],
            )
        )
    return tuple(points)


def likely_thresholds(labels: Floats, probabilities: Floats) -> Floats:
    """The thresholds [5] of one specificity for all findings, the first of SPECIFICITIES that spares enough normals."""
    for specificity in SPECIFICITIES:
        edges = np.array(
            [
                specific_threshold(labels[known, i] == 1, probabilities[known, i], specificity)
                for i, known in enumerate(~np.isnan(labels).T)
            ]
        )
        if called_in_normals(labels, probabilities, edges) <= NORMALS_CALLED:
            break
    return edges


def specific_threshold(present: NDArray[np.bool_], scores: Floats, specificity: float) -> float:
    """The lowest score from which on at least `specificity` of the absent cases are called negative."""
    absent = np.sort(scores[~present])
    allowed = int((1 - specificity) * len(absent) + 1e-9)
    highest_refused = absent[len(absent) - allowed - 1]
    above = scores[scores > highest_refused]
    return float(above.min()) if len(above) else 1.0


def operating_point(
    present: NDArray[np.bool_], scores: Floats, threshold: float, patients: NDArray[np.int64]
) -> OperatingPoint:
    """What calling all scores from `threshold` on positive amounts to, with intervals that draw whole patients."""
    called = scores >= threshold
    cells = np.stack([called & present, ~called & present, called & ~present, ~called & ~present], 1)
    groups = np.unique(patients, return_inverse=True)[1]
    each = np.zeros((groups.max() + 1, 4))
    np.add.at(each, groups, cells.astype(float))
    rng = np.random.default_rng(0)
    times = rng.multinomial(len(each), np.full(len(each), 1 / len(each)), _ROUNDS)
    drawn = times @ each
    whole = each.sum(0)[None]
    pairs = {"sensitivity": (0, 1), "specificity": (3, 2), "ppv": (0, 2), "npv": (3, 1)}
    rates = {name: _rate(whole, drawn, *pair) for name, pair in pairs.items()}
    return OperatingPoint(threshold=threshold, **rates)  # type: ignore[arg-type]


def _rate(whole: Floats, drawn: Floats, right: int, wrong: int) -> Rate | None:
    """right / (right + wrong) of the counts [1, 4] and its interval from [rounds, 4]; None where both are 0."""
    if whole[0, right] + whole[0, wrong] == 0:
        return None
    of = drawn[:, right] + drawn[:, wrong]
    shares = drawn[of > 0, right] / of[of > 0]
    low, high = np.percentile(shares, [2.5, 97.5])
    return Rate(
        value=float(whole[0, right] / (whole[0, right] + whole[0, wrong])), low=float(low), high=float(high)
    )


def unscaled(unit: str, members: tuple[str, ...] | None) -> MapScale:
    """A scale by which fused maps stay what they are, to fit one by."""
    return MapScale(unit=unit, full=(1.0,) * 5, cuts=(0.5,) * 5, members=members)


def map_scale(labels: Floats, tops: Floats, unit: str, members: tuple[str, ...] | None = None) -> MapScale:
    """Of labels [N, 5] and the maximum [N, 5], in `unit`, of each map fused of these members' (all of them where None):
    the contour, in the middle of the scale, begins where nine in ten images without the finding stay below."""
    absent = [tops[labels[:, i] == 0, i] for i in range(len(FINDINGS))]
    full = [max(2 * float(np.quantile(values, CUT_SPECIFICITY)), 1e-3) for values in absent]
    return MapScale(unit=unit, full=tuple(full), cuts=(0.5,) * 5, members=members)  # type: ignore[arg-type]


def normals_called(labels: Floats, probabilities: Floats, points: tuple[FindingPoints, ...]) -> float:
    """Share of the images without any of the five findings that get at least one "likely"; 0 without such images."""
    return called_in_normals(
        labels, probabilities, np.array([finding.likely.threshold for finding in points])
    )


def called_in_normals(labels: Floats, probabilities: Floats, thresholds: Floats) -> float:
    """The same for thresholds [5]."""
    normal = (labels == 0).all(1)
    return float((probabilities[normal] >= thresholds).any(1).mean()) if normal.any() else 0.0
