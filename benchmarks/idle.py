"""What the platform costs when nobody sends anything: `python benchmarks/idle.py`. CPU-ms per second, by service."""

import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from uuid import uuid4

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.clients import Client, load
from benchmarks.throughput import CLIENTS, family_cpu, started, xray
from tests.factories.bundles import make_bundle

SECONDS = 20


def main() -> None:
    """Let it do some work first, and then nothing."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        platform, stores = started(stack, make_bundle(Path(folder) / "tiny", 3))
        families = {name: process.pid for name, process in platform.processes.items()} | stores
        token = platform.issuer.token(uuid4())
        load([Client(platform.base, token, xray()) for _ in range(CLIENTS)], 2 * CLIENTS)
        time.sleep(3)
        before = family_cpu(families)
        time.sleep(SECONDS)
        used = {name: (s - before.get(name, 0)) / SECONDS * 1000 for name, s in family_cpu(families).items()}
    print("| CPU-ms per second | idle |\n|---|---:|")
    for name, each in [*sorted(used.items()), ("all", sum(used.values()))]:
        print(f"| {name} | {each:.1f} |")


if __name__ == "__main__":
    main()
