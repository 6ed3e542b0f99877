"""Requests by a socket and httptools, where nothing more is asked for: a fraction of the CPU time that httpx takes."""

import os
import re
import select
import socket
import sys
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from httptools import HttpParserError, HttpResponseParser

from thorax_client.flows import CONNECT_S, READ_S, Answer, LostError, Request

if TYPE_CHECKING:
    import ssl

_PIECE = 65536
_PATH, _FIELD = re.compile(r"[!-~]+"), re.compile(r"[\t -~\xa0-\xff]*")
"""What a request's first line and a header may hold (RFC 9112, 3.2; RFC 9110, 5.5): nothing that begins another line."""


def suffices() -> bool:
    """Whether the environment names no proxy. On other systems than Linux their settings may: httpx reads them."""
    return sys.platform == "linux" and not any(name.lower().endswith("_proxy") for name in os.environ)


class Connections:
    """Connections to one server that are kept for further requests; threads may share them. Redirects are not followed."""

    def __init__(self, base_url: str) -> None:
        place = urlsplit(base_url)
        self._host, self._secure = place.hostname or "", place.scheme == "https"
        self._port = place.port or (443 if self._secure else 80)
        self._netloc, self._prefix = place.netloc.rpartition("@")[2], place.path.rstrip("/")
        self._context = _context() if self._secure else None
        self._idle: deque[socket.socket] = deque()

    def close(self) -> None:
        """Close those that are idle."""
        while self._idle:
            self._idle.pop().close()

    def request(self, asked: Request) -> Answer:
        """Send, and read the whole answer. Raises LostError."""
        head = self._head(asked)
        connection: socket.socket | None = None
        try:
            connection = self._kept() or self._new()
            answer, again = _exchanged(connection, head, asked.body or b"")
        except (OSError, HttpParserError) as error:
            if connection:
                connection.close()
            raise LostError(str(error) or type(error).__name__) from error
        if again:
            self._idle.append(connection)
        else:
            connection.close()
        return answer

    def _head(self, asked: Request) -> bytes:
        fields = {"Host": self._netloc, "Accept-Encoding": "identity", **asked.headers}
        if asked.body is not None or asked.method == "POST":
            fields["Content-Length"] = str(len(asked.body or b""))
        if not _PATH.fullmatch(asked.path) or not all(map(_FIELD.fullmatch, fields.values())):
            raise LostError("the request has a character that HTTP has no room for")
        lines = [f"{asked.method} {self._prefix}{asked.path} HTTP/1.1"]
        lines += [f"{name}: {value}" for name, value in fields.items()]
        return "\r\n".join([*lines, "\r\n"]).encode("latin-1")

    def _kept(self) -> socket.socket | None:
        """An idle connection that the server has not closed."""
        with suppress(IndexError):
            while True:
                connection = self._idle.pop()
                if not _readable(connection):
                    return connection
                connection.close()
        return None

    def _new(self) -> socket.socket:
        connection = socket.create_connection((self._host, self._port), timeout=CONNECT_S)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._context:
            connection = self._context.wrap_socket(connection, server_hostname=self._host)
        connection.settimeout(READ_S)
        return connection


class _Reading:
    """One answer as the parser tells it."""

    def __init__(self) -> None:
        self.parser = HttpResponseParser(self)
        self.headers: dict[str, str] = {}
        self.body: list[bytes] = []
        self.whole = self.kept = self.until_end = False

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers[name.decode("latin-1").title()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        self.kept = self.parser.should_keep_alive()
        self.until_end = not self.headers.keys() & {"Content-Length", "Transfer-Encoding"}

    def on_body(self, piece: bytes) -> None:
        self.body.append(piece)

    def on_message_complete(self) -> None:
        """An interim answer (1xx) is not the one."""
        if self.parser.get_status_code() >= 200:
            self.whole = True
        else:
            self.headers.clear()


def _exchanged(connection: socket.socket, head: bytes, body: bytes) -> tuple[Answer, bool]:
    """The answer, and whether the connection can be used again."""
    sent, reading = False, _Reading()
    with suppress(BrokenPipeError, ConnectionResetError):  # an upload may be refused before all of it came
        connection.sendall(head)
        connection.sendall(body)
        sent = True
    while not reading.whole:
        piece = connection.recv(_PIECE)
        if not piece and not reading.until_end:
            raise ConnectionResetError("the server closed the connection before its answer was whole")
        reading.whole = not piece
        reading.parser.feed_data(piece)
    answer = Answer(reading.parser.get_status_code(), reading.headers, b"".join(reading.body))
    return answer, sent and reading.kept


def _readable(connection: socket.socket) -> bool:
    """Of an idle connection: whether its end has come."""
    asked = select.poll()
    asked.register(connection, select.POLLIN)
    return bool(asked.poll(0))


def _context() -> "ssl.SSLContext":
    """httpx's, so that the same authorities are trusted."""
    import httpx

    return httpx.create_ssl_context()
