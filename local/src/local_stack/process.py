"""A program that runs as a child of ours: what to run is a `Process`, one run of it a `Child`."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from local_stack.parent_death_signal import dying_with_us

_LONGEST_LINE = 1 << 16
_OWNERS = {"THORAX_DATABASE_URL", "THORAX_REDIS_URL"}  # each service gets its own


class StartError(Exception):
    """Something can't start; the message is the one sentence to show."""


@dataclass(frozen=True)
class Process:
    """What to run: `env` is added to our environment, `prepare()` is called before each start.

    `ready(pid)` is called until it returns true. `death` is what the kernel sends the child when we die.
    """

    name: str
    argv: list[str]
    env: Mapping[str, str] = field(default_factory=dict)
    ready: Callable[[int], bool] = lambda _pid: True
    prepare: Callable[[], None] = lambda: None
    death: signal.Signals = signal.SIGKILL
    stop: signal.Signals = signal.SIGTERM
    not_root: bool = False


class Child:
    """One run of a `Process`, in a process group of its own, which dies with us. Start it from the main thread."""

    def __init__(self, process: Process, output: int | IO[bytes] = subprocess.PIPE) -> None:
        """Prepare and start it. Raises OSError when that fails."""
        process.prepare()
        self.process = process
        self._popen = subprocess.Popen(
            dying_with_us(process.argv, process.death, not_root=process.not_root),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={k: v for k, v in os.environ.items() if k not in _OWNERS} | dict(process.env),
            start_new_session=True,
        )

    @property
    def pid(self) -> int:
        """Its process id, which is its process group's too (see `dying_with_us`)."""
        return self._popen.pid

    @property
    def running(self) -> bool:
        """Whether it has not ended yet."""
        return self._popen.poll() is None

    @property
    def ready(self) -> bool:
        """Whether it runs and does its work."""
        return self.running and self.process.ready(self.pid)

    def send(self, number: signal.Signals) -> None:
        """Send it a signal; nothing happens when it has ended."""
        self._popen.send_signal(number)

    def wait(self, timeout: float | None = None) -> int:
        """Its exit status, negative for a signal. Raises subprocess.TimeoutExpired."""
        return self._popen.wait(timeout)

    async def end(self) -> int:
        """The same without blocking. (asyncio's own `wait` also waits for grandchildren that hold the pipe.)"""
        loop, ended, descriptor = asyncio.get_running_loop(), asyncio.Event(), os.pidfd_open(self.pid)
        loop.add_reader(descriptor, ended.set)
        try:
            await ended.wait()
        finally:
            loop.remove_reader(descriptor)
            os.close(descriptor)
        return self.wait()

    async def lines(self) -> AsyncIterator[str]:
        """What it and its children write, line by line, until all of them have closed the pipe."""
        reader, rest = asyncio.StreamReader(), b""
        protocol = asyncio.StreamReaderProtocol(reader)
        pipe, _ = await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, self._popen.stdout)
        with contextlib.closing(pipe):
            while data := await reader.read(_LONGEST_LINE):
                *lines, rest = (rest + data).split(b"\n")
                if len(rest) > _LONGEST_LINE:
                    lines, rest = [*lines, rest], b""
                for line in filter(None, map(_text, lines)):
                    yield line
            if last := _text(rest):
                yield last

    def kill_group(self) -> None:
        """SIGKILL for it and all it started."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)


def program(name: str) -> str:
    """A command of the environment that this process runs in."""
    return str(Path(sys.executable).parent / name)


def _text(line: bytes) -> str:
    return line.decode(errors="replace").rstrip()
