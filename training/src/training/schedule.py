"""How a run's steps are laid out: sizes, epochs, learning rate and the average of weights."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Phase:
    """One epoch, or a part of one, at one image size."""

    size: int
    steps: int


def parse_plan(plan: str, images: int, batch: int) -> list[Phase]:
    """`128:2,160:1.5` = two epochs at 128 px, then one and a half at 160 px. ValueError for anything else."""
    phases = []
    for part in plan.split(","):
        try:
            size, epochs = part.split(":")
            left, edge = float(epochs), int(size)
        except ValueError as error:
            raise ValueError(f"The plan {plan!r} is not of the form SIZE:EPOCHS,SIZE:EPOCHS.") from error
        while left > 1e-6:
            phases.append(Phase(edge, max(1, int(images * min(1.0, left)) // batch)))
            left -= 1
    return phases


def one_cycle(progress: float, warm_up: float = 0.2) -> float:
    """Share of the peak rate at `progress` 0..1: up in a line, down in a half cosine (Smith 2018)."""
    if progress < warm_up:
        return 0.05 + 0.95 * progress / warm_up
    return cosine((progress - warm_up) / (1 - warm_up))


def cosine(progress: float) -> float:
    """Share of the peak rate at `progress` 0..1 (Loshchilov, Hutter 2017)."""
    return 0.5 * (1 + math.cos(math.pi * progress))


SCHEDULES = {"one-cycle": one_cycle, "cosine": cosine}


def follow(average: dict[str, Tensor], now: dict[str, Tensor], step: int) -> None:
    """Move the exponential average of weights towards those of now; quickly at first (Polyak averaging)."""
    decay = min(0.997, (1 + step) / (10 + step))
    with torch.no_grad():
        for key, value in now.items():
            if value.is_floating_point():
                average[key].lerp_(value, 1 - decay)
            else:
                average[key].copy_(value)
