"""`python -m training.fleet`: compares heads, trains a teacher and then all five networks, within a number of minutes.

One process, no data loader: all pixels lie on the device as uint8. Called again it goes on where it was stopped. Starting
weights are graphs of a bundle (`training.fleet.reopen`), or arrive later in the same folder while others train.
"""

import argparse
import json
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from training.backbones.grid import GridClassifier, POOLS
from training.fleet import judge
from training.fleet.corpus import Corpus, load
from training.fleet.lessons import Teacher
from training.fleet.parcel import pack, unpack
from training.fleet.reopen import reopened
from training.fleet.run import Plan, Run
from training.fleet.views import shrink

AWAY = ("jrzech/reproduce-chexnet", "muhammedtalo/COVID-19")
"""Sources left out of the second way to cut: all of 1024 px as published, 41 % AP films."""

_ORDER = ("xception", "densenet121", "densenet169", "densenet201", "inception_resnet_v2")
SIZES = {"xception": 224, "densenet121": 224, "densenet169": 160, "densenet201": 160, "inception_resnet_v2": 160}
"""Input edges: the two that see most finely pay 1.33 times the FLOP of all five at 160 px."""

TIME = {"heads": 0.11, "teacher": 0.12, "xception": 0.19, "densenet121": 0.15, "densenet169": 0.12, "densenet201": 0.14, "inception_resnet_v2": 0.17}
"""Shares of the minutes."""


