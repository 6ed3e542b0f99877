"""The model of `benchmarks/scale.py`: right where theory knows the answer, with the settings that the manifests have."""

import random
from math import inf
from pathlib import Path

import pytest
import yaml
from benchmarks.scale import Costs, Ideal, Keda, bursts, from_zero, poisson, simulate, steady

K8S = Path(__file__).parents[3] / "k8s"


@pytest.mark.parametrize("load", [0.5, 0.8])
def test_a_queue_of_one_worker_waits_as_long_as_pollaczek_and_khinchine_say(load: float) -> None:
    arrivals = list(poisson(load, 0, 40_000, random.Random(1)))
    run = simulate(arrivals, lambda: 1.0, Ideal(1, inf), 1, 0)
    mean = sum(run.seconds) / len(run.seconds)
    assert mean == pytest.approx(1 + load / (2 * (1 - load)), rel=0.05)


def test_workers_share_what_waits() -> None:
    run = simulate([0.0] * 48, lambda: 1.0, Ideal(3, inf), 3, 0)
    assert run.ended == pytest.approx(16)


def test_keda_is_modelled_as_it_is_set() -> None:
    scaled = next(yaml.safe_load_all((K8S / "base/keda.yaml").read_text()))["spec"]
    workers = yaml.safe_load((K8S / "values/values.yaml").read_text())["workers"]
    policies = scaled["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]["scaleUp"]["policies"]
    assert {each["type"]: (each["value"], each["periodSeconds"]) for each in policies} == {
        "Percent": (Keda.percent, 15),
        "Pods": (4, 15),
    }
    assert (scaled["pollingInterval"], scaled["cooldownPeriod"]) == (Keda.every, Keda.patience)
    assert workers == {"least": Keda.least, "most": Keda.most, "images": Keda.images}


def test_a_burst_waits_at_most_twice_as_long_as_with_an_ideal_scaler() -> None:
    for rate, _, keda, ideal in bursts(Costs(), (0.5, 2, 4)):
        assert keda <= 2 * ideal, rate


def test_workers_come_back_from_zero_and_leave_again() -> None:
    first, left_after = from_zero(Costs())
    assert first <= Keda.every + Costs.pod_start_s + 1
    assert Keda.patience - Keda.every <= left_after <= Keda.patience + 2 * Keda.every


def test_a_third_stays_to_spare() -> None:
    need = steady(Costs(worker_s=0.3), 100)
    assert need["workers"] == 40 and need["databases"] == 1
