"""Requests by the standard library, against a server that answers as told."""

import socket
from collections.abc import Callable, Iterator
from contextlib import closing
from threading import Thread

import pytest

from thorax_client import Client, UnreachableError
from thorax_client.flows import LostError, Request
from thorax_client.plain import Connections

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nRetry-after: 7\r\n\r\n{}"
GET = Request("GET", "/a?b=c")
Serve = Callable[[Callable[[socket.socket], None], int], Thread]


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening


@pytest.fixture
def serve(listening: socket.socket) -> Serve:
    """Handle so many connections, one after the other, and close each."""

    def work(handle: Callable[[socket.socket], None], times: int) -> None:
        for _ in range(times):
            with listening.accept()[0] as connection:
                handle(connection)

    def start(handle: Callable[[socket.socket], None], times: int) -> Thread:
        thread = Thread(target=work, args=(handle, times), daemon=True)
        thread.start()
        return thread

    return start


@pytest.fixture
def connections(listening: socket.socket) -> Iterator[Connections]:
    with closing(Connections(f"http://127.0.0.1:{listening.getsockname()[1]}/below/")) as connections:
        yield connections


def answered(connection: socket.socket) -> None:
    assert connection.recv(65536).startswith((b"GET /below/a?b=c HTTP/1.1\r\n", b"POST "))
    connection.sendall(ANSWER)


def test_a_connection_is_kept(connections: Connections, serve: Serve) -> None:
    def twice(connection: socket.socket) -> None:
        answered(connection)
        answered(connection)

    serve(twice, 1)
    for _ in range(2):
        assert connections.request(GET).content == b"{}"


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n1\r\n}\r\n0\r\n\r\n"


@pytest.mark.parametrize(
    "told",
    [CHUNKED, b"HTTP/1.1 100 Continue\r\n\r\n" + ANSWER, b"HTTP/1.0 200 OK\r\n\r\n{}"],
    ids=["chunked", "after an interim one", "until the end"],
)
def test_an_answer_is_whole_however_it_comes(told: bytes, connections: Connections, serve: Serve) -> None:
    def in_pieces(connection: socket.socket) -> None:
        connection.recv(65536)
        for at in range(len(told)):
            connection.sendall(told[at : at + 1])

    serve(in_pieces, 1)
    answer = connections.request(GET)
    assert (answer.status, answer.content) == (200, b"{}")


@pytest.mark.parametrize("told", [ANSWER[:-1], ANSWER[:30], b"SSH-2.0-x\r\n"], ids=["body", "head", "other"])
def test_half_an_answer_is_a_lost_connection(told: bytes, connections: Connections, serve: Serve) -> None:
    def half(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(told)

    serve(half, 1)
    with pytest.raises(LostError):
        connections.request(GET)


@pytest.mark.parametrize(
    "asked", [Request("GET", "/a b"), Request("GET", "/", {"Idempotency-Key": "a\r\nX: b"})]
)
def test_nothing_begins_another_line_of_a_request(asked: Request, connections: Connections) -> None:
    with pytest.raises(LostError, match="character"):
        connections.request(asked)


def test_no_answer_is_a_lost_connection(connections: Connections, serve: Serve) -> None:
    serve(lambda connection: None, 1)
    with pytest.raises(LostError):
        connections.request(GET)


def test_a_connection_that_the_server_has_closed_is_not_used(connections: Connections, serve: Serve) -> None:
    first = serve(answered, 1)
    assert connections.request(GET).headers["Retry-After"] == "7"
    first.join()
    serve(answered, 1)
    assert connections.request(Request("POST", "/", body=b"x")).status == 200


def test_an_upload_that_is_refused_before_it_ends_has_its_answer(
    connections: Connections, serve: Serve
) -> None:
    serve(answered, 1)
    assert connections.request(Request("POST", "/", body=bytes(50_000_000))).status == 200


def test_a_server_that_is_not_thorax_is_told_by_the_client_s_error(
    listening: socket.socket, serve: Serve
) -> None:
    def other(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(ANSWER)

    serve(other, 1)
    told = pytest.raises(UnreachableError, match="as Thorax does")
    with Client(f"http://127.0.0.1:{listening.getsockname()[1]}") as thorax, told:
        thorax.models()


@pytest.mark.parametrize("environment", [{}, {"https_proxy": "http://proxy"}])
def test_proxies_and_options_are_httpx_s(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    options = {} if environment else {"verify": False}
    with Client("http://127.0.0.1", **options) as thorax:
        assert not isinstance(thorax._http, Connections)