@dataclass
class Fleet:
    """A corpus on the device, where starting weights are, and what is written where."""

    corpus: Corpus
    start: Path
    out: Path
    plan: Plan
    minutes: float | None
    patience: float = 180

    def __post_init__(self) -> None:
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.pixels = torch.from_numpy(np.asarray(self.corpus.pixels)).to(self.device)
        self.began = time.monotonic()
        torch.set_float32_matmul_precision("high")

    def heads(self) -> str:
        """Train the pools on one backbone without the sources of AWAY; the best by the worse of two AUCs."""
        path = self.out / "heads.json"
        if not path.exists():
            kept, away = self.corpus.away(AWAY)
            val = self.corpus.rows("val")
            val = val[~np.isin(self.corpus.source[val], AWAY)]
            found = {pool: self._head(pool, kept, val, away) for pool in POOLS}
            path.write_text(json.dumps(found, indent=1))
        found = json.loads(path.read_text())
        best = max(found, key=lambda pool: _worse(found[pool]))
        near = [pool for pool in found if _worse(found[pool]) > _worse(found[best]) - 0.005]
        pool = max(near, key=lambda p: found[p]["deletion"]["at_maximum"] - found[p]["deletion"]["elsewhere"])
        self.say(f"heads: {best} is best by AUC; of {near}, {pool} goes most by the place it names")
        return pool

    def _head(self, pool: str, kept: Any, val: Any, away: Any) -> dict[str, Any]:
        plan = self._timed(replace(self.plan, name="xception", size=192, pool=pool, epochs=4), "heads", 1 / len(POOLS))
        network = Run(plan, self.corpus, kept, self.pixels, self._start("xception", pool), None).train(say=self.say)
        row = {
            "val": judge.figures(self.corpus, val, judge.predict(network, self.pixels, val, 192)),
            "away": judge.figures(self.corpus, away, judge.predict(network, self.pixels, away, 192)),
            "deletion": judge.deletion(network, self.corpus, self.pixels, val, 192),
        }
        self.say(f"head {pool}: {json.dumps(row)}")
        return row

    def teacher(self, pool: str) -> Teacher:
        """An Xception that learns from labels alone, and then teaches all five."""
        path = self.out / "teacher.net"
        if path.exists():
            network = unpack(path.read_bytes())[0].to(self.device)
        else:
            plan = self._timed(replace(self.plan, name="xception", size=224, pool=pool, epochs=8), "teacher")
            network = self._run(plan, None, "teacher")
        sample = self.pixels[:: max(1, len(self.pixels) // 384)]
        return Teacher(network, shrink(sample, self.plan.teacher_size))

    def member(self, name: str, pool: str, teacher: Teacher) -> None:
        """Train one of the five, unless it is there already."""
        if not (self.out / f"{name}.net").exists():
            plan = replace(self.plan, name=name, size=SIZES[name], pool=pool, seed=2)
            self._run(self._timed(plan, name), teacher, name)

    def _run(self, plan: Plan, teacher: Teacher | None, called: str) -> GridClassifier:
        run = Run(plan, self.corpus, self.corpus.rows("train"), self.pixels, self._start(plan.name, plan.pool), teacher)
        path = self.out / f"{called}.run"
        network = run.train(path, self.say)
        (self.out / f"{called}.part").write_bytes(pack(network, plan.size))
        val = self.corpus.rows("val")
        seen = {}
        for size in sorted({plan.size - 32, plan.size, plan.size + 32}):
            seen[str(size)] = judge.predict(network, self.pixels, val, size)
            self.say(f"{called} at {size} px: {json.dumps(judge.figures(self.corpus, val, seen[str(size)]))}")
        np.savez(self.out / f"{called}.val.npz", **seen)
        (self.out / f"{called}.part").replace(self.out / f"{called}.net")
        path.unlink(missing_ok=True)
        return network

    def _start(self, name: str, pool: str) -> GridClassifier:
        path = self.start / f"{name}.onnx"
        until = time.monotonic() + self.patience
        while not path.exists() and time.monotonic() < until:
            time.sleep(1)
        sample = shrink(self.pixels[:: max(1, len(self.pixels) // 64)].cpu(), 160)
        return reopened(path, name, pool, sample).to(self.device)

    def _timed(self, plan: Plan, stage: str, share: float = 1.0) -> Plan:
        if self.minutes is None:
            return plan
        return replace(plan, seconds=self.minutes * 60 * TIME[stage] * share, epochs=100)

    def say(self, text: str) -> None:
        """To the log, with the seconds since the start."""
        print(f"{time.monotonic() - self.began:6.1f} {text}", flush=True)


def _worse(row: dict[str, Any]) -> float:
    return min(row["val"]["mean"], row["away"]["mean"])


def fleet(arguments: argparse.Namespace) -> None:
    """The whole run."""
    arguments.out.mkdir(parents=True, exist_ok=True)
    corpus = load(arguments.corpus, arguments.cache or arguments.out)
    plan = Plan("xception", 224, epochs=arguments.epochs, batch=arguments.batch, rate=arguments.rate)
    whole = Fleet(corpus, arguments.start, arguments.out, plan, arguments.minutes)
    whole.say(f"{len(corpus.labels)} images on {whole.device}")
    pool = arguments.pool or whole.heads()
    teacher = whole.teacher(pool)
    for name in arguments.names:
        whole.member(name, pool, teacher)
    whole.say("done")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Train all five networks in one run; a second call resumes it.")
    parser.add_argument("--corpus", type=Path, required=True, help="folder that training.fleet.corpus wrote")
    parser.add_argument("--start", type=Path, required=True, help="folder of NAME.onnx to start from (a bundle)")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--cache", type=Path, help="where decoded pixels are kept (default: --out)")
    parser.add_argument("--minutes", type=float, help="as many steps as fit; without it, --epochs")
    parser.add_argument("--epochs", type=float, default=12)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--rate", type=float, default=6e-4, help="peak learning rate")
    parser.add_argument("--pool", choices=list(POOLS), help="the head; without it the pools are compared first")
    parser.add_argument("--names", nargs="+", default=list(_ORDER), choices=_ORDER)
    try:
        fleet(parser.parse_args())
    except ValueError as error:
        raise SystemExit(str(error)) from error


if __name__ == "__main__":
    main()
