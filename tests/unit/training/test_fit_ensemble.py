"""Weights, calibration and thresholds do what they are for."""

import numpy as np
import pytest

from training import metrics
from training.fit_ensemble import apply_platt, fit, platt, weigh, weigh_candidates

rng = np.random.default_rng(5)
LABELS = (rng.random((400, 5)) < 0.25).astype(float)
GOOD = 1 / (1 + np.exp(-(2.0 * LABELS - 1 + rng.normal(0, 1.0, LABELS.shape))))
NOISE = rng.random(LABELS.shape)


def test_weights_sum_to_one_and_prefer_the_better_member() -> None:
    weights = weigh(LABELS, np.stack([GOOD, NOISE]), np.arange(400))
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


def test_operating_points_reach_their_targets_on_their_own_data() -> None:
    fitted = fit(LABELS, np.stack([GOOD, NOISE]), np.arange(400))
    mean = np.einsum("mf,mnf->nf", fitted.weights, np.stack([GOOD, NOISE]))
    for i, (scaling, points) in enumerate(zip(fitted.calibration, fitted.points, strict=True)):
        p = apply_platt(scaling, mean[:, i])
        likely = metrics.sensitivity_specificity(LABELS[:, i], p >= points.likely.threshold)
        unlikely = metrics.sensitivity_specificity(LABELS[:, i], p >= points.unlikely.threshold)
        assert likely[1] >= 0.9
        assert unlikely[0] >= 0.9
        assert likely[0] == pytest.approx(points.likely.sensitivity.value)
        assert (
            points.likely.sensitivity.low <= points.likely.sensitivity.value <= points.likely.sensitivity.high
        )


def test_given_weights_are_kept() -> None:
    kept = np.array([[0.2] * 5, [0.8] * 5])
    assert np.array_equal(fit(LABELS, np.stack([GOOD, NOISE]), np.arange(400), kept).weights, kept)


def test_weights_lie_half_way_to_uniform_at_most() -> None:
    weights = weigh(LABELS, np.stack([GOOD, NOISE]), np.arange(400))
    assert weights.min() >= 0.25


@pytest.mark.slow
def test_ways_of_weighing_are_compared_on_patients_left_out() -> None:
    stacked = np.stack([GOOD, NOISE])
    compared = weigh_candidates(LABELS, stacked, np.arange(400), ["xception", "densenet121"])
    assert set(compared) == {"uniform", "the original's", "fitted (out of fold)"}
    assert compared["fitted (out of fold)"]["mean_auc"] > compared["uniform"]["mean_auc"]


def test_a_finding_of_a_single_patient_can_be_left_out() -> None:
    labels, patients = LABELS.copy(), np.arange(400) // 2
    labels[:, 1] = patients == 0  # whoever leaves this patient out has nothing to fit
    left_out = weigh_candidates(labels, np.stack([GOOD, NOISE]), patients, ["a", "b"])["fitted (out of fold)"]
    assert None not in left_out["auc"].values()
    apart = patients > 0
    weights = weigh(labels[apart], np.stack([GOOD, NOISE])[:, apart], patients[apart])
    assert (weights[:, 1] == 0.5).all()
    assert weights[0, 0] > 0.5


def test_images_of_one_patient_are_weighed_alike() -> None:
    ways = weigh_candidates(LABELS, np.stack([GOOD, NOISE]), np.zeros(400, np.int64), ["a", "b"])
    assert ways["fitted (out of fold)"]["mean_auc"] == pytest.approx(ways["uniform"]["mean_auc"])
