"""A web server for OHIF's built app as it comes from npm, with Thorax behind `/dicomweb/` of the same host."""

import mimetypes
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx

CONFIG = Path(__file__).parents[2] / "docs/examples/ohif-config.js"
PASSED_ON = ("accept", "content-type", "range")


@contextmanager
def ohif(dist: Path, thorax: str, token: Callable[[], str]) -> Iterator[tuple[str, list[str]]]:
    """Its address, and what it answered with an error (filled while it runs)."""
    failed: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            if path.startswith("/dicomweb/"):
                self._pass_on()
            elif path == "/app-config.js":
                self._send(200, "text/javascript", CONFIG.read_bytes())
            else:
                file = (dist / path.lstrip("/")).resolve()
                file = file if file.is_file() and file.is_relative_to(dist) else dist / "index.html"
                kind = mimetypes.guess_type(file.name)[0] or "application/octet-stream"
                self._send(200, kind, file.read_bytes())

        def _pass_on(self) -> None:
            headers = {name: self.headers[name] for name in PASSED_ON if name in self.headers}
            answer = httpx.get(
                f"{thorax}{self.path}",
                headers={**headers, "Authorization": f"Bearer {token()}", "Host": self.headers["host"]},
            )
            if answer.status_code >= 400:
                failed.append(f"{answer.status_code} {self.path} {answer.text[:300]}")
            self._send(answer.status_code, answer.headers.get("content-type", ""), answer.content)

        def _send(self, status: int, kind: str, content: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", failed
    finally:
        server.shutdown()
