"""This checkout beside another one, in turns, in one run: CPU-ms per study by service, with graphs that cost nothing.

`python benchmarks/against.py OTHER`, where OTHER is a checkout with its own `.venv` (`git worktree add --detach OTHER COMMIT`, then
`make .venv/dev` there). Both platforms run for the whole time, one of them works. Each checkout is measured by its own code for counting
CPU seconds, on the same image. CPU time and not wall time, so that a busy machine disturbs both alike and little.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import psycopg

HERE = Path(__file__).parents[1]
BACKBONES = 3
TRANSACTIONS = "transactions, heartbeats and polls included"


def work(image: Path, images: int) -> None:
    """In one checkout: start its platform, and for each line of standard input post `images` studies and print the CPU-ms of each service."""
    sys.path.insert(0, str(Path.cwd()))
    from contextlib import ExitStack
    from uuid import uuid4

    from benchmarks.clients import Client, load
    from benchmarks.throughput import CLIENTS, family_cpu, started
    from tests.factories.bundles import make_bundle

    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        platform, stores = started(stack, make_bundle(Path(folder) / "tiny", BACKBONES))
        families = {name: process.pid for name, process in platform.processes.items()} | stores
        for _ in sys.stdin:
            token = platform.issuer.token(uuid4())
            clients = [Client(platform.base, token, image.read_bytes()) for _ in range(CLIENTS)]
            committed, before = transactions(platform.owner_url), family_cpu(families)
            load(clients, images)
            used = family_cpu(families)
            spent = {k: (used[k] - before.get(k, 0)) / images * 1000 for k in used}
            committed = transactions(platform.owner_url) - committed
            print(json.dumps({**spent, TRANSACTIONS: committed / images}), flush=True)


def transactions(owner_url: str) -> int:
    """How many the database has committed; sessions report theirs at most a second late while they work."""
    time.sleep(2)
    with psycopg.connect(owner_url.replace("+psycopg", "")) as connection:
        (count,) = connection.execute(
            "select xact_commit from pg_stat_database where datname = current_database()"
        ).fetchone() or (0,)
    return int(count)


class Checkout:
    """A platform in a checkout, which works when told to."""

    def __init__(self, folder: Path, image: Path, images: int) -> None:
        command = [
            folder / ".venv/bin/python",
            HERE / "benchmarks/against.py",
            "--work",
            image,
            "--images",
            str(images),
        ]
        self._process = subprocess.Popen(
            command, cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def turn(self) -> dict[str, float]:
        """CPU-ms per study of each service."""
        assert self._process.stdin
        assert self._process.stdout
        print(file=self._process.stdin, flush=True)
        return dict(json.loads(self._process.stdout.readline()))

    def close(self) -> None:
        """End the platform."""
        self._process.communicate()


def main() -> None:
    """Measure in turns and print the medians and the median of the ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("other", type=Path, nargs="?")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        work(options.work, options.images)
        return
    from benchmarks.throughput import xray

    with tempfile.NamedTemporaryFile(suffix=".jpg") as file:
        Path(file.name).write_bytes(xray())
        other, this = (Checkout(f, Path(file.name), options.images) for f in (options.other.resolve(), HERE))
        for checkout in (other, this):
            checkout.turn()  # warm
        turns: dict[str, list[tuple[float, float]]] = defaultdict(list)
        for number in range(options.rounds):
            old, new = other.turn(), this.turn()
            for name in {*old, *new}:
                turns[name].append((old.get(name, 0), new.get(name, 0)))
            sums = [sum(used for name, used in each.items() if name != TRANSACTIONS) for each in (old, new)]
            turns["all"].append((sums[0], sums[1]))
            print(
                f"round {number + 1}: {turns['all'][-1][0]:.1f} and {turns['all'][-1][1]:.1f}",
                file=sys.stderr,
            )
        other.close()
        this.close()
    print("| CPU-ms per study | other | this | ratio |\n|---|---:|---:|---:|")
    for name, pairs in sorted(turns.items()):
        ratio = statistics.median(new / old for old, new in pairs if old)
        old, new = (statistics.median(column) for column in zip(*pairs, strict=True))
        print(f"| {name} | {old:.1f} | {new:.1f} | {ratio:.2f} |")


if __name__ == "__main__":
    sys.path.insert(0, str(HERE))
    main()
