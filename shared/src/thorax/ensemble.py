"""The weighted ensemble: from the backbones' probabilities to one answer per image, and from images to a study. Pure functions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from thorax.bundle import Manifest
from thorax.errors import Code, CodedError
from thorax.findings import FINDINGS

FloatArray = NDArray[np.float64]
FIVE = len(FINDINGS)


@dataclass(frozen=True)
class Ensemble:
    """The ensemble's answer for one image or a study; every array is `[5]` in canonical order.

    `probabilities`: float64, calibrated, 0..1. `positive`: bool, probability ≥ the manifest's threshold.
    `disagreement`: float64, weighted standard deviation of the backbones' probabilities, each calibrated as the ensemble's is.
    `missing`: backbones of the manifest that took no part, in its order; empty unless degraded.
    """

    probabilities: FloatArray
    positive: NDArray[np.bool_]
    disagreement: FloatArray
    missing: tuple[str, ...] = ()


def weights_of(manifest: Manifest, names: Sequence[str]) -> FloatArray:
    """Weights `[len(names), 5]` of these backbones, each finding's column summing to 1.

    A finding that only absent backbones have a weight for falls back to equal weights.
    """
    raw = np.array([manifest.weights[name] for name in names], dtype=np.float64)
    sums = raw.sum(axis=0)
    return np.where(sums > 0, raw / np.where(sums > 0, sums, 1.0), 1.0 / len(names))


def combine(
    manifest: Manifest, probabilities: Mapping[str, NDArray[np.floating]], *, allow_missing: bool = False
) -> Ensemble:
    """Weighted average of one image's predictions, `{backbone: [5] in canonical order}`, then calibration.

    Raises CodedError(INTERNAL) if the backbones are not exactly the manifest's (fewer, but not none, are
    accepted with `allow_missing`), or if a prediction is not five numbers between 0 and 1.
    """
    names, missing = present(manifest, probabilities, allow_missing=allow_missing)
    p = np.stack([_checked(name, probabilities[name]) for name in names])
    weights = weights_of(manifest, names)
    mean = (weights * p).sum(axis=0)
    *each, calibrated = [
        np.array([scale(float(value)) for scale, value in zip(manifest.calibration, five, strict=True)])
        for five in (*p, mean)
    ]
    disagreement = np.sqrt((weights * (np.stack(each) - calibrated) ** 2).sum(axis=0))
    return Ensemble(calibrated, calibrated >= np.array(manifest.thresholds), disagreement, missing)


def study(ensembles: Sequence[Ensemble]) -> Ensemble:
    """One answer for a study: per finding, the image with the highest probability.

    CheXpert's convention for studies of several views (Irvin et al. 2019, section 5). A finding's disagreement
    is that of the image which decided it; a backbone missing for one image is missing for the study.
    """
    if not ensembles:
        raise CodedError(Code.NO_USABLE_IMAGE)
    probabilities = np.stack([e.probabilities for e in ensembles])
    decisive = probabilities.argmax(axis=0), np.arange(FIVE)
    return Ensemble(
        probabilities[decisive],
        np.stack([e.positive for e in ensembles])[decisive],
        np.stack([e.disagreement for e in ensembles])[decisive],
        tuple(dict.fromkeys(name for e in ensembles for name in e.missing)),
    )


def present(
    manifest: Manifest, by_backbone: Mapping[str, object], *, allow_missing: bool
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The manifest's backbones that have predicted and those that have not. Raises INTERNAL if that is not allowed."""
    expected = [spec.name for spec in manifest.backbones]
    names = tuple(name for name in expected if name in by_backbone)
    missing = tuple(name for name in expected if name not in by_backbone)
    unknown = sorted(set(by_backbone) - set(expected))
    if unknown:
        raise CodedError(Code.INTERNAL, f"Unknown backbones made predictions: {', '.join(unknown)}.")
    if not names or (missing and not allow_missing):
        raise CodedError(Code.INTERNAL, f"Predictions are missing from: {', '.join(missing)}.")
    return names, missing


def _checked(name: str, probabilities: NDArray[np.floating]) -> FloatArray:
    p = np.asarray(probabilities, dtype=np.float64)
    if p.shape != (FIVE,) or not ((p >= 0) & (p <= 1)).all():  # NaN compares false
        raise CodedError(Code.INTERNAL, f"The prediction of {name} is not five numbers between 0 and 1.")
    return p
