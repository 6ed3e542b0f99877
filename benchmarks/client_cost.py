"""CPU time that thorax-client adds to an image: `python benchmarks/client_cost.py [N]`.

A server of canned answers in a process of its own; the client uploads `samples/chest.dcm` and waits, N times. Printed are
the CPU-ms per image of Client and of AsyncClient (eight at a time), and of bare httpx, blocking and eight at a time, doing the same two requests.
"""

import argparse
import asyncio
import multiprocessing
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing.connection import Connection
from pathlib import Path
from uuid import UUID

import httpx
from msgspec.json import encode

from thorax_client import AsyncClient, Client, Credentials
from thorax_client.models import (
    FINDINGS,
    Bundle,
    Finding,
    Grid,
    Grids,
    Image,
    Job,
    Progress,
    Receipt,
    Scale,
    Study,
)

SAMPLE = ("chest.dcm", (Path(__file__).parents[1] / "samples/chest.dcm").read_bytes())
ID = UUID("3f0c2b1e-6a55-4d0e-9a3e-2f2f4c1f7b11")
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def answers() -> tuple[bytes, bytes]:
    """A receipt, and a job with one image, of the size of real ones."""
    own, links = {f"backbone_{i}": 0.1 for i in range(5)}, {"self": f"/v1/jobs/{ID}"}
    five = [
        Finding(name, name, 0.1, 0.1, "likely", False, "unlikely", 0.1, 0.1, -0.1, 0.1, own)
        for name in FINDINGS
    ]
    overlays, grid = {f"overlay:{name}": "/x" * 40 for name in FINDINGS}, Grid(28, 28)
    of_file = (ID, 0, "chest.dcm", "application/dicom", 1, 1, "PA", "1.2", "1.2", "1.2", "DX")
    image = Image(
        *of_file, "prepared", None, [], 1, five, [*own], Grids(grid, dict.fromkeys(own, grid)), overlays
    )
    study = Study(ID, "", "1.2", None, None, None, None, five)
    job = Job(
        ID, "succeeded", "routine", Progress(7, 7), [], 9, Bundle("b", "1", "d"), [*own], False, False, [], None, None,
        NOON, NOON, NOON, None, Scale("logit", dict.fromkeys(FINDINGS, 1.0), dict.fromkeys(FINDINGS, 0.5)),
        {"total_s": 1.0}, None, study, [image], links, "",
    )  # fmt: skip
    return encode(Receipt(ID, ID, [ID], "queued", links)), encode(job)


def serve(port: Connection) -> None:
    """Answer for ever."""
    receipt, job = answers()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            if "chunked" in self.headers.get("Transfer-Encoding", ""):
                raise ValueError("a length is expected")
            self.rfile.read(int(self.headers["Content-Length"]))
            self._say(202, receipt)

        def do_GET(self) -> None:
            self._say(200, job)

        def _say(self, status: int, body: bytes) -> None:
            head = f"HTTP/1.1 {status} OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
            self.wfile.write(head.encode() + body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    port.send(server.server_port)
    server.serve_forever()


def cost(n: int, work: Callable[[int], None]) -> float:
    """CPU-ms per image of this process."""
    work(max(3, n // 20))  # imports, connections
    began = time.process_time()
    work(n)
    return (time.process_time() - began) / n * 1000


async def at_once(count: int, work: Callable[[], Awaitable[object]]) -> None:
    """Do it so often, eight at a time."""
    left = iter(range(count))

    async def some() -> None:
        for _ in left:
            await work()

    async with asyncio.TaskGroup() as group:
        for _ in range(8):
            group.create_task(some())


def main() -> None:
    """Print the four costs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("requests", nargs="?", type=int, default=300, help="of each kind")
    n: int = parser.parse_args().requests
    ours, theirs = multiprocessing.Pipe()
    server = multiprocessing.get_context("spawn").Process(target=serve, args=(theirs,), daemon=True)
    server.start()
    url = f"http://127.0.0.1:{ours.recv()}"
    bearer = Credentials(token="t")

    def blocking(count: int) -> None:
        with Client(url, bearer) as thorax:
            for _ in range(count):
                thorax.analyze(SAMPLE)

    async def eight(count: int) -> None:
        async with AsyncClient(url, bearer) as thorax:
            await at_once(count, lambda: thorax.analyze(SAMPLE))

    async def eight_bare(count: int) -> None:
        async def both() -> None:
            (await http.post("/v1/jobs", files={"files": SAMPLE})).json()
            (await http.get(f"/v1/jobs/{ID}")).json()

        async with httpx.AsyncClient(base_url=url, verify=False) as http:
            await at_once(count, both)

    def bare(count: int) -> None:
        with httpx.Client(base_url=url, verify=False) as http:
            for _ in range(count):
                http.post("/v1/jobs", files={"files": SAMPLE}).json()
                http.get(f"/v1/jobs/{ID}").json()

    works = {
        "httpx.Client": bare,
        "Client": blocking,
        "httpx.AsyncClient": lambda count: asyncio.run(eight_bare(count)),
        "AsyncClient": lambda count: asyncio.run(eight(count)),
    }
    for name, work in works.items():
        print(f"{name:17} {cost(n, work):.2f} CPU-ms per image")
    server.terminate()


if __name__ == "__main__":
    main()
