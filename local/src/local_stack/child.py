"""One run of one child process: it dies with its parent, its output is split into lines, its end is seen at once."""

import asyncio
import contextlib
import os
import signal
from asyncio.subprocess import DEVNULL, PIPE, STDOUT
from collections.abc import Callable
from typing import Self, cast

from local_stack.parent_death_signal import parent_death_signal
from local_stack.processes import Process

_LONGEST_LINE = 1 << 16
_OWNERS = {"THORAX_DATABASE_URL", "THORAX_REDIS_URL"}  # each service gets its own


class Child(asyncio.SubprocessProtocol):
    """A running `Process`. asyncio's own `wait` would wait for grandchildren that hold the pipe as well."""

    def __init__(self, on_line: Callable[[str], None]) -> None:
        loop = asyncio.get_running_loop()
        self._on_line = on_line
        self._rest = b""
        self._exited: asyncio.Future[None] = loop.create_future()
        self._closed: asyncio.Future[None] = loop.create_future()
        self._transport: asyncio.SubprocessTransport | None = None

    @classmethod
    async def start(cls, process: Process, on_line: Callable[[str], None]) -> Self:
        """Prepare and start it. Raises OSError when that fails."""
        process.prepare()
        _, child = await asyncio.get_running_loop().subprocess_exec(
            lambda: cls(on_line),
            *process.argv,
            stdin=DEVNULL,
            stdout=PIPE,
            stderr=STDOUT,
            env={k: v for k, v in os.environ.items() if k not in _OWNERS} | dict(process.env),
            preexec_fn=parent_death_signal(process.death, not_root=process.not_root),
        )
        return child

    @property
    def pid(self) -> int:
        """Its process id, which is its process group's too (see `parent_death_signal`)."""
        assert self._transport is not None
        return self._transport.get_pid()

    async def wait(self) -> int:
        """Its exit status, negative for a signal, once it has ended and said its last line."""
        await self._exited
        self.kill_group()  # whatever it started and left behind
        await asyncio.wait([self._closed], timeout=1)
        assert self._transport is not None
        status = self._transport.get_returncode()
        return 0 if status is None else status

    def send(self, number: signal.Signals) -> None:
        """Send it a signal; nothing happens when it has ended."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def kill_group(self) -> None:
        """SIGKILL for it and all it started."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)

    def forget(self) -> None:
        """Kill what is left of it and close its pipe."""
        self.kill_group()
        assert self._transport is not None
        self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """asyncio: the child runs."""
        self._transport = cast(asyncio.SubprocessTransport, transport)

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        """asyncio: the child wrote output."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > _LONGEST_LINE:
            lines, self._rest = [*lines, self._rest], b""
        for line in lines:
            self._tell(line)

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:
        """asyncio: the pipe was closed."""
        self._tell(self._rest)
        if not self._closed.done():
            self._closed.set_result(None)

    def process_exited(self) -> None:
        """asyncio: the child ended; its own children may still run."""
        if not self._exited.done():
            self._exited.set_result(None)

    def _tell(self, line: bytes) -> None:
        text = line.decode(errors="replace").rstrip()
        if text:
            self._on_line(text)
