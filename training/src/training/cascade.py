"""Fits a cascade: which members answer first, by what weights and calibration, and where the rest are asked. numpy alone."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from thorax.bundle import Cascade, Manifest
from thorax.cascade import answering, asked_first, still_to_ask, unsure
from thorax.ensemble import combine
from training.fit_ensemble import calibrate, logit, mix, weigh
from training.metrics import Floats
from training.points import likely_thresholds

NEAR, ASKED, _ROUNDS = 0.06, 0.08, 10
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
    weights: Floats | None = None,
) -> Cascade:
    """The members `first` answer; the rest are asked in bands, equally wide in log odds, around the thresholds of
    "likely", and where the first ones disagree most.

    `labels` [N, 5] with NaN left out, `probabilities` [members, N, 5] in the manifest's order, `patients` [N].
    `weights` [first, 5] are kept where they are given. The thresholds are those of what is served, which the bands decide about: of some rounds of moving the bands half of the way
    towards them, that one is taken in which they lie nearest to the middle of their bands.
    """
    names = [b.name for b in manifest.backbones]
    chosen = probabilities[[names.index(name) for name in first]]
    weights = weigh(labels, chosen, patients) if weights is None else weights
    cascade = Cascade(
        first=tuple(first),
        weights={name: tuple(map(float, row)) for name, row in zip(first, weights, strict=True)},  # type: ignore[misc]
        calibration=calibrate(labels, mix(weights, chosen))[0],  # type: ignore[arg-type]
        bands=((0.0, 0.0),) * 5,
        disagreement=(1.0,) * 5,
    )
    alone = answering(manifest.model_copy(update={"cascade": cascade}), first)
    scaled, apart = _answers(alone, first, chosen)
    whole, _ = _answers(manifest, names, probabilities)
    edges, tried = logit(likely_thresholds(labels, scaled)), []
    for _ in range(_ROUNDS):
        width, bands, limits = _when(scaled, apart, edges)
        served = np.where(unsure(scaled, apart, bands, limits)[:, None], whole, scaled)
        settled = logit(likely_thresholds(labels, served))
        tried.append(
            (float(np.abs(settled - edges).max() / max(width, 1e-9)), bands.tolist(), limits.tolist())
        )
        edges = (edges + settled) / 2
    _, best, limit = min(tried)
    told = {"bands": tuple(map(tuple, best)), "disagreement": tuple(limit)}
    return cascade.model_copy(update=told)


def _answers(manifest: Manifest, names: Sequence[str], probabilities: Floats) -> tuple[Floats, Floats]:
    """Calibrated probabilities and disagreement, each [N, 5], of all these members together."""
    rows = probabilities.swapaxes(0, 1)
    answers = [combine(manifest, dict(zip(names, row, strict=True))) for row in rows]
    return np.stack([a.probabilities for a in answers]), np.stack([a.disagreement for a in answers])


def _when(scaled: Floats, apart: Floats, edges: Floats) -> tuple[float, Floats, Floats]:
    """Half the width, and bands [5, 2] around `edges` [5], log odds, that NEAR of the images are in, and limits of the disagreement [5], one quantile
    for all findings, so that ASKED of the images are in a band or above a limit."""
    width = float(np.quantile(np.abs(logit(scaled) - edges).min(1), NEAR))
    bands = 1 / (1 + np.exp(-np.stack([edges - width, edges + width], 1)))
    for share in np.linspace(ASKED, 0, 61):
        limits = np.quantile(apart, 1 - share, axis=0)
        if unsure(scaled, apart, bands, limits).mean() <= ASKED:
            break
    return width, bands, limits
