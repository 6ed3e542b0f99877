"""How a tenant reads probabilities: points, own thresholds, another prevalence."""

import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from thorax.bundle import Manifest
from thorax.findings import FINDINGS, Finding
from thorax.operating_points import Verdict, moved_prior
from thorax.reading import AS_THE_BUNDLE, Point, Reading, read

MANIFEST = Manifest.model_validate(
    json.loads((Path(__file__).parents[3] / "models/default/manifest.json").read_text())
)
EDEMA = Finding.EDEMA
POINTS = (MANIFEST.operating_points or ())[FINDINGS.index(EDEMA)]
GRID = [i / 200 for i in range(1, 200)]


def test_without_a_choice_it_is_as_the_bundle_says() -> None:
    for p in GRID:
        found = read(MANIFEST, AS_THE_BUNDLE, EDEMA, p)
        assert (found.probability, found.point, found.prevalence) == (p, Point.LIKELY, POINTS.prevalence)
        assert found.verdict is MANIFEST.verdict(EDEMA, p)
        assert found.positive == (p >= MANIFEST.thresholds[FINDINGS.index(EDEMA)])


def test_moving_the_prior_is_bayes_rule() -> None:
    """By hand: 0.5 at a prevalence of 0.5 is a likelihood ratio of 1, so it becomes the other prevalence."""
    assert moved_prior(0.5, 0.5, 0.1) == pytest.approx(0.1)
    assert moved_prior(0.8, 0.5, 0.2) == pytest.approx(0.5)  # ratio 4, odds before 1:4
    assert moved_prior(moved_prior(0.3, 0.2, 0.01), 0.01, 0.2) == pytest.approx(0.3)
    with pytest.raises(ValueError, match="between 0 and 1"):
        moved_prior(0.5, 0.5, 1)


def test_a_prevalence_moves_every_number_and_no_verdict() -> None:
    rare = Reading(prevalence={EDEMA: 0.004})
    for p in GRID:
        before, after = read(MANIFEST, AS_THE_BUNDLE, EDEMA, p), read(MANIFEST, rare, EDEMA, p)
        assert after.probability < before.probability and after.threshold < before.threshold
        assert (after.verdict, after.point, after.prevalence) == (before.verdict, Point.LIKELY, 0.004)
    other = read(MANIFEST, rare, Finding.CARDIOMEGALY, 0.3)
    assert other == read(MANIFEST, AS_THE_BUNDLE, Finding.CARDIOMEGALY, 0.3)


@pytest.mark.parametrize("point", [Point.BALANCED, Point.UNLIKELY])
def test_a_point_says_from_where_on_a_finding_is_positive(point: Point) -> None:
    threshold = getattr(POINTS, point).threshold
    for p in GRID:
        found = read(MANIFEST, Reading(point=point), EDEMA, p)
        assert (found.threshold, found.point, found.positive) == (threshold, point, p >= threshold)
        assert found.positive or (found.verdict is Verdict.UNLIKELY) == (p < POINTS.unlikely.threshold)


def test_an_own_threshold_is_for_the_own_prevalence() -> None:
    reading = Reading(thresholds={EDEMA: 0.02}, prevalence={EDEMA: 0.01})
    for p in GRID:
        found = read(MANIFEST, reading, EDEMA, p)
        assert (found.point, found.threshold) == (Point.OWN, 0.02)
        assert found.positive == (moved_prior(p, POINTS.prevalence, 0.01) >= 0.02)


def test_a_bundle_without_points_takes_own_thresholds_only() -> None:
    old = MANIFEST.model_copy(update={"operating_points": None})
    reading = Reading(point=Point.BALANCED, thresholds={EDEMA: 0.7}, prevalence=dict.fromkeys(FINDINGS, 0.5))
    found = read(old, reading, EDEMA, 0.6)
    assert (found.probability, found.verdict, found.point, found.prevalence) == (
        0.6,
        Verdict.UNLIKELY,
        Point.OWN,
        None,
    )
    assert read(old, reading, Finding.CARDIOMEGALY, 0.6).point is Point.LIKELY


@pytest.mark.parametrize(
    "choice",
    [
        {"point": "own"},
        {"point": "best"},
        {"thresholds": {"edema": 1}},
        {"prevalence": {"edema": 0}},
        {"more": 1},
    ],
)
def test_an_impossible_choice_is_refused(choice: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Reading.model_validate(choice)
