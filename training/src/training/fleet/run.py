"""One network's run: as many steps as fit its seconds (or its epochs), resumable, weights averaged."""

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
from training.fleet.corpus import Corpus
from training.fleet.lessons import Batch, Lesson, Shares, Teacher
from training.fleet.views import Views
from training.schedule import one_cycle
from training.targets import Targets

LAYOUTS = (torch.channels_last, torch.contiguous_format)
_QUICKEST: list[torch.memory_format] = []
_MEASURED = 12
"""Steps after which the length of the run is known: from the sixth on they are timed."""


@dataclass(frozen=True)
class Plan:
    """What one run is told. With `seconds` it takes as many steps as fit, at most `epochs`."""

    name: str
    size: int
    pool: str = "pcam"
    seconds: float | None = None
    epochs: float = 12
    rate: float = 6e-4
    batch: int = 128
    teacher_size: int = 192
    mixup: float = 0.3
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
        # Trying out each convolution takes half a minute for the DenseNets' hundreds of shapes.
        torch.backends.cudnn.benchmark = plan.name == "xception"
        self.chances = Targets(corpus.labels[rows], corpus.side[rows]).chances()
        network.prior.copy_(torch.from_numpy(priors(corpus, rows, self.chances)))
        lesson = Lesson(network, corpus.side.shape[1], teacher is not None, plan.shares)
        self.lesson = lesson.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.views, self.step, self.total = Views(), 0, 0
        self.facts = [torch.from_numpy(np.asarray(a, np.float32)).to(self.device) for a in (corpus.labels, corpus.side, corpus.view)]
        self.optimiser = _optimiser(self.lesson, plan.rate, self.device.type == "cuda")
        if self.device.type == "cuda" and plan.name == "xception":
            self._choose_layout()
        self.average = {key: value.clone() for key, value in self.lesson.state_dict().items()}
        numbers = [k for k, v in self.average.items() if v.is_floating_point()]
        now = self.lesson.state_dict()
        self._followed = [self.average[k] for k in numbers], [now[k] for k in numbers]

    def train(self, path: Path | None = None, say: Callable[[str], None] = print) -> GridClassifier:
        """Run to the end and give back the network with averaged weights. `path` is where it can be resumed from."""
        if path and path.exists():
            self._resume(torch.load(path, map_location=self.device, weights_only=True))
        saved = began = time.monotonic()
        limit = max(1, int(len(self.rows) * self.plan.epochs) // self.plan.batch)
        self.total = self.total or (limit if self.plan.seconds is None else _MEASURED)
        self.lesson.train()
        losses: list[Tensor] = []
        timed = 0.0
        while self.step < self.total:
            losses.append(self._one_step())
            if self.plan.seconds and self.total == _MEASURED and self.step in (5, _MEASURED):
                _wait(self.device)
                timed, before = time.monotonic(), timed
                if self.step == _MEASURED:
                    pace = (timed - before) / (_MEASURED - 5)
                    left = self.plan.seconds - (timed - began)
                    self.total = min(limit, max(_MEASURED + 1, self.step + int(left / pace)))
                    say(f"{self.plan.name}: {pace * 1e3:.0f} ms a step, {self.total} steps of {self.plan.batch}")
            if len(losses) == 100 or self.step == self.total:
                say(f"{self.plan.name}: step {self.step}/{self.total}, loss {torch.stack(losses).mean():.4f}, {time.monotonic() - began:.0f} s")
                losses = []
            if path and time.monotonic() - saved > self.plan.save_every:
                self.save(path)
                saved = time.monotonic()
        network = self.lesson.network
        self.lesson.load_state_dict(self.average)
        return network.eval()

    def _choose_layout(self) -> None:
        """Channels last or first, whichever is quicker here: depthwise convolutions differ from device to device."""
        if not _QUICKEST:
            times = {layout: self._time(layout) for layout in LAYOUTS}
            _QUICKEST.append(min(times, key=lambda layout: times[layout]))
            print({str(layout): f"{seconds:.3f} s a step" for layout, seconds in times.items()}, flush=True)
        self.lesson.to(memory_format=_QUICKEST[0])  # type: ignore[call-overload]
        self.optimiser.zero_grad(set_to_none=True)

    def _time(self, layout: torch.memory_format) -> float:
        self.lesson.to(memory_format=layout)  # type: ignore[call-overload]
        for i in range(5):
            if i == 2:
                _wait(self.device)
                began = time.monotonic()
            self._loss(0).backward()
        _wait(self.device)
        return (time.monotonic() - began) / 3

    def _loss(self, step: int) -> Tensor:
        plan = self.plan
        rng = np.random.default_rng((plan.seed, step))
        drawn = self.rows[rng.choice(len(self.rows), plan.batch, p=self.chances)]
        rows = torch.from_numpy(drawn).to(self.device, non_blocking=True)
        size = max(plan.size, plan.teacher_size if self.teacher else 0)
        batch = Batch(self.views(self.pixels[rows], size, rng), *(fact[rows] for fact in self.facts))
        if rng.random() < plan.mixup:
            batch = batch.mixed(float(rng.beta(0.4, 0.4)), torch.from_numpy(rng.permutation(plan.batch)).to(self.device))
        with torch.autocast(self.device.type, torch.bfloat16):
            return self.lesson.loss(batch, plan.size, self.teacher, plan.teacher_size)

    def _one_step(self) -> Tensor:
        for group in self.optimiser.param_groups:
            group["lr"] = self.plan.rate * one_cycle(self.step / max(self.total, 100), 0.1)
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
        torch.save({"step": self.step, "total": self.total, "lesson": self.lesson.state_dict(), "average": self.average, "optimiser": self.optimiser.state_dict()}, part)  # fmt: skip
        part.replace(path)

    def _resume(self, saved: dict[str, Any]) -> None:
        self.step, self.total = saved["step"], saved["total"]
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


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()
