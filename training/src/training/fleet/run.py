"""One network's run: as long as its seconds or its epochs last, resumable, weights averaged."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from training.backbones.grid import GridClassifier
from training.backbones.layers import mixed_precision
from training.fleet.corpus import Corpus
from training.fleet.lessons import Batch, Lesson, Shares, Teacher
from training.fleet.views import Views
from training.schedule import one_cycle
from training.targets import Targets

_PREPARING = 3
"""Steps that the clock leaves out: cuDNN prepares in them, for half a minute."""

_JUDGED = (0.45, 0.6, 0.75, 0.85, 0.93, 1.0)
"""Shares of the run after which the averaged weights are judged."""


@dataclass(frozen=True)
class Plan:
    """What one run is told. With `seconds` it ends, and its learning rate falls, by the clock; else after `epochs`."""

    name: str
    size: int
    pool: str = "pcam"
    seconds: float | None = None
    epochs: float = 12
    rate: float = 4e-4
    batch: int = 128
    mixup: float = 0.5
    seed: int = 1
    save_every: float = 120
    shares: Shares = field(default_factory=Shares)


class Run:
    """A network that learns rows of a corpus whose pixels, uint8 [N, 256, 256], lie on the device."""

    def __init__(
        self, plan: Plan, corpus: Corpus, rows: NDArray[np.int64], pixels: Tensor, network: GridClassifier, teacher: Teacher | None
    ) -> None:  # fmt: skip
        self.plan, self.rows, self.pixels, self.teacher = plan, rows, pixels, teacher
        self.device = pixels.device
        self.chances = Targets(corpus.labels[rows], corpus.side[rows]).chances()
        network.prior.copy_(torch.from_numpy(priors(corpus, rows, self.chances)))
        lesson = Lesson(network, corpus.side.shape[1], plan.shares)
        self.lesson = lesson.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.views, self.step, self.spent, self.judged = Views(), 0, 0.0, 0
        self.best_auc, self.best = 0.0, dict[str, Tensor]()
        self.facts = [
            torch.from_numpy(np.asarray(a, np.float32)).to(self.device)
            for a in (corpus.labels, corpus.side, corpus.view)
        ]
        self.optimiser = _optimiser(self.lesson, plan.rate, self.device.type == "cuda")
        self.average = {key: value.clone() for key, value in self.lesson.state_dict().items()}
        numbers = [k for k, v in self.average.items() if v.is_floating_point()]
        now = self.lesson.state_dict()
        self._followed = [self.average[k] for k in numbers], [now[k] for k in numbers]

    def train(
        self, path: Path | None = None, say: Callable[[str], None] = print, judge: Callable[[GridClassifier], float] | None = None
    ) -> GridClassifier:  # fmt: skip
        """Run to the end and give back the network with averaged weights: the last ones, or with `judge` the best of
        those of some points of the second half. `path` is where the run can be resumed from."""
        if path and path.exists():
            self._resume(torch.load(path, map_location=self.device, weights_only=True))
        saved = before = time.monotonic()
        self.lesson.train()
        losses: list[Tensor] = []
        while self.progress < 1:
            losses.append(self._one_step())
            if len(losses) == 50:
                said = f"loss {torch.stack(losses).mean():.4f}, {self.progress:.0%}"  # waits for the device
                say(f"{self.plan.name}: step {self.step}, {said}")
                losses = []
            now = time.monotonic()
            self.spent += now - before if self.step > _PREPARING else 0
            before = now
            if judge and self.judged < len(_JUDGED) and self.progress >= _JUDGED[self.judged]:
                self.judged += 1
                self._keep_if_best(judge, say)
            if path and time.monotonic() - saved > self.plan.save_every:
                self.save(path)
                saved = time.monotonic()
        self.lesson.load_state_dict(self.best or self.average)
        return self.lesson.network.eval()

    @property
    def progress(self) -> float:
        """0 to 1."""
        if self.plan.seconds is not None:
            return min(1.0, self.spent / self.plan.seconds)
        return min(1.0, self.step / max(1, int(len(self.rows) * self.plan.epochs) // self.plan.batch))

    def _keep_if_best(self, judge: Callable[[GridClassifier], float], say: Callable[[str], None]) -> None:
        now = {key: value.clone() for key, value in self.lesson.state_dict().items()}
        self.lesson.load_state_dict(self.average)
        auc = judge(self.lesson.network.eval())
        say(f"{self.plan.name}: step {self.step}, validation AUC {auc:.4f}")
        if auc > self.best_auc:
            self.best_auc = auc
            self.best = {key: value.clone() for key, value in self.average.items()}
        self.lesson.load_state_dict(now)
        self.lesson.train()

    def _loss(self, step: int) -> Tensor:
        plan = self.plan
        rng = np.random.default_rng((plan.seed, step))
        drawn = self.rows[rng.choice(len(self.rows), plan.batch, p=self.chances)]
        rows = torch.from_numpy(drawn).to(self.device, non_blocking=True)
        size = max(plan.size, self.teacher.size if self.teacher else 0)
        batch = Batch(*self.views(self.pixels[rows], size, rng), *(fact[rows] for fact in self.facts))
        if rng.random() < plan.mixup:
            batch = batch.mixed(
                float(rng.beta(0.4, 0.4)), torch.from_numpy(rng.permutation(plan.batch)).to(self.device)
            )
        with mixed_precision(self.device):
            return self.lesson.loss(batch, plan.size, self.teacher)

    def _one_step(self) -> Tensor:
        for group in self.optimiser.param_groups:
            group["lr"] = self.plan.rate * one_cycle(self.progress, 0.1)
        loss = self._loss(self.step)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.lesson.parameters(), 5.0)
        self.optimiser.step()
        self.step += 1
        self._follow()
        return loss.detach()

    @torch.no_grad()
    def _follow(self) -> None:
        """Move the exponential average of weights (Polyak, Juditsky 1992); quickly at first."""
        decay = min(0.996, (1 + self.step) / (10 + self.step))
        torch._foreach_lerp_(*self._followed, 1 - decay)

    def save(self, path: Path) -> None:
        """Write beside, then rename: a killed run leaves the old file."""
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part")
        torch.save({"step": self.step, "spent": self.spent, "judged": self.judged, "lesson": self.lesson.state_dict(), "average": self.average, "best": self.best, "best_auc": self.best_auc, "optimiser": self.optimiser.state_dict()}, part)  # fmt: skip
        part.replace(path)

    def _resume(self, saved: dict[str, Any]) -> None:
        self.step, self.spent, self.judged = saved["step"], saved["spent"], saved["judged"]
        self.best, self.best_auc = saved["best"], saved["best_auc"]
        self.lesson.load_state_dict(saved["lesson"])
        self.optimiser.load_state_dict(saved["optimiser"])
        for key, value in saved["average"].items():
            self.average[key].copy_(value)


def priors(corpus: Corpus, rows: NDArray[np.int64], chances: NDArray[np.float64]) -> NDArray[np.float32]:
    """The log odds [2, 5] of each finding among PA and AP films as they are drawn; of all where no view is known."""
    labels, view = np.nan_to_num(corpus.labels[rows]), corpus.view[rows]
    odds = np.empty((2, labels.shape[1]), np.float32)
    for row, code in enumerate((0, 1)):
        of = view == code if (view == code).any() else np.ones(len(rows), bool)
        share = np.average(labels[of], axis=0, weights=chances[of])
        share = np.clip(share, 2 / (of.sum() + 4), 1 - 2 / (of.sum() + 4))
        odds[row] = np.log(share / (1 - share))
    return odds


def _optimiser(module: nn.Module, rate: float, fused: bool) -> torch.optim.Optimizer:
    """AdamW; weights decay, biases and batch norms do not."""
    weights = [p for p in module.parameters() if p.ndim > 1]
    others = [p for p in module.parameters() if p.ndim <= 1]
    groups = [{"params": weights, "weight_decay": 2e-2}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, rate, fused=fused)
