"""How the platform scales, as a model: `python benchmarks/scale.py` prints the tables, `--measure` holds it to a real run.

A discrete-event model of workers and scalers, and what each image costs around them. Costs are measured: CPU-ms in
docs/performance.md, statements and bytes by `--measure`, which also compares the model's throughput with the platform's.
"""

import argparse
import heapq
import itertools
import random
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from math import ceil, inf
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.throughput import quantile, started
from local_stack import postgres
from tests.factories.bundles import make_bundle
from tests.factories.images import chest_png
from tests.factories.platform import Platform, post

DAY = 86_400
BURST_S, BEFORE_S, TIMES = 60, 1800, 10


@dataclass(frozen=True)
class Costs:
    """What one image of one study costs, and what one process and one server can do."""

    worker_s: float = 0.314  # the default bundle and everything around it, one core, batch 1
    gateway_ms: float = 10.8
    postgres_ms: float = 7.8
    statements: float = 18.0
    rows: float = 7 + 5 + 14 + 4  # steps, predictions, findings; a study, an image, a job and a heatmap
    blob_mb: float = 0.525 + 0.84  # the original and its display picture
    pod_start_s: float = 20.0  # assumed: the image is on the node, five graphs are loaded
    postgres_cores: int = 32
    gateway_connections: int = 21
    worker_connections: int = 4
    most_connections: int = 1000  # past this a pooler


@dataclass
class Ideal:
    """A scaler that knows of the burst when it begins, and orders all that it may have at that moment."""

    most: int
    at: float
    every: float = 1.0

    def wanted(self, now: float, _open: int, have: int) -> int:
        """How many workers there should be."""
        return self.most if now >= self.at else have


