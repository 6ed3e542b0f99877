"""What the client tries again, against a real server that misbehaves as told."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from time import time

import pytest

from thorax_client import AsyncClient, Client, Credentials, ProblemError, UnreachableError
from thorax_client.errors import retry_after_s

RECEIPT = b'{"job_id": "3f0c2b1e-6a55-4d0e-9a3e-2f2f4c1f7b11", "study_id": "3f0c2b1e-6a55-4d0e-9a3e-2f2f4c1f7b11", "instance_ids": [], "state": "queued", "links": {"self": "/v1/jobs/1"}}'
TOKEN = b'{"access_token": "a", "expires_in": 600}'
BUSY = b'{"code": "overloaded", "detail": "Too much work is waiting.", "remedy": "Retry."}'


class Server:
    """Answers each request with the next of `answers`: a status and a body, or None, which hangs up."""

    def __init__(self) -> None:
        self.answers: list[tuple[int, bytes] | None] = []
        self.requests: list[tuple[str, dict[str, str]]] = []
        this = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                this.requests.append((self.path, dict(self.headers)))
                answer = this.answers.pop(0)
                if answer is None:
                    self.close_connection = True
                    return
                self.send_response(answer[0])
                if answer[0] in (429, 503):
                    self.send_header("Retry-After", "0")
                self.send_header("Content-Length", str(len(answer[1])))
                self.end_headers()
                self.wfile.write(answer[1])

            do_GET = do_POST

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def server() -> Iterator[Server]:
    running = Server()
    yield running
    running.close()


def test_a_busy_or_lost_platform_is_asked_again_with_the_same_key(server: Server) -> None:
    server.answers = [(503, BUSY), None, (202, RECEIPT)]
    with Client(server.url, Credentials(token="t")) as thorax:
        assert thorax.submit(("a.png", b"x")).links["self"] == "/v1/jobs/1"
    keys = {headers["Idempotency-Key"] for _, headers in server.requests}
    assert (len(server.requests), len(keys)) == (3, 1)


def test_patience_ends_with_the_platforms_own_words(server: Server) -> None:
    server.answers = [(503, BUSY)] * 99
    with Client(server.url, Credentials(token="t"), patience_s=0.2) as thorax:
        with pytest.raises(ProblemError, match="Too much work") as caught:
            thorax.submit(("a.png", b"x"))
        assert (caught.value.code, caught.value.status) == ("overloaded", 503)
    assert server.answers, "it has not asked for ever"


def test_what_was_refused_for_good_is_not_asked_again(server: Server) -> None:
    server.answers = [(415, b"<html>a proxy</html>")]
    with (
        Client(server.url, Credentials(token="t")) as thorax,
        pytest.raises(ProblemError, match="answered 415") as caught,
    ):
        thorax.submit(("a.png", b"x"))
    assert caught.value.code == "http_415"
    assert len(server.requests) == 1


def test_nobody_there_is_said(server: Server) -> None:
    server.close()
    with (
        Client(server.url, patience_s=0.1) as thorax,
        pytest.raises(UnreachableError, match="GET /v1/models failed"),
    ):
        thorax.models()


async def test_a_token_is_got_and_one_that_is_refused_is_renewed_once(server: Server) -> None:
    server.answers = [
        (200, TOKEN),
        (401, b"{}"),
        (200, TOKEN),
        (202, RECEIPT),
        (401, b"{}"),
        (200, TOKEN),
        (401, b"{}"),
    ]
    async with AsyncClient(server.url, Credentials(client_id="c", client_secret="s")) as thorax:
        await thorax.submit(("a.png", b"x"))
        with pytest.raises(ProblemError):
            await thorax.submit(("a.png", b"x"))
    asked = [path for path, _ in server.requests]
    assert asked == [
        "/auth/token",
        "/v1/jobs",
        "/auth/token",
        "/v1/jobs",
        "/v1/jobs",
        "/auth/token",
        "/v1/jobs",
    ]


def test_threads_that_share_a_client_get_one_token(server: Server) -> None:
    server.answers = [(200, TOKEN), *[(202, RECEIPT)] * 8]
    together = threading.Barrier(8)

    def submit(_: int) -> None:
        together.wait()
        thorax.submit(("a.png", b"x"))

    credentials = Credentials(client_id="c", client_secret="s")
    with Client(server.url, credentials) as thorax, ThreadPoolExecutor(8) as pool:
        list(pool.map(submit, range(8)))
    assert [path for path, _ in server.requests] == ["/auth/token", *["/v1/jobs"] * 8]


@pytest.mark.parametrize(
    ("told", "seconds"), [("7", 7.0), ("{}", 60.0), ("soon", None), ("", None), ("-1", None)]
)
def test_retry_after_is_seconds_or_a_date(told: str, seconds: float | None) -> None:
    header = told.format(formatdate(time() + 60, usegmt=True))
    found = retry_after_s({"Retry-After": header})
    assert found is None if seconds is None else found == pytest.approx(seconds, abs=30)


def test_secrets_are_not_shown() -> None:
    assert "hush" not in repr(Credentials("hush", "ada", "hush", "c", "hush"))
