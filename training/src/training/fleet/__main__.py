"""`python -m training.fleet`: trains all five networks at once on a GPU, or one after another on a CPU, resumably.

All pixels lie on the device as uint8, so it needs no data loader. On a GPU each network has a process of its own: cuDNN
takes half a minute of one core to prepare for a network's hundreds of convolutions, and the others use the GPU meanwhile.
Starting weights are graphs of a bundle (`training.fleet.reopen`); some of its members are the teacher of all.
"""

import argparse
import json
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from training.backbones.grid import POOLS, GridClassifier
from training.backbones.layers import bf16
from training.fleet import judge
from training.fleet.corpus import Corpus, load
from training.fleet.lessons import Teacher
from training.fleet.parcel import pack
from training.fleet.reopen import build_reopened, build_teacher
from training.fleet.run import Plan, Run
from training.fleet.views import shrink

AWAY = ("jrzech/reproduce-chexnet", "muhammedtalo/COVID-19")
"""Sources left out of the second way to cut: all of 1024 px as published, 41 % AP films."""

_ORDER = ("xception", "densenet201", "inception_resnet_v2", "densenet169", "densenet121")
SIZES = {
    "xception": 224,
    "densenet121": 224,
    "densenet169": 160,
    "densenet201": 160,
    "inception_resnet_v2": 160,
}
"""Input edges: the two that see most finely pay 1.33 times the FLOP of all five at 160 px."""

TEACHERS = {"xception": 0.65, "densenet121": 0.35}
"""How much the bundle's members count as teachers, much as its own weights have it."""

HEADS_SIZE, TEACHER_SIZE = 192, 160


