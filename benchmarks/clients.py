"""Eight clients in one thread that cost almost no CPU, since they share the two cores with what is measured.

Each request's bytes are built once; an answer is read up to its Content-Length. No HTTP library: httpx took
15 CPU-ms per study, as much as the whole gateway.
"""

import asyncio
import json
import re
import time
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit
from uuid import uuid4

_LENGTH = re.compile(rb"\r\ncontent-length: (\d+)", re.IGNORECASE)
_LOCATION = re.compile(rb"\r\nlocation: (\S+)", re.IGNORECASE)


@dataclass
class Times:
    """Measured seconds, by what was measured."""

    uploads: list[float] = field(default_factory=list)
    polls: list[float] = field(default_factory=list)
    studies: list[float] = field(default_factory=list)


class Client:
    """One connection that uploads, waits for the result, and starts again."""

    def __init__(self, base: str, token: str, image: bytes, query: str = "") -> None:
        place = urlsplit(base)
        self._host, self._port = place.hostname, place.port
        self._head = f"Host: {place.netloc}\r\nAuthorization: Bearer {token}\r\n".encode()
        self._upload = self._posting(image, query.encode())

    async def __aenter__(self) -> Self:
        self._reader, self._writer = await asyncio.open_connection(self._host, self._port)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._writer.close()

    def _posting(self, image: bytes, query: bytes) -> bytes:
        mark = uuid4().hex.encode()
        part = (
            b'Content-Disposition: form-data; name="files"; filename="x.jpg"\r\nContent-Type: image/jpeg\r\n'
        )
        body = b"--" + mark + b"\r\n" + part + b"\r\n" + image + b"\r\n--" + mark + b"--\r\n"
        kind = b"Content-Type: multipart/form-data; boundary=" + mark
        length = f"\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        return b"POST /v1/jobs" + query + b" HTTP/1.1\r\n" + self._head + kind + length + body

    async def _ask(self, request: bytes, status: bytes) -> tuple[bytes, bytes]:
        self._writer.write(request)
        head = await self._reader.readuntil(b"\r\n\r\n")
        length = _LENGTH.search(head)
        body = await self._reader.readexactly(int(length[1]) if length else 0)
        assert head[9:12] == status, head + body
        return head, body

    async def study(self, times: Times, *, wait: bool = True) -> None:
        """One study from upload to result; `wait` holds the poll, otherwise it is repeated every 50 ms."""
        began = time.perf_counter()
        head, _ = await self._ask(self._upload, b"202")
        times.uploads.append(time.perf_counter() - began)
        location = _LOCATION.search(head)
        assert location, head
        path = location[1] + (b"?wait=30" if wait else b"")
        poll = b"GET " + path + b" HTTP/1.1\r\n" + self._head + b"\r\n"
        while True:
            asked = time.perf_counter()
            _, body = await self._ask(poll, b"200")
            times.polls.append(time.perf_counter() - asked)
            job: dict[str, Any] = json.loads(body)
            if job["state"] == "succeeded":
                break
            assert job["state"] in ("queued", "running"), job
            if not wait:
                await asyncio.sleep(0.05)
        times.studies.append(time.perf_counter() - began)


def load(clients: list[Client], studies: int, *, wait: bool = True) -> Times:
    """Let the clients do this many studies together."""
    times = Times()

    async def one(client: Client, share: int) -> None:
        async with client:
            for _ in range(share):
                await client.study(times, wait=wait)

    async def all_of_them() -> None:
        await asyncio.gather(*(one(client, studies // len(clients)) for client in clients))

    asyncio.run(all_of_them())
    return times
