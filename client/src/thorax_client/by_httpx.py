"""Requests by httpx: those to be awaited, and where a proxy or an option of it is wanted. Its import takes a third of a command's start."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from thorax_client.flows import CONNECT_S, READ_S, Answer, LostError, Request

_TIMEOUT = httpx.Timeout(CONNECT_S, read=READ_S, write=READ_S, pool=None)


def _options(base_url: str, options: dict[str, Any]) -> dict[str, Any]:
    """httpx's options; certificates are loaded (57 CPU-ms) only where there is something to verify."""
    tls = {} if base_url.startswith("https") else {"verify": False}
    return {"base_url": base_url, "timeout": _TIMEOUT, **tls, **options}


class Blocking:
    """See `thorax_client.plain.Connections`."""

    def __init__(self, base_url: str, options: dict[str, Any]) -> None:
        self._http = httpx.Client(**_options(base_url, options))
        self.close = self._http.close

    def request(self, asked: Request) -> Answer:
        """Send, and read the whole answer. Raises LostError."""
        with _lost():
            return _answer(
                self._http.request(asked.method, asked.path, headers=asked.headers, content=asked.body)
            )


class Awaited:
    """The same to be awaited."""

    def __init__(self, base_url: str, options: dict[str, Any]) -> None:
        self._http = httpx.AsyncClient(**_options(base_url, options))
        self.close = self._http.aclose

    async def request(self, asked: Request) -> Answer:
        """See Blocking."""
        with _lost():
            return _answer(
                await self._http.request(asked.method, asked.path, headers=asked.headers, content=asked.body)
            )


@contextmanager
def _lost() -> Iterator[None]:
    try:
        yield
    except httpx.TransportError as error:
        raise LostError(str(error) or type(error).__name__) from error


def _answer(answer: httpx.Response) -> Answer:
    return Answer(answer.status_code, answer.headers, answer.content)
