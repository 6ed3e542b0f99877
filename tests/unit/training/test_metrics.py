"""The figures agree with their definitions."""

import numpy as np
import pytest

from training import metrics


def test_auc_is_the_share_of_pairs_in_order_and_ties_count_half() -> None:
    rng = np.random.default_rng(0)
    labels = (rng.random(80) < 0.3).astype(float)
    scores = np.round(rng.random(80) + 0.3 * labels, 1)
    present, absent = scores[labels == 1], scores[labels == 0]
    pairs = (present[:, None] > absent) + 0.5 * (present[:, None] == absent)
    assert metrics.auc(labels, scores) == pytest.approx(pairs.mean())


def test_auc_of_one_class_is_nan() -> None:
    assert np.isnan(metrics.auc(np.ones(3), np.arange(3.0)))


def test_bootstrap_interval_holds_the_auc_and_widens_when_patients_repeat() -> None:
    rng = np.random.default_rng(1)
    labels = (np.arange(60) % 3 == 0).astype(float)
    scores = rng.random(60) + labels * 0.5
    low, high = metrics.auc_interval(labels, scores)
    assert low < metrics.auc(labels, scores) < high
    tenfold = np.repeat(labels, 10), np.repeat(scores, 10)
    grouped = metrics.auc_interval(*tenfold, groups=np.repeat(np.arange(60), 10))
    single = metrics.auc_interval(*tenfold)
    assert grouped[1] - grouped[0] > 2 * (single[1] - single[0])


def test_average_precision_of_a_worked_example() -> None:
    labels, scores = np.array([1.0, 0, 1, 0]), np.array([0.9, 0.8, 0.7, 0.1])
    assert metrics.average_precision(labels, scores) == pytest.approx((1 + 2 / 3) / 2)


def test_calibration_error_of_a_worked_example() -> None:
    labels, probabilities = np.array([0.0, 0, 1, 1]), np.array([0.05, 0.05, 0.75, 0.75])
    assert metrics.calibration_error(labels, probabilities) == pytest.approx((0.05 + 0.25) / 2)


def test_thresholds_are_reached_by_the_cases_they_were_chosen_for() -> None:
    labels, scores = np.array([0.0, 0, 0, 1, 0, 1]), np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6])
    assert metrics.youden_threshold(labels, scores) == pytest.approx(0.4)
    assert metrics.threshold_at(labels, scores, 0.5) == pytest.approx(0.6)
    sensitivity, specificity = metrics.sensitivity_specificity(labels, scores >= 0.4)
    assert (sensitivity, specificity) == (1.0, 0.75)
