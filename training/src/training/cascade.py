"""Fits a cascade: which members answer first, by what weights and calibration, and where the rest are asked. numpy alone."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from thorax.bundle import Cascade, Manifest
from thorax.cascade import answering, asked_first, still_to_ask
from thorax.ensemble import combine
from training.fit_ensemble import calibrate, logit, mix, weigh
from training.metrics import Floats
from training.points import likely_thresholds

NEAR, ASKED = 0.04, 0.06
"""Shares of the images fitted on that ask the rest: near an operating point, and with those where the first disagree."""


def would_run(manifest: Manifest, probabilities: Mapping[str, NDArray[np.floating]]) -> tuple[str, ...]:
    """The members that would have run, of an image of which `probabilities` has all members' `[5]`."""
    first = asked_first(manifest, full=False)
    return first + still_to_ask(manifest, first, {name: probabilities[name] for name in first})


def fit_cascade(
    manifest: Manifest,
    labels: Floats,
    probabilities: Floats,
    patients: NDArray[np.int64],
    first: Sequence[str],
) -> Cascade:
    """The members `first` answer; the rest are asked in bands, equally wide in log odds, around the thresholds of
    "likely", and where the first disagree most.

    `labels` [N, 5] with NaN left out, `probabilities` [members, N, 5] in the manifest's order, `patients` [N].
    """
    names = [b.name for b in manifest.backbones]
    chosen = probabilities[[names.index(name) for name in first]]
    weights = weigh(labels, chosen, patients)
    scales, scaled = calibrate(labels, mix(weights, chosen))
    edges = logit(likely_thresholds(labels, scaled))
    width = float(np.quantile(np.abs(logit(scaled) - edges).min(1), NEAR))
    cascade = Cascade(
        first=tuple(first),
        weights={name: tuple(map(float, row)) for name, row in zip(first, weights, strict=True)},  # type: ignore[misc]
        calibration=scales,  # type: ignore[arg-type]
        bands=tuple(zip(_probability(edges - width), _probability(edges + width), strict=True)),  # type: ignore[arg-type]
        disagreement=(1.0,) * 5,
    )
    return cascade.model_copy(update={"disagreement": _limits(manifest, cascade, chosen)})


def _probability(log_odds: Floats) -> list[float]:
    return [float(p) for p in 1 / (1 + np.exp(-log_odds))]


def _limits(manifest: Manifest, cascade: Cascade, chosen: Floats) -> tuple[float, ...]:
    """The disagreement [5] above which the rest are asked: one quantile for all findings, so that ASKED of the images ask."""
    alone = answering(manifest.model_copy(update={"cascade": cascade}), cascade.first)
    rows = [dict(zip(cascade.first, row, strict=True)) for row in chosen.swapaxes(0, 1)]
    answers = [combine(alone, row) for row in rows]
    apart = np.stack([answer.disagreement for answer in answers])
    scaled, bands = np.stack([answer.probabilities for answer in answers]), np.array(cascade.bands)
    near = ((scaled >= bands[:, 0]) & (scaled < bands[:, 1])).any(1)
    for share in np.linspace(0, ASKED, 61)[::-1]:
        limits = np.quantile(apart, 1 - share, axis=0)
        if (near | (apart > limits).any(1)).mean() <= ASKED:
            break
    return tuple(map(float, limits))
