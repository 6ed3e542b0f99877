"""The platform with its cascade beside mosec with the same networks, in turns, in one run: `python benchmarks/peer.py FOLDER_OF_XRAYS`.

mosec is not among the project's dependencies: `pip install mosec==0.9.8` first. It decodes, infers and answers; the platform
also keeps the file, each step, the findings, the maps and the picture to look at. Both get the same JPEGs, all of a round at once.
"""

import argparse
import asyncio
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from uuid import uuid4

import cv2

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.clients import Client, Times, load
from benchmarks.throughput import family_cpu, started
from local_stack.server import free_port
from thorax.bundle import Bundle, load_bundle

SERVER = Path(__file__).with_name("mosec_server.py")


class Posting(Client):
    """A client of mosec: one request, one answer."""

    async def study(self, times: Times, *, wait: bool = True) -> None:
        """One image from request to answer."""
        began = time.perf_counter()
        await self._ask(self._upload, b"200")
        times.studies.append(time.perf_counter() - began)

    def _posting(self, image: bytes, query: bytes) -> bytes:
        return (
            b"POST /inference HTTP/1.1\r\n"
            + self._head
            + f"Content-Length: {len(image)}\r\n\r\n".encode()
            + image
        )


def mosec(stack: ExitStack, bundle: Bundle, members: tuple[str, ...]) -> tuple[str, int]:
    """Address and process id of a server that is ready."""
    port = free_port()
    environment = os.environ | {
        "THORAX_PEER_BUNDLE": str(bundle.folder),
        "THORAX_PEER_MEMBERS": ",".join(members),
    }
    command = [
        sys.executable,
        str(SERVER),
        "--address",
        "127.0.0.1",
        "--port",
        str(port),
        "--timeout",
        "60000",
    ]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    stack.callback(process.wait)
    stack.callback(process.terminate)
    return f"http://127.0.0.1:{port}", process.pid


def ready(base: str) -> None:
    """Wait until something listens."""

    async def connect() -> None:
        place = base.rpartition(":")[2]
        _, writer = await asyncio.open_connection("127.0.0.1", int(place))
        writer.close()

    while True:
        try:
            return asyncio.run(connect())
        except OSError:
            time.sleep(0.2)


def main() -> None:
    """Alternate, and print medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("images", type=Path)
    parser.add_argument("--bundle", type=Path, default=Path("models/default"))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--each", type=int, default=32, help="images a round")
    options = parser.parse_args()
    files = sorted(options.images.iterdir())
    random.Random(0).shuffle(files)
    bundle = load_bundle(options.bundle)
    first = tuple(bundle.manifest.cascade.first) if bundle.manifest.cascade else bundle.names
    rows: dict[str, list[tuple[float, float]]] = {}
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        (link := Path(folder) / "bundle").symlink_to(options.bundle.resolve())
        platform, stores = started(stack, load_bundle(link))
        families = {name: process.pid for name, process in platform.processes.items()} | stores
        peers = {
            f"mosec, {len(names)} networks": mosec(stack, bundle, names) for names in (bundle.names, first)
        }
        for base, _ in peers.values():
            ready(base)

        def turn(name: str, clients: list[Client], pids: dict[str, int]) -> None:
            before, began = sum(family_cpu(pids).values()), time.perf_counter()
            load(clients, len(clients))
            seconds, count = time.perf_counter() - began, len(clients)
            used = (sum(family_cpu(pids).values()) - before) / count * 1000
            rows.setdefault(name, []).append((count / seconds, used))
            print(f"{name}: {count / seconds:.2f}/s, {used:.0f} CPU-ms", file=sys.stderr)

        for number in range(options.rounds + 1):
            some = [files[(number * options.each + i) % len(files)] for i in range(options.each)]
            images = [cv2.imencode(".jpg", cv2.imread(str(file)))[1].tobytes() for file in some]
            for name, (base, pid) in peers.items():
                turn(name, [Posting(base, "", image) for image in images], {name: pid})
            token = platform.issuer.token(uuid4())
            turn(
                "platform", [Client(platform.base, token, image, "?force=true") for image in images], families
            )
    print(
        f"load {os.getloadavg()[0]:.0f}, medians of {options.rounds} rounds of {options.each} images sent at once"
    )
    print("| | images/s | CPU-ms per image | platform's images/s, ratio |\n|---|---:|---:|---:|")
    kept = {name: values[1:] for name, values in rows.items()}  # the first round warms up
    for name, values in kept.items():
        ratios = [own[0] / peer[0] for own, peer in zip(kept["platform"], values, strict=True)]
        rate, cpu = (statistics.median(column) for column in zip(*values, strict=True))
        print(f"| {name} | {rate:.2f} | {cpu:.0f} | {statistics.median(ratios):.2f} |")


if __name__ == "__main__":
    main()
