"""Requests by the standard library, where nothing more is asked for: a third of the CPU time that httpx takes."""

import os
import select
import sys
from collections import deque
from contextlib import suppress
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from thorax_client.flows import CONNECT_S, READ_S, Answer, LostError, Request

if TYPE_CHECKING:
    import ssl


def suffices() -> bool:
    """Whether the environment names no proxy. On other systems than Linux their settings may: httpx reads them."""
    return sys.platform == "linux" and not any(name.lower().endswith("_proxy") for name in os.environ)


class Connections:
    """Connections to one server that are kept for further requests; threads may share them. Redirects are not followed."""

    def __init__(self, base_url: str) -> None:
        place = urlsplit(base_url)
        self._netloc, self._prefix = place.netloc, place.path.rstrip("/")
        self._context = _context() if place.scheme == "https" else None
        self._idle: deque[HTTPConnection] = deque()

    def close(self) -> None:
        """Close those that are idle."""
        while self._idle:
            self._idle.pop().close()

    def request(self, asked: Request) -> Answer:
        """Send, and read the whole answer. Raises LostError."""
        connection = self._kept() or self._new()
        try:
            answer = self._ask(connection, asked)
        except (OSError, HTTPException) as error:
            connection.close()
            raise LostError(str(error) or type(error).__name__) from error
        self._idle.append(connection)
        return answer

    def _ask(self, connection: HTTPConnection, asked: Request) -> Answer:
        if connection.sock is None:
            _connect(connection)
        whole = False
        with suppress(
            BrokenPipeError, ConnectionResetError
        ):  # an upload may be refused before all of it came
            connection.request(asked.method, self._prefix + asked.path, asked.body, dict(asked.headers))
            whole = True
        with connection.getresponse() as response:
            headers = {name.title(): value for name, value in response.getheaders()}
            answer = Answer(response.status, headers, response.read())
        if not whole:
            connection.close()
        return answer

    def _kept(self) -> HTTPConnection | None:
        """An idle connection that the server has not closed."""
        with suppress(IndexError):
            while True:
                connection = self._idle.pop()
                if connection.sock is not None and not _readable(connection):
                    return connection
                connection.close()
        return None

    def _new(self) -> HTTPConnection:
        if self._context:
            return HTTPSConnection(self._netloc, timeout=CONNECT_S, context=self._context)
        return HTTPConnection(self._netloc, timeout=CONNECT_S)


def _connect(connection: HTTPConnection) -> None:
    connection.connect()
    connection.sock.settimeout(READ_S)


def _readable(connection: HTTPConnection) -> bool:
    """Of an idle connection: whether its end has come."""
    asked = select.poll()
    asked.register(connection.sock, select.POLLIN)
    return bool(asked.poll(0))


def _context() -> "ssl.SSLContext":
    """httpx's, so that the same authorities are trusted."""
    import httpx

    return httpx.create_ssl_context()
