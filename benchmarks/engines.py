"""The platform with the engine that its workers choose on this machine beside one with ONNX Runtime, in turns, in one run:
`python benchmarks/engines.py [--rounds 5 --images 32]`. The same image in studies of one, by the cascade and by all networks.
"""

import argparse
import os
import statistics
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from uuid import UUID, uuid4

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.clients import Client, load
from benchmarks.throughput import CLIENTS, family_cpu, rss, started, xray
from model_worker.fastest import fastest
from tests.factories.platform import Platform
from thorax.bundle import Engine, load_bundle


def main() -> None:
    """Measure, and print a line for each of both ways."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bundle", type=Path, default=Path("models/default"))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--images", type=int, default=32)
    options = parser.parse_args()
    bundle, image, tenant = load_bundle(options.bundle), xray(), uuid4()
    chosen = fastest(bundle)
    with ExitStack() as stack:
        sides = [
            started(stack, bundle, settings={"THORAX_ENGINE": engine})
            for engine in (Engine.ONNXRUNTIME, chosen)
        ]
        print(f"{chosen} beside {Engine.ONNXRUNTIME}, {options.rounds} rounds of {options.images} images")
        for way, query in (("cascade", ""), ("all networks", "?full=true")):
            for platform, _ in sides:
                _round(platform, {}, tenant, image, query, CLIENTS)
            pairs = [
                [_round(platform, stores, tenant, image, query, options.images) for platform, stores in sides]
                for _ in range(options.rounds)
            ]
            rates, cpu = ([[side[i] for side in pair] for pair in pairs] for i in (0, 1))
            quicker, less = ([b / a for a, b in of] for of in (rates, cpu))
            print(
                f"{way}: {_middle(quicker)} of the studies/s ({_means(rates)}), {_middle(less)} of the CPU-ms "
                f"a study, all processes ({_means(cpu)}); load {os.getloadavg()[0]:.0f}"
            )
        print("RSS of a worker:", ", ".join(rss(platform.processes["worker-0"].pid) for platform, _ in sides))


def _round(
    platform: Platform, stores: dict[str, int], tenant: UUID, image: bytes, query: str, images: int
) -> tuple[float, float]:
    """Studies per second, and CPU-ms of the platform a study."""
    token = platform.issuer.token(tenant)
    clients = [Client(platform.base, token, image, query) for _ in range(CLIENTS)]
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
