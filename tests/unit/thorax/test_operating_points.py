"""Bands, multiples of the average, and a site's own prevalence."""

import pytest
from pydantic import ValidationError

from thorax.operating_points import FindingPoints, MapScale, OperatingPoint, Rate, Verdict


def at(threshold: float) -> OperatingPoint:
    return OperatingPoint(threshold=threshold, sensitivity=Rate(value=0.5), specificity=Rate(value=0.9))


def points(unlikely: float = 0.02, likely: float = 0.1) -> FindingPoints:
    return FindingPoints(
        prevalence=0.05, images=1000, present=50, likely=at(likely), unlikely=at(unlikely), balanced=at(0.05)
    )


@pytest.mark.parametrize(
    ("probability", "verdict"),
    [
        (0.1, Verdict.LIKELY),
        (0.0999, Verdict.UNCERTAIN),
        (0.02, Verdict.UNCERTAIN),
        (0.0199, Verdict.UNLIKELY),
    ],
)
def test_three_bands(probability: float, verdict: Verdict) -> None:
    assert points().verdict(probability) is verdict


def test_times_the_average() -> None:
    assert points().times_the_average(0.2) == pytest.approx(4)


def test_the_average_has_a_likelihood_ratio_of_one_and_moves_with_the_prevalence() -> None:
    assert points().likelihood_ratio(0.05) == pytest.approx(1)
    assert points().at_prevalence(0.05, 0.2) == pytest.approx(0.2)
    assert points().at_prevalence(0.3, 0.05) == pytest.approx(0.3)


def test_a_prevalence_is_a_share() -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        points().at_prevalence(0.3, 1.0)


def test_the_bands_must_be_in_order() -> None:
    with pytest.raises(ValidationError, match="must not lie above"):
        points(unlikely=0.2)


def test_a_scale_of_maps_needs_a_full_value() -> None:
    with pytest.raises(ValidationError, match="above 0"):
        MapScale(unit="logit", full=(1, 1, 1, 1, 0), cuts=(0.5,) * 5)
    with pytest.raises(ValidationError):
        MapScale(unit="volts", full=(1,) * 5, cuts=(0.5,) * 5)
