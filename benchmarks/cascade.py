"""The cascade beside all networks, on one running platform, in turns: `python benchmarks/cascade.py IMAGES`.

IMAGES is a folder of X-rays, since how often the rest are asked depends on what they show. Each round sends the same images
twice, as they are and with `?full=true`. CPU-ms per study of all processes, as wall time says little on a busy machine, and the
networks' own: what is over the bare loop.
"""

import argparse
import random
import statistics
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from uuid import uuid4

import cv2

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.against import transactions
from benchmarks.clients import Client, load
from benchmarks.throughput import CLIENTS, family_cpu, started
from thorax.bundle import load_bundle


def main() -> None:
    """Send, count, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("images", type=Path)
    parser.add_argument("--bundle", type=Path, default=Path("models/default"))
    parser.add_argument("--rounds", type=int, default=4)
    options = parser.parse_args()
    files = sorted(options.images.iterdir())
    random.Random(0).shuffle(files)
    turns = []
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        bundle = load_bundle(options.bundle)
        (link := Path(folder) / "bundle").symlink_to(options.bundle.resolve())
        platform, stores = started(stack, load_bundle(link))
        families = {name: process.pid for name, process in platform.processes.items()} | stores

        def cost(images: list[bytes], full: bool) -> float:
            token = platform.issuer.token(uuid4())
            before = sum(family_cpu(families).values())
            query = "?force=true&full=true" if full else "?force=true"
            load([Client(platform.base, token, image, query) for image in images], len(images))
            return (sum(family_cpu(families).values()) - before) / len(images) * 1000

        for number in range(options.rounds + 1):
            pixels = [cv2.imread(str(f)) for f in files[number * CLIENTS : (number + 1) * CLIENTS]]
            images = [cv2.imencode(".jpg", picture)[1].tobytes() for picture in pixels]
            turns.append((cost(images, full=True), cost(images, full=False)))
            print(f"round {number}: {turns[-1][0]:.0f} and {turns[-1][1]:.0f}", file=sys.stderr)
        count = transactions(platform.owner_url)
    full, own = (statistics.mean(column) for column in zip(*turns[1:], strict=True))  # the first one warms up
    print(
        f"{bundle.manifest.name} {bundle.manifest.version}, {options.rounds * CLIENTS} images, CPU-ms per study"
    )
    print(
        f"| all networks | cascade | ratio |\n|---:|---:|---:|\n| {full:.0f} | {own:.0f} | {full / own:.2f} |"
    )
    print(f"{count / (2 * CLIENTS * len(turns)):.1f} transactions per study, heartbeats and polls included")


if __name__ == "__main__":
    main()