@dataclass
class Fleet:
    """A corpus on the device, where starting weights are, and what is written where; `size` instead of SIZES."""

    corpus: Corpus
    start: Path
    out: Path
    plan: Plan
    size: int | None = None
    compiled: bool = False
    patience: float = 180

    def __post_init__(self) -> None:
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.pixels = torch.from_numpy(np.asarray(self.corpus.pixels)).to(self.device)
        self.began = time.monotonic()
        torch.set_float32_matmul_precision("high")

    def head(self, pool: str) -> None:
        """Train a pool on one backbone without the sources of AWAY, and write how it fares on both ways to cut."""
        kept, away = self.corpus.away(AWAY)
        val = self.corpus.rows("val")
        val = val[~np.isin(self.corpus.source[val], AWAY)]
        plan = replace(self.plan, name="xception", size=HEADS_SIZE, pool=pool)
        run = Run(plan, self.corpus, kept, self.pixels, self._start("xception", pool), self._teacher)
        network = run.train(say=self.say)
        row = {
            "val": judge.figures(self.corpus, val, judge.predict(network, self.pixels, val, plan.size)),
            "away": judge.figures(self.corpus, away, judge.predict(network, self.pixels, away, plan.size)),
            "deletion": judge.deletion(network, self.corpus, self.pixels, val, plan.size),
        }
        self.say(f"head {pool}: {json.dumps(row)}")
        (self.out / f"head-{pool}.json").write_text(json.dumps(row, indent=1))

    @cached_property
    def _teacher(self) -> Teacher:
        networks = [build_teacher(self._found(name), name) for name in TEACHERS]
        shares = torch.tensor(list(TEACHERS.values()), device=self.device)[:, None].expand(
            -1, self.corpus.labels.shape[1]
        )
        number = torch.bfloat16 if bf16(self.device) else torch.float32
        networks = [n.to(self.device, number, memory_format=torch.channels_last) for n in networks]
        for network in networks if self.compiled else ():
            network.compile()  # type: ignore[no-untyped-call]
        teacher = Teacher(networks, shares, TEACHER_SIZE)
        self.say("the teacher is there")
        return teacher

    def member(self, name: str, pool: str) -> None:
        """Train one of the five, unless it is there already; its graph's weights wait in `start`."""
        if (self.out / f"{name}.net").exists():
            return
        plan = replace(self.plan, name=name, size=self.size or SIZES[name], pool=pool)
        run = Run(
            plan, self.corpus, self.corpus.rows("train"), self.pixels, self._start(name, pool), self._teacher
        )
        val, path = self.corpus.rows("val"), self.out / f"{name}.run"

        def auc(network: GridClassifier) -> float:
            return float(
                judge.figures(self.corpus, val, judge.predict(network, self.pixels, val, plan.size))["mean"]
            )

        network = run.train(path, self.say, auc)
        (self.out / f"{name}.part").write_bytes(pack(network, plan.size))
        figures = judge.figures(self.corpus, val, judge.predict(network, self.pixels, val, plan.size))
        self.say(f"{name}: {run.step} steps, {json.dumps(figures)}")
        (self.out / f"{name}.part").replace(self.out / f"{name}.net")
        path.unlink(missing_ok=True)

    def _start(self, name: str, pool: str) -> GridClassifier:
        sample = shrink(self.pixels[:: max(1, len(self.pixels) // 64)].cpu(), TEACHER_SIZE)
        return build_reopened(self._found(name), name, pool, sample).to(self.device)

    def _found(self, name: str) -> Path:
        path = self.start / f"{name}.onnx"
        until = time.monotonic() + self.patience
        while not path.exists() and time.monotonic() < until:
            time.sleep(0.5)
        return path

    def say(self, text: str) -> None:
        """To the log, with the seconds since the start."""
        print(f"{time.monotonic() - self.began:6.1f} {text}", flush=True)


def fleet(arguments: argparse.Namespace) -> None:
    """The whole run, or the part of it that one process does."""
    arguments.out.mkdir(parents=True, exist_ok=True)
    corpus = load(arguments.corpus, arguments.cache or arguments.out)
    tasks = arguments.compare or arguments.names
    if torch.cuda.is_available() and len(tasks) > 1:
        _at_once("--compare" if arguments.compare else "--names", tasks)
        return
    seconds = None if arguments.minutes is None else arguments.minutes * 60
    plan = Plan(
        "xception", 224, seconds=seconds, epochs=arguments.epochs, batch=arguments.batch, rate=arguments.rate
    )
    whole = Fleet(corpus, arguments.start, arguments.out, plan, arguments.size, arguments.compile)
    for task in tasks:
        if arguments.compare:
            whole.head(task)
        else:
            whole.member(task, arguments.pool)
    whole.say(f"done: {' '.join(tasks)}")


def _at_once(option: str, tasks: list[str]) -> None:
    """This command again, a process for each task. ValueError if one of them fails."""
    command = [
        sys.executable,
        "-m",
        "training.fleet",
        *sys.argv[1:],
        option,
    ]  # the last mention of an option counts
    running = {task: subprocess.Popen([*command, task]) for task in tasks}
    failed = [task for task, process in running.items() if process.wait()]
    if failed:
        raise ValueError(f"These did not finish; call again to go on: {', '.join(failed)}.")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description="Train all five networks in one run; a second call resumes it."
    )
    parser.add_argument("--corpus", type=Path, required=True, help="folder that training.fleet.corpus wrote")
    parser.add_argument(
        "--start", type=Path, required=True, help="folder of NAME.onnx to start from (a bundle)"
    )
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--cache", type=Path, help="where decoded pixels are kept (default: --out)")
    parser.add_argument("--minutes", type=float, help="of training, for all at once; without it, --epochs")
    parser.add_argument("--epochs", type=float, default=12)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--rate", type=float, default=4e-4, help="peak learning rate")
    parser.add_argument("--size", type=int, help="input edge of the networks, by default 224 or 160")
    parser.add_argument("--compile", action="store_true", help="compile the teacher: a minute and a half first, then a third of its time less on a CPU")  # fmt: skip
    parser.add_argument("--pool", choices=list(POOLS), default="pcam", help="the head")
    parser.add_argument(
        "--compare", nargs="+", choices=list(POOLS), help="train these heads on one backbone instead"
    )
    parser.add_argument("--names", nargs="+", default=list(_ORDER), choices=_ORDER)
    try:
        fleet(parser.parse_args())
    except ValueError as error:
        raise SystemExit(str(error)) from error


if __name__ == "__main__":
    main()
