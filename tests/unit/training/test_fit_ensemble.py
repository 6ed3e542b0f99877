"""Weights, calibration and thresholds do what they are for."""

import numpy as np

from training import metrics
from training.fit_ensemble import apply_platt, fit, platt, weigh, weigh_candidates

rng = np.random.default_rng(5)
LABELS = (rng.random((400, 5)) < 0.25).astype(float)
GOOD = 1 / (1 + np.exp(-(2.0 * LABELS - 1 + rng.normal(0, 1.0, LABELS.shape))))
NOISE = rng.random(LABELS.shape)


def test_weights_sum_to_one_and_prefer_the_better_member() -> None:
    weights = weigh(LABELS, np.stack([GOOD, NOISE]))
    assert np.allclose(weights.sum(0), 1)
    assert (weights >= 0).all()
    assert (weights[0] > weights[1]).all()


def test_calibration_makes_shifted_probabilities_honest() -> None:
    too_high = apply_platt(platt(LABELS[:, 0], GOOD[:, 0]), GOOD[:, 0])
    shifted = 1 / (1 + np.exp(-(np.log(GOOD[:, 0] / (1 - GOOD[:, 0])) + 2)))
    scaled = apply_platt(platt(LABELS[:, 0], shifted), shifted)
    assert metrics.calibration_error(LABELS[:, 0], shifted) > 0.2
    assert metrics.calibration_error(LABELS[:, 0], scaled) < 0.05
    assert np.allclose(scaled, too_high, atol=1e-3)


def test_thresholds_lie_between_zero_and_one_and_can_be_set_by_sensitivity() -> None:
    fitted = fit(LABELS, np.stack([GOOD, NOISE]), sensitivity=0.9)
    mean = np.einsum("mf,mnf->nf", fitted.weights, np.stack([GOOD, NOISE]))
    for i, (scaling, threshold) in enumerate(zip(fitted.calibration, fitted.thresholds, strict=True)):
        called = apply_platt(scaling, mean[:, i]) >= threshold
        assert metrics.sensitivity_specificity(LABELS[:, i], called)[0] >= 0.9


def test_ways_of_weighing_are_compared_on_patients_left_out() -> None:
    stacked = np.stack([GOOD, NOISE])
    compared = weigh_candidates(LABELS, stacked, np.arange(400), ["xception", "densenet121"])
    assert set(compared) == {"uniform", "the original's", "fitted (out of fold)"}
    assert compared["fitted (out of fold)"]["mean_auc"] > compared["uniform"]["mean_auc"]
