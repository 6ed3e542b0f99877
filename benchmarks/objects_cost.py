"""What the DICOM objects of a job cost: CPU-ms of SR, SC and GSPS, this checkout beside another one, in turns.

`python benchmarks/objects_cost.py OTHER`, where OTHER is a checkout with its own `.venv` (`git worktree add --detach OTHER COMMIT`, then
`make .venv/dev` there). The study has one image of five findings, two of them likely. An object is built and encoded as a PACS gets it.
The bytes of both are compared, too. A loop of plain Python in between tells how fast the core is at the moment: on one that others use, all of
it takes more CPU time.
"""

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parents[1]
WARM_UP = 3
CODE = """
import hashlib, json, sys, time
sys.path.insert(0, ".")
from tests.unit.aggregator.test_objects import ANSWERS
from aggregator.objects import identity, objects

def plain():
    total, began = 0, time.process_time()
    for number in range(300_000):
        total += number * number
    return 1000 * (time.process_time() - began)

def cost():
    loop = plain()
    made, last = objects(ANSWERS["found"]()), time.process_time()
    found = []
    for one in made:
        file = one.file if hasattr(one, "file") else identity.encoded(one)
        now = time.process_time()
        found.append(1000 * (now - last))
        digest = hashlib.sha256(file).hexdigest()
        found.append(digest)
        last = time.process_time()
    return [loop, *found]

for _ in sys.stdin:
    print(json.dumps(cost()), flush=True)
"""


def worker(checkout: Path) -> "subprocess.Popen[str]":
    """A process of a checkout that makes the objects once per line."""
    command = [checkout / ".venv/bin/python", "-c", CODE]
    return subprocess.Popen(
        command,
        cwd=checkout,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


def once(process: "subprocess.Popen[str]") -> tuple[list[float], list[str]]:
    """CPU-ms of the loop and of each object, and each object's digest."""
    assert process.stdin and process.stdout
    process.stdin.write("\n")
    process.stdin.flush()
    loop, *line = json.loads(process.stdout.readline())
    return [loop, *line[::2]], line[1::2]


def main() -> None:
    """Print the least, the medians and their quartiles, and whether the bytes are equal."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("other", type=Path)
    parser.add_argument("--pairs", type=int, default=30)
    options = parser.parse_args()
    workers = {"other": worker(options.other.resolve()), "this": worker(HERE)}
    costs: dict[str, list[list[float]]] = {name: [] for name in workers}
    digests: dict[str, list[str]] = {}
    for _ in range(options.pairs + WARM_UP):
        for name, process in workers.items():
            cost, digests[name] = once(process)
            costs[name].append(cost)
    for name, process in workers.items():
        process.communicate()
        measured = [[*cost, cost[1] + cost[2]] for cost in costs[name][WARM_UP:]]
        for kind, values in zip(
            ("loop", "SR", "SC", "GSPS", "SR + SC"), zip(*measured, strict=True), strict=True
        ):
            low, middle, high = statistics.quantiles(values, n=4)
            print(
                f"{name:5} {kind:7} {middle:6.1f} CPU-ms ({low:.1f} to {high:.1f}), at least {min(values):.1f}"
            )
    print("bytes equal" if digests["this"] == digests["other"] else "bytes differ")
    sys.exit(digests["this"] != digests["other"])


if __name__ == "__main__":
    main()
