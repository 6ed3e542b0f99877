"""What each choice of a bundle's members is worth and costs, and which few of them are enough. numpy alone."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import median

import numpy as np
from numpy.typing import NDArray

from model_worker.backbone import CPU, Backbone
from thorax.bundle import Bundle
from training.metrics import Floats, draws_of_patients
from training.report import Report, brief, mean_auc

LOSS = 0.002
"""Of the mean AUC: what few members may lose to all of them."""

GFLOP = {
    "densenet121": 5.7,
    "densenet169": 6.7,
    "densenet201": 8.6,
    "xception": 9.1,
    "inception_resnet_v2": 12.9,
}
"""Of one image at 224 px."""

_ROUNDS, _MOST, _RUNS = 200, 6, 5


@dataclass(frozen=True)
class Cost:
    """What one image takes of a network; `gflop` is None where it is not known."""

    cpu_ms: float
    gflop: float | None


def costs(bundle: Bundle) -> dict[str, Cost]:
    """Each member's cost on this machine, on one thread: the median of five images after one that is not counted."""
    found = {}
    for spec in bundle.manifest.backbones:
        backbone, size = Backbone(bundle, spec, [CPU]), spec.input.size
        image = np.random.default_rng(0).integers(0, 255, (1, size, size), dtype=np.uint8)
        spent = []
        for _ in range(_RUNS + 1):
            began = time.process_time()
            backbone.predict(image)
            spent.append(1000 * (time.process_time() - began))
        known = GFLOP.get(spec.name)
        found[spec.name] = Cost(median(spent[1:]), known and known * (size / 224) ** 2)
    return found


def choices(members: int) -> Iterator[tuple[int, ...]]:
    """Every subset of so many members, the smaller ones first; of more than six, those of one, of two, and of all."""
    sizes = range(1, members + 1) if members <= _MOST else (1, 2, members)
    return (chosen for size in sizes for chosen in combinations(range(members), size))


def compare(
    labels: Floats, probabilities: Floats, patients: NDArray[np.int64], names: Sequence[str]
) -> dict[str, Report]:
    """`brief` of the plain mean of each choice of members ("a + b"), with `mean_auc_95`.

    All choices are scored on the same draws of whole patients, so that their intervals can be compared.
    """
    means = {chosen: probabilities[list(chosen)].mean(0) for chosen in choices(len(names))}
    drawn: dict[tuple[int, ...], list[float]] = {chosen: [] for chosen in means}
    for rows in draws_of_patients(patients, _ROUNDS):
        for chosen, mean in means.items():
            drawn[chosen].append(mean_auc(labels[rows], mean[rows]) or 0.0)
    return {
        " + ".join(names[m] for m in chosen): {
            **brief(labels, mean),
            "mean_auc_95": tuple(map(float, np.percentile(drawn[chosen], [2.5, 97.5]))),
        }
        for chosen, mean in means.items()
    }


def members_of(said: str) -> list[str]:
    """The members of a choice, as `compare` names it."""
    return said.split(" + ")


def few(compared: dict[str, Report], cpu_ms: dict[str, float], goal: float, loss: float = LOSS) -> list[str]:
    """The cheapest choice, in CPU-ms, whose plain mean has a mean AUC of at least `goal - loss`; all members if none has.

    `goal` is best that of the fitted ensemble on patients left out: nothing was fitted for the plain means.
    """
    enough = [members_of(said) for said, row in compared.items() if (row["mean_auc"] or 0.0) >= goal - loss]
    return min(enough, key=lambda names: sum(cpu_ms[name] for name in names), default=list(cpu_ms))
