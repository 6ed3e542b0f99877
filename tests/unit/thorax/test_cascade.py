"""The first backbones answer where they are sure; bundles without a cascade ask all."""

from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError
from tests.factories.bundles import make_bundle, make_cascade

from thorax.bundle import Calibration, Manifest
from thorax.cascade import answering, asked_first, still_to_ask
from thorax.ensemble import combine

LOW, HIGH = np.full(5, 0.1), np.full(5, 0.8)
NEAR = np.array([0.65, 0.1, 0.1, 0.1, 0.1])


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    cascade = make_cascade("tiny_0", "tiny_2", sure=True, disagreement=0.2)
    band = ((0.6, 0.7), *cascade.bands[1:])
    cascade = cascade.model_copy(update={"bands": band, "calibration": (Calibration(),) * 5})
    return make_bundle(tmp_path, 3, cascade=cascade).manifest


def test_without_a_cascade_all_are_asked_once(manifest: Manifest) -> None:
    plain = manifest.model_copy(update={"cascade": None})
    names = ("tiny_0", "tiny_1", "tiny_2")
    assert asked_first(plain, full=False) == asked_first(manifest, full=True) == names
    assert still_to_ask(plain, names, dict.fromkeys(names, LOW)) == ()
    assert answering(plain, names) is plain


def test_the_first_answer_by_weights_and_calibration_of_their_own(manifest: Manifest) -> None:
    asked = asked_first(manifest, full=False)
    assert asked == ("tiny_0", "tiny_2")
    answer = combine(answering(manifest, asked), {"tiny_0": LOW, "tiny_2": HIGH})
    assert answer.probabilities == pytest.approx(0.45)  # not 1 : 3, as in the whole
    assert answer.missing == ()
    assert answering(manifest, (*asked, "tiny_1")) is manifest


@pytest.mark.parametrize(
    ("first", "rest"),
    [
        ({"tiny_0": LOW, "tiny_2": LOW}, ()),
        ({"tiny_0": NEAR, "tiny_2": NEAR}, ("tiny_1",)),
        ({"tiny_0": np.full(5, 0.75), "tiny_2": np.full(5, 0.75)}, ()),
        ({"tiny_0": LOW, "tiny_2": HIGH}, ("tiny_1",)),
        ({"tiny_0": LOW}, ("tiny_1",)),
        ({}, ("tiny_1",)),
    ],
    ids=["sure", "near", "above the band", "apart", "one is lost", "all are lost"],
)
def test_the_rest_are_asked_where_the_first_are_not_sure(
    manifest: Manifest, first: dict[str, np.ndarray], rest: tuple[str, ...]
) -> None:
    assert still_to_ask(manifest, ("tiny_0", "tiny_2"), first) == rest


def test_nobody_is_asked_twice(manifest: Manifest) -> None:
    assert still_to_ask(manifest, ("tiny_0", "tiny_1", "tiny_2"), {"tiny_0": LOW, "tiny_2": HIGH}) == ()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"first": ["tiny_0", "tiny_1", "tiny_2"]}, "weights must name"),
        ({"first": ["other"], "weights": {"other": [1.0] * 5}}, "some of the bundle's"),
        ({"weights": {"tiny_0": [1.0] * 5, "tiny_2": [-1.0] * 5}}, "negative"),
        ({"bands": [[0.5, 0.4]] * 5}, "a band must not end"),
    ],
)
def test_a_cascade_that_can_t_be_meant_is_refused(
    manifest: Manifest, change: dict[str, object], said: str
) -> None:
    told = manifest.model_dump(mode="json")
    told["cascade"] |= change
    with pytest.raises(ValidationError, match=said):
        Manifest.model_validate(told)
