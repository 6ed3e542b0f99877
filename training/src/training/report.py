"""The figures of one evaluation: per finding, with intervals, overall and per view and source."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from thorax.findings import FINDINGS
from training import metrics
from training.metrics import Floats

Report = dict[str, Any]
_MIN_GROUP = 30


def ensemble_report(
    labels: Floats, probabilities: Floats, thresholds: Sequence[float], patients: Sequence[str]
) -> Report:
    """Everything the card says of the ensemble. `labels` [N, 5] with NaN left out, `probabilities` [N, 5].

    A figure that can't be had (a finding of one class, or without labels) is None. Confidence intervals draw whole
    patients. `all_five_right` counts only images with all five labels.
    """
    groups = np.unique(np.array(patients), return_inverse=True)[1]
    positive = probabilities >= np.array(thresholds)
    rates = per_finding(labels, positive, metrics.sensitivity_specificity)
    known = ~np.isnan(labels).any(1)
    return {
        **brief(labels, probabilities),
        "auc_95": per_finding(
            labels, probabilities, lambda y, p, g: metrics.auc_interval(y, p, groups=g), groups
        ),
        "mean_auc_95": mean_interval(labels, probabilities, groups),
        "average_precision": per_finding(labels, probabilities, metrics.average_precision),
        "sensitivity": {f: r and r[0] for f, r in rates.items()},
        "specificity": {f: r and r[1] for f, r in rates.items()},
        "ece_by_finding": per_finding(labels, probabilities, metrics.calibration_error),
        "all_five_right": float((positive == (labels == 1))[known].all(1).mean()) if known.any() else None,
        "thresholds": dict(zip(FINDINGS, thresholds, strict=True)),
    }


def brief(labels: Floats, probabilities: Floats) -> Report:
    """`mean_auc`, `auc` per finding and `ece`, the mean over the findings; a finding of one class is null."""
    aucs = per_finding(labels, probabilities, metrics.auc)
    eces = per_finding(labels, probabilities, metrics.calibration_error)
    return {"mean_auc": _mean(aucs), "auc": aucs, "ece": _mean(eces)}


def mean_auc(labels: Floats, probabilities: Floats) -> float | None:
    """The mean AUC over the findings that have both classes; None if none has."""
    return _mean(per_finding(labels, probabilities, metrics.auc))


def _mean(figures: dict[str, float | None]) -> float | None:
    defined = [figure for figure in figures.values() if figure is not None]
    return float(np.mean(defined)) if defined else None


def mean_report(briefs: Sequence[Report]) -> Report:
    """The mean of several of them, of the same labels."""
    first, *_ = briefs
    aucs = {
        f: None if a is None else float(np.mean([b["auc"][f] for b in briefs]))
        for f, a in first["auc"].items()
    }
    means = {
        key: None if first[key] is None else float(np.mean([b[key] for b in briefs]))
        for key in ("mean_auc", "ece")
    }
    return {"mean_auc": means["mean_auc"], "auc": aucs, "ece": means["ece"]}


def by_group(labels: Floats, probabilities: Floats, column: Sequence[str]) -> dict[str, Report]:
    """`brief` and `n` for each value of a column (view, source) that at least 30 images have."""
    values, counts = np.unique(np.array(column), return_counts=True)
    rows = {
        str(v): np.array(column) == v for v, n in zip(values, counts, strict=True) if v and n >= _MIN_GROUP
    }
    return {v: {"n": int(r.sum()), **brief(labels[r], probabilities[r])} for v, r in rows.items()}


def per_finding(
    labels: Floats, values: NDArray[Any], figure: Callable[..., Any], *others: NDArray[Any]
) -> dict[str, Any]:
    """`figure` of each finding's labels and values, images without a label left out; None where it can't be had."""
    result = {}
    for i, finding in enumerate(FINDINGS):
        known = ~np.isnan(labels[:, i])
        given = (
            figure(labels[known, i], values[known, i], *(o[known] for o in others)) if known.any() else None
        )
        result[str(finding)] = _defined(given)
    return result


def _defined(figure: Any) -> Any:
    """None for NaN, and for a pair of two; JSON knows no NaN."""
    if isinstance(figure, tuple):
        pair = tuple(_defined(part) for part in figure)
        return None if set(pair) == {None} else pair
    return None if figure is None or np.isnan(figure) else figure


def mean_interval(
    labels: Floats, probabilities: Floats, groups: NDArray[np.int64]
) -> tuple[float, float] | None:
    """95 % percentile bootstrap of the mean AUC, 300 draws of whole patients."""
    means = [mean_auc(labels[rows], probabilities[rows]) for rows in metrics.draws_of_patients(groups, 300)]
    defined = [m for m in means if m is not None]
    if not defined:
        return None
    low, high = np.percentile(defined, [2.5, 97.5])
    return float(low), float(high)
