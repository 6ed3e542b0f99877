"""A pinned file is fetched whole, resumed where it broke off, and refused when it is another one."""

import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

pytest.importorskip("tqdm", reason="the training extra (tqdm) is not installed")

from training.downloads import Pinned, fetch

DATA = bytes(range(256)) * 40
asked: list[str | None] = []


class Ranges(BaseHTTPRequestHandler):
    """Serves DATA, from where the Range header says."""

    def do_GET(self) -> None:
        said = self.headers.get("Range")
        asked.append(said)
        start = int(said.removeprefix("bytes=").rstrip("-")) if said else 0
        self.send_response(206 if said else 200)
        self.send_header("Content-Length", str(len(DATA) - start))
        self.end_headers()
        self.wfile.write(DATA[start:])

    def log_message(self, *_: object) -> None:
        """Keeps the test's output clean."""


@pytest.fixture
def pinned() -> Iterator[Pinned]:
    asked.clear()
    server = HTTPServer(("127.0.0.1", 0), Ranges)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield Pinned(f"http://127.0.0.1:{server.server_port}/net.h5", hashlib.md5(DATA).hexdigest())
    server.shutdown()
    server.server_close()


def test_it_resumes_and_does_not_fetch_twice(pinned: Pinned, tmp_path: Path) -> None:
    (tmp_path / "net.part").write_bytes(DATA[:1000])
    assert fetch(pinned, tmp_path).read_bytes() == DATA
    assert fetch(pinned, tmp_path).read_bytes() == DATA
    assert asked == ["bytes=1000-"]


def test_another_file_is_refused(pinned: Pinned, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"net\.h5: expected the MD5 0, found"):
        fetch(pinned._replace(md5="0"), tmp_path)


def test_a_sha256_counts_for_more_than_an_md5(pinned: Pinned, tmp_path: Path) -> None:
    right = hashlib.sha256(DATA).hexdigest()
    assert fetch(pinned._replace(md5="0", sha256=right.upper()), tmp_path).read_bytes() == DATA
    with pytest.raises(ValueError, match=r"net\.h5: expected the sha256 0a, found"):
        fetch(pinned._replace(sha256="0a"), tmp_path)


def test_files_without_a_digest_are_not_fetched_unasked(pinned: Pinned, tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=r"names no digest\. Fetch it, put it at .*net\.h5, and say by --sha256"
    ):
        fetch(pinned._replace(md5=""), tmp_path)
    assert asked == []


def test_without_a_network_it_says_what_to_fetch_and_where_to_put_it(tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=r"http://127\.0\.0\.1:9/net\.h5 can't be fetched .* put it at .*net\.h5"
    ):
        fetch(Pinned("http://127.0.0.1:9/net.h5", "0"), tmp_path)
