"""Clients that stop reading a response are disconnected."""

import socket
import threading
import time

import pytest
import uvicorn
from fastapi import FastAPI, Response
from tests.factories.patience import until

from local_stack.server import free_port
from thorax.http import server as http_server


@pytest.mark.parametrize("reads", [True, False])
def test_a_client_that_stops_reading_is_disconnected(monkeypatch: pytest.MonkeyPatch, reads: bool) -> None:
    monkeypatch.setattr(http_server, "STALLED_S", 2 if reads else 0.3)
    app, size = FastAPI(), 30_000_000

    @app.get("/")
    async def big() -> Response:
        return Response(bytes(size))

    config = uvicorn.Config(
        app, port=free_port(), http=http_server.DeadlineProtocol, loop="uvloop", log_config=None
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        until(lambda: server.started)
        with socket.create_connection(("127.0.0.1", config.port)) as client:
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
    finally:
        server.should_exit = True
        thread.join()
