"""A server of HTTPS on loopback that keeps what is posted to it, and answers what a test wants."""

import ssl
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import SimpleQueue
from typing import Any, NamedTuple

from tests.factories.certificates import Issued


class Posted(NamedTuple):
    """A request."""

    path: str
    headers: Mapping[str, str]
    body: bytes


class Receiver:
    """Answers `status`, with `location` if it is set, or these very `bytes`; `posted` are the requests so far, in order."""

    def __init__(self) -> None:
        self.status, self.location, self.bytes = 204, "", b""
        self.posted: SimpleQueue[Posted] = SimpleQueue()
        self.url = ""


@contextmanager
def receiver(issued: Issued) -> Iterator[Receiver]:
    """A running receiver at 127.0.0.1."""
    its = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if its.bytes:
                self.wfile.write(its.bytes)
            else:
                self.send_response(its.status)
                if its.location:
                    self.send_header("Location", its.location)
                self.send_header("Content-Length", "0")
                self.end_headers()
            its.posted.put(Posted(self.path, dict(self.headers), body))

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(issued.certificate, issued.key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    its.url = f"https://127.0.0.1:{server.server_port}"
    yield its
    server.shutdown()
    server.server_close()
