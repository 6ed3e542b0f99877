"""Run a FastAPI app under uvicorn with the deadlines and limits that uvicorn does not have."""

import asyncio
import ctypes
import gc
import json
import resource
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from email.utils import formatdate
from types import FrameType
from typing import Any
from uuid import uuid4

import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from thorax.errors import Code, CodedError
from thorax.http import problems
from thorax.http.middleware import LINGER_S
from thorax.metrics import REFUSALS

HEADER_DEADLINE_S = 10
STALLED_S = 30  # without a byte of an answer read
MAX_HEADER_BYTES = 32 * 1024
_M_ARENA_MAX = -8


class DeadlineProtocol(HttpToolsProtocol):
    """Counts the seconds and bytes of a request's header; bare uvicorn waits without limit and accepts any size.

    A request that is not HTTP gets a problem document too.
    """

    _deadline: asyncio.TimerHandle | None = None
    _stalled: asyncio.TimerHandle | None = None
    _header_bytes = 0  # of the header that has begun and is not complete
    _refusal: CodedError | None = None
    _refused = False

    def connection_made(self, transport: Any) -> None:
        """Start the clock of the first header."""
        super().connection_made(transport)
        self._start_clock()

    def on_message_begin(self) -> None:
        """Start the clock of a further header on a kept connection."""
        super().on_message_begin()
        if self._deadline is None:
            self._start_clock()

    def on_headers_complete(self) -> None:
        """The header came in time."""
        self._stop_clock()
        size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
        if size > MAX_HEADER_BYTES:
            self._refusal = CodedError(Code.HEADER_TOO_LARGE)
            raise self._refusal  # stops the parser, whereupon uvicorn asks for `send_400_response`
        date = (b"date", formatdate(usegmt=True).encode())
        self.server_state.default_headers = [date, *self.config.encoded_headers]
        super().on_headers_complete()

    def data_received(self, data: bytes) -> None:
        """Feed the parser, unless the header is too long."""
        if self._refused:
            return
        if self._deadline is not None:
            if self._header_bytes > MAX_HEADER_BYTES:
                self._refuse(CodedError(Code.HEADER_TOO_LARGE))
                return
            self._header_bytes += len(data)
        super().data_received(data)

    def send_400_response(self, msg: str) -> None:
        """Answer what the parser stopped at."""
        self._refuse(self._refusal or CodedError(Code.MALFORMED_REQUEST, msg))

    def _refuse(self, error: CodedError) -> None:
        self._refused = True
        self._stop_clock()
        REFUSALS.labels(error.code).inc()
        body = json.dumps(problems.render(error, f"urn:uuid:{uuid4()}")).encode()
        head = (
            f"HTTP/1.1 {error.code.status} {error.code.title}\r\ncontent-type: {problems.MEDIA_TYPE}\r\n"
            f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
        )
        self.transport.write(head.encode() + body)
        self.transport.write_eof()  # and read on: see LINGER_S
        self._deadline = self.loop.call_later(LINGER_S, self.transport.close)

    def pause_writing(self) -> None:
        """The client reads slower than we write: watch it. Clients that stop reading a response are disconnected."""
        super().pause_writing()
        self._watch(self.transport.get_write_buffer_size())

    def resume_writing(self) -> None:
        """The client has caught up."""
        super().resume_writing()
        self._unwatch()

    def _watch(self, left: int) -> None:
        self._stalled = self.loop.call_later(STALLED_S, self._look, left)

    def _look(self, before: int) -> None:
        if (left := self.transport.get_write_buffer_size()) >= before:
            self.transport.abort()  # an answer is held in memory until it is read
        else:
            self._watch(left)

    def _unwatch(self) -> None:
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the clocks."""
        self._stop_clock()
        self._unwatch()
        super().connection_lost(exc)

    def _start_clock(self) -> None:
        self._deadline = self.loop.call_later(HEADER_DEADLINE_S, self.transport.close)

    def _stop_clock(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
        self._header_bytes = 0


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, leaving: Callable[[], None]) -> None:
        super().__init__(config)
        self._leaving = leaving
        self._told_to_exit = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    async def main_loop(self) -> None:
        """Wait for a signal. (uvicorn's own loop looks ten times a second, and keeps the time for the Date header.)"""
        self._loop = asyncio.get_running_loop()
        if not self.should_exit:
            await self._told_to_exit.wait()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Note the signal, between any two steps of this thread; before the loop runs, it will look by itself."""
        super().handle_exit(sig, frame)
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._told_to_exit.set)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._leaving()
        await super().shutdown(sockets)


def serve(
    app: FastAPI, host: str, port: int, *, grace_s: int = 5, leaving: Callable[[], None] = lambda: None
) -> None:
    """Serve until SIGTERM or SIGINT; `leaving` is called then, and open requests get `grace_s` to finish."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 65_536)), hard))
    # An arena per thread keeps memory that only one thread needs at a time; two arenas suffice (mallopt(3)).
    ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 2)
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        http=DeadlineProtocol,
        loop="uvloop",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # uvicorn would trust X-Forwarded-For from any process on this machine
        timeout_keep_alive=75,
        timeout_graceful_shutdown=grace_s,
        backlog=4096,
    )
    server = _Server(config, leaving)
    gc.freeze()  # a full collection would look through all that was imported, while every request waits
    with suppress(KeyboardInterrupt):
        server.run()
    if not server.started:
        sys.exit(3)
