"""Clients that stop reading a response are disconnected; those that still send are told why they are refused."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import uvicorn
from fastapi import FastAPI, Response
from tests.factories.patience import until

from local_stack.server import free_port
from thorax.http import server as http_server
from thorax.http.middleware import BodyLimits


@contextmanager
def served(app: FastAPI) -> Iterator[uvicorn.Server]:
    config = uvicorn.Config(
        app, port=free_port(), http=http_server.DeadlineProtocol, loop="uvloop", log_config=None
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        until(lambda: server.started)
        yield server
    finally:
        server.should_exit = True
        thread.join()


@pytest.mark.slow
@pytest.mark.parametrize("reads", [True, False])
def test_a_client_that_stops_reading_is_disconnected(monkeypatch: pytest.MonkeyPatch, reads: bool) -> None:
    monkeypatch.setattr(http_server, "STALLED_S", 2 if reads else 0.3)
    app, size = FastAPI(), 30_000_000

    @app.get("/")
    async def big() -> Response:
        return Response(bytes(size))

    with served(app) as server, socket.create_connection(("127.0.0.1", server.config.port)) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        if not reads:
            until(lambda: server.server_state.connections)
            until(lambda: not server.server_state.connections, "it is not disconnected")
        read = 0
        try:
            while piece := client.recv(500_000):
                read += len(piece)
                time.sleep(0.05 if reads else 0)  # three seconds in all: slow, but not still
        except ConnectionResetError:
            pass
        assert (read > size) is reads


@pytest.mark.parametrize(
    ("header", "length", "status"),
    [
        (b"Content-Length: 20000000", 20_000_000, b"503"),  # refused before a byte of it is read
        (b"Content-Length: 200000000", 20_000_000, b"413"),
        (b"X-Long: " + bytes(100_000), 0, b"400"),
        (b"X-Long: " + b"x" * 20_000_000, 0, b"431"),
    ],
)
def test_a_refusal_arrives_although_the_client_goes_on_sending(
    header: bytes, length: int, status: bytes
) -> None:
    """Closed at once, the connection would be reset, and the answer lost with it."""
    app = FastAPI()

    @app.post("/")
    async def refuse() -> Response:
        return Response("{}", 503)

    app.add_middleware(BodyLimits, limits={"/": 100_000_000})
    with served(app) as server, socket.create_connection(("127.0.0.1", server.config.port)) as client:
        client.sendall(b"POST / HTTP/1.1\r\nHost: x\r\n" + header + b"\r\n\r\n")
        client.sendall(bytes(length))
        time.sleep(0.1)  # for a reset, if one comes
        client.shutdown(socket.SHUT_WR)
        with client.makefile("rb") as answer:
            assert answer.read().startswith(b"HTTP/1.1 " + status)
