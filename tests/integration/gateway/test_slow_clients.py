"""Slow clients: none may hold a connection for long, or delay others."""

import resource
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from uuid import uuid4

import httpx
import psutil
import pytest

from tests.factories.images import chest_png
from tests.factories.patience import PATIENCE_S, until
from tests.factories.platform import Platform
from tests.integration.gateway.conftest import BODY_IDLE_S, BODY_TOTAL_S
from tests.integration.gateway.problem import problem
from tests.integration.gateway.stored import stored
from thorax.errors import Code

pytestmark = pytest.mark.slow
CROWD = 2000
HEADER_S = 10  # a connection without a complete header is closed after this time


@pytest.fixture
def many_files() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < CROWD + 500:
        pytest.skip(f"this system allows {hard} open files")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, CROWD + 500), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def closed_after(connection: socket.socket, began: float) -> float:
    """Seconds since `began` until the other side closed; whatever it still sends is read."""
    connection.settimeout(PATIENCE_S)
    try:
        while connection.recv(65536):
            pass
    except ConnectionResetError:
        pass
    return time.monotonic() - began


def test_two_thousand_half_sent_headers_delay_nobody_and_end_in_ten_seconds(
    platform: Platform, client: httpx.Client, many_files: None
) -> None:
    process = psutil.Process(platform.processes["gateway"].pid)
    memory, delays = process.memory_info().rss, []
    assert client.get("/v1/jobs").status_code == 200
    with ExitStack() as stack:
        began = time.monotonic()
        crowd = [
            stack.enter_context(socket.create_connection(("127.0.0.1", platform.port))) for _ in range(CROWD)
        ]
        for number, connection in enumerate(crowd):
            with suppress(OSError):  # a starved machine closes the first before the last are open
                if number % 2:  # one half says nothing at all
                    connection.sendall(b"GET /v1/jobs HTTP/1.1\r\nHost: x\r\nX-Slow: ")
        until(lambda: process.num_fds() >= CROWD or time.monotonic() - began > HEADER_S - 2)
        kept, answer = crowd[0], b""
        kept.settimeout(PATIENCE_S)
        with suppress(OSError):
            kept.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            while not answer.endswith(b"}") and (piece := kept.recv(65536)):
                answer += piece
            kept.sendall(b"GET /hea")  # a kept connection has its deadline too
        assert answer.endswith(b"}") or time.monotonic() - began > HEADER_S - 2, answer
        for _ in range(20):
            asked = time.monotonic()
            assert client.get("/v1/jobs").status_code == 200
            delays.append(time.monotonic() - asked)
            with suppress(OSError):
                crowd[1].send(b"x")  # a byte now and then changes nothing
        with httpx.Client(base_url=platform.base) as newcomer:
            asked = time.monotonic()
            assert newcomer.get("/healthz").status_code == 200
            delays.append(time.monotonic() - asked)
        assert max(delays) < HEADER_S, "somebody had to wait until the crowd had left"
        assert closed_after(crowd[1], began) > HEADER_S - 2
        assert closed_after(crowd[-2], began) > HEADER_S - 2
        closed_after(kept, began)
        for connection in crowd:
            closed_after(connection, began)
    assert process.memory_info().rss - memory < 50e6
    assert process.num_fds() < 200


@pytest.mark.parametrize(
    ("pause", "least"), [(60, BODY_IDLE_S), (0.3, BODY_TOTAL_S)], ids=["silent", "trickling"]
)
def test_a_body_that_comes_too_slowly_is_refused_and_leaves_nothing(
    strict: Platform, platform: Platform, pause: float, least: float
) -> None:
    before = stored(platform)
    head = (
        f"POST /v1/jobs HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {platform.issuer.token(uuid4())}\r\n"
        "Content-Type: multipart/form-data; boundary=x\r\nContent-Length: 100000\r\n\r\n"
        '--x\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\n'
    )
    with socket.create_connection(("127.0.0.1", strict.port)) as connection:
        began = time.monotonic()
        connection.sendall(head.encode() + chest_png(1, 256)[:70_000])
        answer = read_to_the_end(connection, pause)
        took = time.monotonic() - began
    assert answer.startswith(b"HTTP/1.1 408 "), answer
    assert b"body_timeout" in answer and b"connection: close" in answer
    assert least <= took
    assert stored(platform) <= before


def read_to_the_end(connection: socket.socket, pause: float) -> bytes:
    """All that comes until the other side closes; a byte is sent whenever nothing has come for `pause` seconds."""
    connection.settimeout(pause)
    answer = b""
    with suppress(ConnectionError):  # the gateway may close while we still send
        while True:
            try:
                if not (piece := connection.recv(65536)):
                    break
                answer += piece
            except TimeoutError:
                connection.sendall(b"\0")
    return answer


def test_an_upload_that_keeps_sending_is_not_cut_off(strict: Platform) -> None:
    def slowly() -> Iterator[bytes]:
        yield b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\n'
        image = chest_png(1, 64)
        for at in range(0, len(image), len(image) // 8):
            yield image[at : at + len(image) // 8]
            time.sleep(1.2 * BODY_IDLE_S / 8)  # longer than the pause that is allowed, all in all
        yield b"\r\n--x--\r\n"

    kind = {"Content-Type": "multipart/form-data; boundary=x"}
    with strict.client() as client:
        assert client.post("/v1/jobs", content=slowly(), headers=kind).status_code == 202


def test_a_client_that_leaves_while_it_waits_frees_its_place(
    client: httpx.Client, platform: Platform
) -> None:
    """Forty clients ask to wait for a minute and hang up at once; the gateway closes all their connections."""
    process = psutil.Process(platform.processes["gateway"].pid)
    job = client.get("/v1/jobs").json()  # the tenant has none: the wait below is for a stranger's id
    assert job["items"] == []
    before = process.num_fds()
    for _ in range(40):
        with socket.create_connection(("127.0.0.1", platform.port)) as connection:
            connection.sendall(b"GET /v1/jobs HTTP/1.1\r\nHost: x\r\nAuthoriz")
    until(lambda: process.num_fds() <= before + 2)


def test_a_refused_upload_gets_its_answer_although_it_was_still_sending(platform: Platform) -> None:
    answer = httpx.post(f"{platform.base}/v1/jobs", content=bytes(5_000_000))
    problem(answer, Code.UNAUTHENTICATED)