@dataclass
class Keda:
    """KEDA 2.16 with a HorizontalPodAutoscaler: between zero and one KEDA decides, above it the HPA each 15 s.

    `images`, `least`, `most`: values.yaml. `percent`: scaleUp of keda.yaml. Fewer workers only after 300 s.
    """

    least: int = 1
    most: int = 16
    images: int = 1
    percent: int = 900
    every: float = 5.0
    patience: float = 300.0
    _next: float = 0.0
    _active: float = -inf
    _wishes: deque[tuple[float, int]] = field(default_factory=deque)

    def wanted(self, now: float, open_images: int, have: int) -> int:
        """How many workers there should be."""
        if open_images:
            self._active = now
        if not have:
            return max(self.least, min(1, open_images))
        if not open_images and not self.least and now - self._active >= self.patience:
            return 0
        if now < self._next:
            return have
        self._next = now + 15
        wish = min(max(ceil(open_images / self.images), self.least, 1), self.most)
        self._wishes.append((now, wish))
        while self._wishes[0][0] < now - self.patience:
            self._wishes.popleft()
        if wish > have:
            return min(wish, max(have + 4, have * (100 + self.percent) // 100))
        return min(have, max(w for _, w in self._wishes))


@dataclass
class Run:
    """What one simulation came to."""

    seconds: list[float] = field(default_factory=list)  # from upload to result
    workers: list[tuple[float, int]] = field(default_factory=list)  # from when on how many were ordered
    ended: float = 0.0


def simulate(
    arrivals: Iterable[float],
    service: Callable[[], float],
    scaler: Keda | Ideal,
    have: int,
    start_s: float,
    until: float = 0,
    counts: tuple[float, float] = (0, inf),
) -> Run:
    """Images that arrive at these times, in order, at workers that take the oldest. Runs to the last result, or longer; `counts`: only images
    that arrive between these times."""
    run, waiting, free, ordered, leaving = Run(), deque[float](), have, have, 0
    due: list[tuple[float, int, str, float]] = []
    numbers = itertools.count()

    def at(when: float, what: str, since: float = 0.0) -> None:
        heapq.heappush(due, (when, next(numbers), what, since))

    for arrival in arrivals:
        at(arrival, "arrival", arrival)
    images, at_work = len(due), 0
    at(0, "look")
    while due:
        now, _, what, since = heapq.heappop(due)
        if what == "arrival":
            waiting.append(since)
        elif what == "ready":
            free += 1
        elif what == "done":
            if counts[0] <= since <= counts[1]:
                run.seconds.append(now - since)
            run.ended, free, at_work, images = now, free + 1, at_work - 1, images - 1
        elif images or now < until:
            at(now + scaler.every, "look")
            wish = scaler.wanted(now, len(waiting) + at_work, ordered)
            for _ in range(wish - ordered):
                at(now + start_s, "ready")
            leaving += max(0, ordered - wish)
            if wish != ordered:
                run.workers.append((now, wish))
            ordered = wish
        gone = min(leaving, free)
        leaving, free = leaving - gone, free - gone
        while waiting and free:
            at(now + service(), "done", waiting.popleft())
            free, at_work = free - 1, at_work + 1
    return run


def poisson(rate: float, begin: float, end: float, random_: random.Random) -> Iterator[float]:
    """Times of arrivals at `rate` per second."""
    now = begin + random_.expovariate(rate)
    while now < end:
        yield now
        now += random_.expovariate(rate)


def burst(costs: Costs, scaler: Keda | Ideal, rate: float, have: int) -> Run:
    """A steady rate, ten times of it for a minute, and the steady rate again; the burst's images are counted."""
    random_ = random.Random(7)
    parts = (
        (rate, 0, BEFORE_S),
        (TIMES * rate, BEFORE_S, BEFORE_S + BURST_S),
        (rate, BEFORE_S + BURST_S, BEFORE_S + 600),
    )
    arrivals = [each for part in parts for each in poisson(*part, random_)]
    return simulate(
        arrivals, lambda: costs.worker_s * random_.uniform(0.8, 1.2), scaler, have, costs.pod_start_s
    )


def bursts(
    costs: Costs, rates: Iterable[float] = (0.5, 1, 2, 4, 8, 16, 32)
) -> Iterator[tuple[float, int, float, float]]:
    """For each steady rate: the most workers, and the p99 in seconds with KEDA and with the ideal scaler.

    Both have the same workers when the burst begins.
    """
    for rate in rates:
        most = max(Keda.most, ceil(1.3 * TIMES * rate * costs.worker_s))
        begin = max(1, ceil(1.3 * rate * costs.worker_s))
        keda = burst(costs, Keda(most=most), rate, begin)
        had = [begin, *(n for when, n in keda.workers if when <= BEFORE_S)][-1]
        ideal = burst(costs, Ideal(most, BEFORE_S), rate, had)
        yield rate, most, quantile(keda.seconds, 0.99) / 1000, quantile(ideal.seconds, 0.99) / 1000


def from_zero(costs: Costs) -> tuple[float, float]:
    """Workers scaled to zero: seconds until the first image's result, and after its result until none is left."""
    run = simulate([7.0], lambda: costs.worker_s, Keda(least=0), 0, costs.pod_start_s, until=900)
    return run.seconds[0], next(
        when for when, workers in run.workers if when > run.ended and not workers
    ) - run.ended


def steady(costs: Costs, rate: float) -> dict[str, float]:
    """What a steady rate of images per second needs, with a third to spare."""
    workers = ceil(rate * costs.worker_s * 4 / 3)
    gateways = max(2, ceil(rate * costs.gateway_ms / 1000 * 4 / 3))
    connections = workers * costs.worker_connections + gateways * costs.gateway_connections
    cores = rate * costs.postgres_ms / 1000 * 4 / 3
    return {
        "workers": workers,
        "gateways": gateways,
        "statements/s": rate * costs.statements,
        "Postgres cores": cores,
        "connections": connections,
        "blobs/day": 2 * rate * DAY,
        "TB/day": costs.blob_mb * rate * DAY / 1e6,
        "rows/day": costs.rows * rate * DAY,
        "databases": ceil(cores / costs.postgres_cores),
    }


def report(costs: Costs) -> None:
    """The tables of docs/performance.md."""
    rates = (1, 10, 100, 1000, 10_000)
    tables = [steady(costs, rate) for rate in rates]
    print(f"| images/s | {' | '.join(f'{rate:,}' for rate in rates)} |\n|---|{'---:|' * len(rates)}")
    for name in tables[0]:
        cells = [f"{each[name]:,.2g}" if each[name] < 10 else f"{each[name]:,.0f}" for each in tables]
        print(f"| {name} | {' | '.join(cells)} |")
    one = costs.postgres_cores / (costs.postgres_ms / 1000 * 4 / 3)
    pooled = next(
        rate for rate in itertools.count(1) if steady(costs, rate)["connections"] > costs.most_connections
    )
    print(f"\nPast {pooled} images/s: a pooler. Past {one:,.0f} images/s: a second database.")
    print(
        "\n| steady rate, then 10x for 60 s | most workers | KEDA, p99 s | ideal, p99 s | ratio |\n|---:|---:|---:|---:|---:|"
    )
    for rate, most, keda, ideal in bursts(costs):
        print(f"| {rate} | {most} | {keda:.1f} | {ideal:.1f} | {keda / ideal:.2f} |")
    first, back = from_zero(costs)
    print(f"\nFrom zero: the first result after {first:.1f} s; none left {back:.0f} s after it.")


# A graph that waits: a run then depends little on what else this machine does.
WAITING_S, WAITING = (
    1.0,
    """
import runpy, time
from model_worker.backbone import Backbone
run = Backbone.predict
def predict(self, images):
    time.sleep({seconds})
    return run(self, images)
Backbone.predict = predict
runpy.run_module("model_worker", run_name="__main__", alter_sys=True)
""",
)


@dataclass(frozen=True)
class Measured:
    """A real run: seconds from when the workers could begin to the last result, and what each image cost."""

    seconds: float
    statements: float
    blob_mb: float


def measured(workers: int, images: int) -> Measured:
    """So many images wait, in jobs of their own; then the workers may begin."""
    postgres.SETTINGS["shared_preload_libraries"] = "pg_stat_statements"
    code = WAITING.format(seconds=WAITING_S)
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        bundle = make_bundle(Path(folder) / "one", 1)
        settings = {"THORAX_ANONYMOUS": "false"}
        platform, _ = started(stack, bundle, workers, settings, worker_code=code)
        platform.sql("create extension pg_stat_statements")
        with platform.client() as client:
            post(client, chest_png(999, 900))
            ended(platform, 1)
            platform.pause()
            platform.sql("select pg_stat_statements_reset()")
            for n in range(images):
                assert post(client, chest_png(n, 900)).status_code == 202
            began = platform.sql("select clock_timestamp()")[0][0]
            platform.resume()
            ended(platform, images + 1)
        seconds = (platform.sql("select max(finished_at) from jobs")[0][0] - began).total_seconds()
        calls = platform.sql("select sum(calls) from pg_stat_statements")[0][0]
        size = sum(file.stat().st_size for file in (platform.folder / "blobs").rglob("*") if file.is_file())
        return Measured(seconds, float(calls) / images, size / images / 1e6)


def ended(platform: Platform, jobs: int) -> None:
    """Wait for so many results."""
    while platform.sql("select count(*) from jobs where state = 'succeeded'") != [(jobs,)]:
        time.sleep(0.2)


def check() -> bool:
    """Take an image's time from one worker, predict a run with three, and run it. Whether they differ by 15 % at most."""
    one = measured(1, 12)
    service = one.seconds / 12
    run = simulate([0.0] * 48, lambda: service, Ideal(3, inf), 3, 0)
    real = measured(3, 48)
    off = run.ended / real.seconds - 1
    print(
        f"One worker: {service:.2f} s an image. Three workers, 48 images: predicted {run.ended:.1f} s, "
        f"measured {real.seconds:.1f} s ({off:+.0%}). {real.statements:.0f} statements and {real.blob_mb:.2f} MB an image."
    )
    return abs(off) <= 0.15


def main() -> None:
    """The tables, or the comparison."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--measure", action="store_true", help="hold the model to a run on this machine (a minute)"
    )
    if parser.parse_args().measure:
        sys.exit(not check())
    report(Costs())


if __name__ == "__main__":
    main()
