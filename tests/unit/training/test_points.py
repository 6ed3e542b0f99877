"""Thresholds by specificity, their rates, and the scale of maps."""

import numpy as np
import pytest

from training.points import map_scale, normals_called, operating_point, operating_points, specific_threshold

rng = np.random.default_rng(3)
PRESENT = rng.random(500) < 0.1
SCORES = np.clip(rng.normal(0.3, 0.1, 500) + 0.2 * PRESENT, 0, 1)


def test_the_threshold_is_the_lowest_that_keeps_the_specificity() -> None:
    threshold = specific_threshold(PRESENT, SCORES, 0.9)
    absent = SCORES[~PRESENT]
    assert (absent < threshold).mean() >= 0.9
    lower = SCORES[threshold > SCORES].max()
    assert (absent < lower).mean() < 0.9 or PRESENT[lower == SCORES].any()


def test_rates_by_hand() -> None:
    found = operating_point(
        np.array([True, True, False, False]), np.array([0.9, 0.1, 0.8, 0.2]), 0.5, np.arange(4)
    )
    assert found.sensitivity.value == found.specificity.value == 0.5
    assert found.ppv is not None and found.ppv.value == 0.5


def test_a_threshold_that_nothing_reaches_has_a_null_predictive_value() -> None:
    assert operating_point(np.array([True, False]), np.array([0.1, 0.2]), 0.9, np.arange(2)).ppv is None


def test_points_and_scale_of_a_whole_set() -> None:
    labels, scores = np.stack([PRESENT] * 5, 1).astype(float), np.stack([SCORES] * 5, 1)
    points = operating_points(labels, scores, np.arange(500) // 2)
    assert all(p.prevalence == pytest.approx(PRESENT.mean()) for p in points)
    assert all(p.unlikely.threshold <= p.likely.threshold for p in points)
    assert normals_called(labels, scores, points) <= 0.1
    scale = map_scale(labels, scores * 7, "logit")
    cut = scale.cuts[0] * scale.full[0]
    assert (SCORES[~PRESENT] * 7 <= cut).mean() == pytest.approx(0.9, abs=0.01)
