"""The platform beside a bare ONNX Runtime loop over the same sessions, in turns, in one run: `make bench`.

The loop runs one process per core on decoded images and stores nothing. The platform receives a
525 kB JPEG over HTTP, decodes it in its sandbox, keeps every step in Postgres (fsync on), and stores findings and
heatmaps. Rounds alternate, so that a busy machine slows both. All networks of the bundle answer (`?full=true`), since the loop
runs all. It ends within ten minutes: on a busy machine with fewer rounds, and the share by CPU is then the figure to go by.
"""

import argparse
import multiprocessing
import os
import platform as machine
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from functools import cache
from pathlib import Path
from typing import Any
from uuid import uuid4

import cv2
import numpy as np
import psutil

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.clients import Client, load
from local_stack.roles import create_database
from tests.factories.stores import Postgres, Valkey, login
from tests.factories.images import SAMPLE
from tests.factories.platform import Platform
from thorax.bundle import Bundle, load_bundle
from thorax.schema import migrate

CORES = len(os.sched_getaffinity(0))
CLIENTS = 8
ROUNDS_S = 330  # no round begins later, nor one that would end much later
AROUND = ("gateway", "aggregator", "sweeper", "postgres", "valkey")


@cache
def xray() -> bytes:
    """A 2000×2500 JPEG of about 525 kB: the sample's chest with film grain, deterministic."""
    sample = cv2.imread(str(SAMPLE), cv2.IMREAD_GRAYSCALE)
    chest = cv2.resize(sample, (2000, 2500), interpolation=cv2.INTER_CUBIC)
    grain = np.random.default_rng(7).normal(0, 2.2, (2500, 2000))
    image = np.clip(chest + grain, 0, 255).astype(np.uint8)
    return cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 88])[1].tobytes()


def bare_loop(folder: str, images: int, ready: Any, go: Any, done: Any) -> None:
    """One process of the bare loop: `images` runs of all sessions; reports its CPU seconds."""
    from model_worker.backbone import Backbone
    from model_worker.fastest import fastest

    bundle = load_bundle(Path(folder))
    engine = fastest(bundle)  # as the platform's workers choose it
    backbones = [Backbone(bundle, spec, engine=engine) for spec in bundle.manifest.backbones]
    inputs = [np.zeros((1, b.spec.input.size, b.spec.input.size), np.uint8) for b in backbones]
    ready.release()
    while go.get():
        began = time.process_time()
        for _ in range(images):
            for backbone, image in zip(backbones, inputs, strict=True):
                backbone.predict(image)
        done.put(time.process_time() - began)


class BareLoop:
    """Processes that run the loop when told to."""

    def __init__(self, bundle: Bundle, images: int) -> None:
        context = multiprocessing.get_context("spawn")
        self._images = images // CORES
        self._go, self._done, ready = context.Queue(), context.Queue(), context.Semaphore(0)
        arguments = (str(bundle.folder), self._images, ready, self._go, self._done)
        self._processes = [context.Process(target=bare_loop, args=arguments) for _ in range(CORES)]
        for process in self._processes:
            process.start()
        for _ in self._processes:
            ready.acquire()

    def round(self) -> tuple[float, float]:
        """Images per second, and CPU-ms per image."""
        began = time.perf_counter()
        for _ in self._processes:
            self._go.put(True)
        cpu = sum(self._done.get() for _ in self._processes)
        images = self._images * CORES
        return images / (time.perf_counter() - began), cpu / images * 1000

    def close(self) -> None:
        """End the processes."""
        for _ in self._processes:
            self._go.put(False)


def family_cpu(families: Mapping[str, int]) -> dict[str, float]:
    """CPU seconds so far of each process and its descendants, finished children included; `decode`: the sandboxes."""
    used: dict[str, float] = defaultdict(float)
    for name, pid in families.items():
        for process in [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]:
            with suppress(psutil.NoSuchProcess):  # a child of the sandbox that ended a moment ago
                times = process.cpu_times()
                kind = "decode" if "model_worker.sandbox.server" in process.cmdline() else name.split("-")[0]
                used[kind] += times.user + times.system + times.children_user + times.children_system
    return used


def quantile(values: list[float], share: float) -> float:
    """A quantile in milliseconds."""
    return float(np.quantile(values, share)) * 1000


def row(name: str, value: str, goal: str) -> None:
    """One line of the table."""
    print(f"| {name:<58} | {value:>16} | {goal:>14} |", flush=True)


