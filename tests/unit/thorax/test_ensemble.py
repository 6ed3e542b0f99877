"""The weighted ensemble against figures worked out by hand."""

from pathlib import Path

import numpy as np
import pytest
from tests.factories.bundles import make_bundle

from thorax.bundle import Calibration, Manifest
from thorax.ensemble import combine, study, weights_of
from thorax.errors import Code, CodedError

A = np.array([0.2, 0.4, 0.6, 0.8, 1.0])
B = np.array([0.6, 0.4, 0.2, 0.0, 0.0])


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    return make_bundle(tmp_path, ["a", "b"], weights={"a": [1, 1, 1, 1, 0], "b": [3, 1, 0, 1, 2]}).manifest


def test_weighted_average_per_finding(manifest: Manifest) -> None:
    result = combine(manifest, {"a": A, "b": B})
    np.testing.assert_allclose(result.probabilities, [0.5, 0.4, 0.6, 0.4, 0.0], atol=1e-5)
    assert result.positive.tolist() == [True, False, True, False, False]
    # sqrt(1/4·0.3² + 3/4·0.1²), agreement, one vote only, sqrt(1/2·0.4² + 1/2·0.4²), one vote only
    np.testing.assert_allclose(result.disagreement, [np.sqrt(0.03), 0, 0, 0.4, 0], atol=1e-5)
    assert result.missing == ()


def test_order_of_the_mapping_does_not_matter(manifest: Manifest) -> None:
    one, other = combine(manifest, {"a": A, "b": B}), combine(manifest, {"b": B, "a": A})
    assert one.probabilities.tolist() == other.probabilities.tolist()


def test_calibration_comes_after_the_average(manifest: Manifest) -> None:
    calibration = (Calibration(a=1, b=1), *[Calibration()] * 4)
    result = combine(manifest.model_copy(update={"calibration": calibration}), {"a": A, "b": B})
    assert result.probabilities[0] == pytest.approx(1 / (1 + np.exp(-1)))
    a, b = (calibration[0](p) for p in (0.2, 0.6))  # comparable with the probability, as both are calibrated
    spread = 0.25 * (a - result.probabilities[0]) ** 2 + 0.75 * (b - result.probabilities[0]) ** 2
    assert result.disagreement[0] == pytest.approx(np.sqrt(spread))


@pytest.mark.parametrize("names", [("a",), (), ("a", "b", "c")])
def test_the_exact_backbone_set_is_asserted(manifest: Manifest, names: tuple[str, ...]) -> None:
    with pytest.raises(CodedError) as caught:
        combine(manifest, dict.fromkeys(names, A))
    assert caught.value.code is Code.INTERNAL


def test_a_degraded_ensemble_renormalises_and_says_so(manifest: Manifest) -> None:
    result = combine(manifest, {"b": B}, allow_missing=True)
    np.testing.assert_allclose(result.probabilities, B, atol=1e-5)  # third finding: b has no weight, uniform
    assert result.missing == ("a",)
    assert weights_of(manifest, ["b"]).tolist() == [[1.0] * 5]


def test_a_degraded_ensemble_needs_at_least_one_backbone(manifest: Manifest) -> None:
    with pytest.raises(CodedError):
        combine(manifest, {}, allow_missing=True)


@pytest.mark.parametrize("bad", [np.full(5, np.nan), np.full(5, 1.5), np.zeros(4)])
def test_an_invalid_prediction_is_refused(manifest: Manifest, bad: np.ndarray) -> None:
    with pytest.raises(CodedError):
        combine(manifest, {"a": A, "b": bad})


def test_a_study_takes_each_findings_highest_image(manifest: Manifest) -> None:
    frontal = combine(manifest, {"a": A, "b": A})
    lateral = combine(manifest, {"b": B}, allow_missing=True)
    whole = study([frontal, lateral])
    np.testing.assert_allclose(whole.probabilities, [0.6, 0.4, 0.6, 0.8, 1.0], atol=1e-5)
    assert whole.positive.tolist() == [True, False, True, True, True]
    assert whole.missing == ("a",)


def test_a_study_without_images_is_a_coded_error() -> None:
    with pytest.raises(CodedError) as caught:
        study([])
    assert caught.value.code is Code.NO_USABLE_IMAGE
