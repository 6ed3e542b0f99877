"""The platform with the engine that its workers choose on this machine beside one with ONNX Runtime, in turns, in one run:
`python benchmarks/engines.py [FOLDER_OF_XRAYS] [--rounds 5 --images 32]`. Studies of one image, by the cascade and by all networks; and what
both bring together: the cascade by that engine beside all networks by ONNX Runtime. How often the cascade asks all depends on what the
images show: without a folder it does so for each.
"""

import argparse
import os
import random
import statistics
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from uuid import UUID, uuid4

import cv2

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.clients import Client, load
from benchmarks.throughput import CLIENTS, family_cpu, rss, started, xray
from model_worker.fastest import fastest
from tests.factories.platform import Platform
from thorax.bundle import Engine, load_bundle


_MOST = 256
ALL, FIRST = "?force=true&full=true", "?force=true"
WAYS = {
    "cascade": (FIRST, FIRST),
    "all networks": (ALL, ALL),
    f"cascade beside all networks by {Engine.ONNXRUNTIME}": (ALL, FIRST),
}


def main() -> None:
    """Measure, and print a line for each of both ways."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pictures", type=Path, nargs="?")
    parser.add_argument("--bundle", type=Path, default=Path("models/default"))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--images", type=int, default=32)
    options = parser.parse_args()
    bundle, tenant = load_bundle(options.bundle), uuid4()
    pictures = _pictures(options.pictures) if options.pictures else [xray()]
    chosen = fastest(bundle)
    with ExitStack() as stack:
        sides = [
            started(stack, bundle, settings={"THORAX_ENGINE": engine})
            for engine in (Engine.ONNXRUNTIME, chosen)
        ]
        print(f"{chosen} beside {Engine.ONNXRUNTIME}, {options.rounds} rounds of {options.images} images")
        for way, queries in WAYS.items():
            pairs = []
            for number in range(options.rounds + 1):
                turned = [pictures[(number * CLIENTS + i) % len(pictures)] for i in range(CLIENTS)]
                both = [
                    _round(*side, tenant, turned, query, options.images if number else CLIENTS)
                    for side, query in zip(sides, queries, strict=True)
                ]
                pairs += [both] if number else []  # the first one warms up
            rates, cpu = ([[side[i] for side in pair] for pair in pairs] for i in (0, 1))
            quicker, less = ([b / a for a, b in of] for of in (rates, cpu))
            print(
                f"{way}: {_middle(quicker)} of the studies/s ({_means(rates)}), {_middle(less)} of the CPU-ms "
                f"a study, all processes ({_means(cpu)}); load {os.getloadavg()[0]:.0f}"
            )
        print("RSS of a worker:", ", ".join(rss(platform.processes["worker-0"].pid) for platform, _ in sides))


def _pictures(folder: Path) -> list[bytes]:
    """X-rays in an order of their own, as JPEG."""
    files = sorted(folder.iterdir())
    random.Random(0).shuffle(files)
    return [cv2.imencode(".jpg", cv2.imread(str(file)))[1].tobytes() for file in files[:_MOST]]


def _round(
    platform: Platform, stores: dict[str, int], tenant: UUID, pictures: list[bytes], query: str, images: int
) -> tuple[float, float]:
    """Studies per second, and CPU-ms of the platform a study."""
    token = platform.issuer.token(tenant)
    clients = [Client(platform.base, token, picture, query) for picture in pictures]
    families = {name: process.pid for name, process in platform.processes.items()} | stores
    before, began = sum(family_cpu(families).values()), time.perf_counter()
    load(clients, images)
    took = time.perf_counter() - began
    return images / took, (sum(family_cpu(families).values()) - before) / images * 1000


def _middle(ratios: list[float]) -> str:
    return f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"


def _means(pairs: list[list[float]]) -> str:
    return " and ".join(f"{statistics.median(side):.1f}" for side in zip(*pairs, strict=True))


if __name__ == "__main__":
    main()