def started(
    stack: ExitStack,
    bundle: Bundle,
    workers: int = CORES,
    settings: Mapping[str, str] | None = None,
    worker_code: str | None = None,
) -> tuple[Platform, dict[str, int]]:
    """The platform on embedded stores, durability on, and the process ids of these."""
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    postgres = stack.enter_context(Postgres(folder / "postgres"))
    valkey = stack.enter_context(Valkey(folder / "valkey"))
    owner = create_database(postgres, "thorax")
    migrate(owner)

    def url_as(role: str) -> str:
        return login(postgres, "thorax", role)

    keywords = {"workers": workers, "settings": settings, "worker_code": worker_code}
    platform = Platform(folder, bundle, url_as, owner, valkey.url, forked=False, **keywords)
    return stack.enter_context(platform), {"postgres": postgres.pid, "valkey": valkey.pid}


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bundle", type=Path, default=Path("models/default"))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--workers", type=int, default=CORES)
    options = parser.parse_args()
    bundle, image = load_bundle(options.bundle), xray()
    model = next(
        (line for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line), ""
    )
    print(
        f"{CORES} cores, {model.split(':')[-1].strip()}, Linux {machine.release()}, Python {machine.python_version()}"
    )
    print(
        f"bundle {bundle.manifest.name}: {', '.join(bundle.names)}; JPEG of {len(image) // 1000} kB, {CLIENTS} clients"
    )
    with ExitStack() as stack:
        platform, stores = started(stack, bundle, options.workers)
        loop = BareLoop(bundle, options.images)
        stack.callback(loop.close)
        measure(platform, stores, loop, image, options.rounds, options.images)


def measure(
    platform: Platform,
    stores: Mapping[str, int],
    loop: BareLoop,
    image: bytes,
    rounds: int,
    images: int,
) -> None:
    """Alternate rounds, then the single figures."""

    def clients() -> list[Client]:
        token = platform.issuer.token(tenant)  # a new one each time: it expires after ten minutes
        return [Client(platform.base, token, image, "?full=true") for _ in range(CLIENTS)]

    tenant, started_at = uuid4(), time.perf_counter()
    families = {name: process.pid for name, process in platform.processes.items()} | dict(stores)
    load(clients(), CLIENTS)
    loop.round()
    ratios, bare_ms, own = list[float](), list[float](), 0.0
    used: dict[str, float] = defaultdict(float)
    for number in range(rounds):
        past = time.perf_counter() - started_at
        if number and past + past / number > ROUNDS_S:
            break
        first, cpu = loop.round()
        ready = clients()
        before, mine, began = family_cpu(families), time.process_time(), time.perf_counter()
        load(ready, images)
        rate = images / (time.perf_counter() - began)
        own += time.process_time() - mine
        for name, seconds in family_cpu(families).items():
            used[name] += (seconds - before.get(name, 0)) / images * 1000
        second, _ = loop.round()
        bare_ms.append(cpu)
        ratios.append(rate / ((first + second) / 2))
        print(
            f"round {number + 1}: bare {first:.2f} and {second:.2f}/s, platform {rate:.2f}/s", file=sys.stderr
        )
    rounds = len(ratios)
    used = defaultdict(float, {name: cpu / rounds for name, cpu in used.items()})
    print(f"load {os.getloadavg()[0]:.0f}, {rounds} rounds of {images} images")
    print(f"| {'figure':<58} | {'measured':>16} | {'goal':>14} |\n|{'-' * 60}|{'-' * 17}:|{'-' * 15}:|")
    row("studies/s, share of the bare loop (median of rounds)", f"{statistics.median(ratios):.1%}", "≥ 95 %")
    share = statistics.median(bare_ms) / sum(used.values())
    row("the bare loop's CPU, share of all that the platform used", f"{share:.1%}", "≥ 92 %")
    row("bare loop, CPU-ms per image", f"{statistics.median(bare_ms):.0f}", "")
    around = sum(used[name] for name in AROUND)
    row("around inference and decoding, CPU-ms per study", f"{around:.1f}", "≤ 12")
    for name in AROUND:
        row(f"  of which {name}", f"{used[name]:.1f}", "")
    row("decoding in the sandbox", f"{used['decode']:.1f}", "")
    row("worker, inference included", f"{used['worker']:.0f}", "")
    row("the eight clients themselves", f"{own / rounds / images * 1000:.1f}", "")
    polls = load(clients(), images, wait=False).polls
    row("poll, p99 under load", f"{quantile(polls, 0.99):.0f} ms", "< 50 ms")
    alone = load(clients()[:1], 20)
    median = statistics.median(alone.studies) * 1000
    row("upload answered, p95 when idle", f"{quantile(alone.uploads, 0.95):.0f} ms", "< 60 ms")
    row("idle, upload to result, median", f"{median:.0f} ms", "")
    row("  over the bare ensemble", f"{median - statistics.median(bare_ms):+.0f} ms", "≤ +80 ms")
    row("RSS gateway", rss(platform.processes["gateway"].pid), "≤ 160 MB")
    row("RSS worker", rss(platform.processes["worker-0"].pid), "≤ 1200 MB")


def rss(pid: int) -> str:
    """Resident memory of a process."""
    return f"{psutil.Process(pid).memory_info().rss / 1e6:.0f} MB"


if __name__ == "__main__":
    main()
