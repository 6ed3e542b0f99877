"""What `make run` costs when nobody sends anything: CPU-ms and wake-ups per second and resident MB, by process.

`python benchmarks/idle.py [OTHER]`, where OTHER is a checkout with its own `.venv`: both run at the same time. `BUNDLE=models/default` for the
memory of the default bundle; else one of graphs that cost nothing.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).parents[1]))

from local_stack.server import free_port
from tests.factories.bundles import make_bundle

SECONDS = 60
SETTLED_S = 15  # after the sample's analysis
START_S = 600
HERE = Path(__file__).parents[1]
Cost = tuple[float, float, float]  # CPU-ms per second, wake-ups per second, MB


@contextmanager
def running(checkout: Path) -> Iterator[dict[str, int]]:
    """The process ids of a checkout's platform, by name, once it has analysed its sample."""
    with tempfile.TemporaryDirectory() as state:
        log = Path(state) / "log"
        bundle = os.environ.get("BUNDLE") or str(make_bundle(Path(state) / "models/tiny", 5).folder)
        settings = {"THORAX_STATE": state, "PORT": str(free_port()), "BUNDLE": bundle}
        with log.open("wb") as output:
            process = subprocess.Popen(
                [checkout / ".venv/bin/thorax-local", "run"],
                cwd=checkout,
                env=os.environ | settings,
                stdout=output,
                stderr=output,
            )
        try:
            deadline = time.monotonic() + START_S
            while "Ctrl-C stops it" not in log.read_text():
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < deadline, log.read_text()
                time.sleep(1)
            yield {"supervisor": process.pid, **json.loads((Path(state) / "run.json").read_text())["pids"]}
        finally:
            process.terminate()
            process.wait(20)


def counts(pids: Mapping[str, int]) -> dict[str, Cost]:
    """CPU-ms, wake-ups and MB so far, of each process and its descendants (the supervisor's are the others)."""
    found = {}
    for name, pid in pids.items():
        top = psutil.Process(pid)
        family = [top] if name == "supervisor" else [top, *top.children(recursive=True)]
        cpu = wakes = memory = 0.0
        for process in family:
            with suppress(psutil.NoSuchProcess):
                times = process.cpu_times()
                cpu += times.user + times.system
                memory += process.memory_info().rss
                for thread in Path(f"/proc/{process.pid}/task").iterdir():
                    status = (thread / "status").read_text()
                    wakes += int(status.split("\nvoluntary_ctxt_switches:")[1].split()[0])
        found[name] = cpu * 1000, wakes, memory / 1e6
    return found


def main() -> None:
    """Let them settle, do nothing, and print what that took."""
    checkouts = [*(Path(name).resolve() for name in sys.argv[1:]), HERE]
    with ExitStack() as stack:
        pids = [stack.enter_context(running(checkout)) for checkout in checkouts]
        time.sleep(SETTLED_S)
        before = [counts(each) for each in pids]
        time.sleep(SECONDS)
        after = [counts(each) for each in pids]
    for checkout, first, last in zip(checkouts, before, after, strict=True):
        print(f"\n| {checkout.name} | CPU-ms per second | wake-ups per second | MB |\n|---|---:|---:|---:|")
        rows = {
            name: ((cpu - first[name][0]) / SECONDS, (wakes - first[name][1]) / SECONDS, memory)
            for name, (cpu, wakes, memory) in last.items()
        }
        rows["all"] = tuple(sum(column) for column in zip(*rows.values(), strict=True))
        for name, (cpu, wakes, memory) in rows.items():
            print(f"| {name} | {cpu:.1f} | {wakes:.1f} | {memory:.0f} |")


if __name__ == "__main__":
    main()
