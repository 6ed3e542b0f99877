"""Every choice of members is scored beside its cost, and the cheapest that loses little is found."""

from pathlib import Path

import numpy as np
import pytest
from tests.factories.bundles import make_bundle

from training.subsets import choices, compare, costs, few

pytestmark = pytest.mark.slow

rng = np.random.default_rng(5)
LABELS = (rng.random((300, 5)) < 0.3).astype(float)
GOOD = 1 / (1 + np.exp(-(3.0 * LABELS - 1 + rng.normal(0, 1.0, LABELS.shape))))
NOISE, MORE = rng.random((2, 300, 5))
PATIENTS = np.arange(300) // 2


def test_every_choice_of_a_few_members_is_compared() -> None:
    assert len(list(choices(5))) == 31
    assert len(list(choices(8))) == 8 + 28 + 1


def test_choices_have_intervals_that_draw_the_same_patients() -> None:
    every = compare(LABELS, np.stack([GOOD, NOISE, GOOD]), PATIENTS, ["a", "b", "c"])
    assert list(every) == ["a", "b", "c", "a + b", "a + c", "b + c", "a + b + c"]
    assert every["a"]["mean_auc_95"] == every["c"]["mean_auc_95"] == every["a + c"]["mean_auc_95"]
    low, high = every["a"]["mean_auc_95"]
    assert low < every["a"]["mean_auc"] < high
    assert every["a + b + c"]["mean_auc"] < every["a"]["mean_auc"]


def test_the_cheapest_choice_that_loses_little_is_enough() -> None:
    every = compare(LABELS, np.stack([GOOD, NOISE, MORE]), PATIENTS, ["a", "b", "c"])
    cpu_ms = {"a": 5.0, "b": 1.0, "c": 1.0}
    assert few(every, cpu_ms, every["a"]["mean_auc"]) == ["a"]
    assert few(every, cpu_ms, every["b"]["mean_auc"], loss=0.0) in (["b"], ["c"])
    assert few(every, cpu_ms, 2.0) == ["a", "b", "c"]


def test_what_a_member_costs_is_measured(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path, ["xception", "other"])
    found = costs(bundle)
    assert list(found) == list(bundle.names)
    assert all(cost.cpu_ms >= 0 for cost in found.values())
    assert found["xception"].gflop == pytest.approx(9.1 * (64 / 224) ** 2)
    assert found["other"].gflop is None
