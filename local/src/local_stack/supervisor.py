"""Keeps child processes running: starts them leashed, passes their lines on, restarts what dies, stops all in time."""

import asyncio
import contextlib
import os
import signal
import time
from asyncio.subprocess import DEVNULL, PIPE, STDOUT

from local_stack.leash import leash
from local_stack.logs import Log, readable
from local_stack.processes import Process

START_S = 60.0
SERVICES_STOP_S, STORES_STOP_S = 2.5, 2.0  # together under the 5 s that Ctrl-C may take
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 20.0
HEALTHY_S = 30.0
TRIES = 3


class StartError(Exception):
    """The platform can't start; the message is the one sentence to show."""


class _Child:
    """One `Process` and what became of it."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self.running: asyncio.subprocess.Process | None = None
        self.ends = 0
        self.last_line = ""
        self.keeper: asyncio.Task[None] | None = None


class Supervisor:
    """Start it from the main thread: the kernel ends the children when the thread that forked them ends."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._children: list[_Child] = []
        self._stopping = False

    @property
    def pids(self) -> dict[str, int]:
        """The processes that run at this moment."""
        return {c.process.name: c.running.pid for c in self._children if c.running is not None}

    async def start(self, *processes: Process) -> None:
        """Start all of them at once and return when all are ready; StartError when one won't be."""
        children = [_Child(process) for process in processes]
        self._children += children
        for child in children:
            child.keeper = asyncio.create_task(self._keep(child))
        for child in children:
            try:
                async with asyncio.timeout(START_S):
                    await self._until_ready(child)
            except TimeoutError:
                said = child.last_line or "it says nothing."
                raise StartError(f"{child.process.name} did not get ready in {START_S:g} s: {said}") from None

    async def once(self, process: Process) -> None:
        """Run a command to its end; StartError with its last line when it fails."""
        child = _Child(process)
        self._children.append(child)
        status = await self._run(child)
        self._children.remove(child)
        if status != 0:
            raise StartError(child.last_line or f"{process.name} ended with status {status}.")

    async def stop(self) -> None:
        """End all children, the stores after the services; SIGKILL for the slow."""
        self._stopping = True
        stores = [c for c in self._children if c.process.death != signal.SIGKILL]
        services = [c for c in self._children if c not in stores]
        await self._end(services, SERVICES_STOP_S)
        await self._end(stores, STORES_STOP_S)

    async def _keep(self, child: _Child) -> None:
        pause = FIRST_PAUSE_S
        while not self._stopping:
            began = time.monotonic()
            status = await self._run(child)
            if self._stopping:
                return
            child.ends += 1
            pause = FIRST_PAUSE_S if time.monotonic() - began > HEALTHY_S else pause
            self._log.say(f"{child.process.name} {_how(status)}; starting it again in {pause:g} s")
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE_S)

    async def _run(self, child: _Child) -> int:
        process = child.process
        process.prepare()
        child.running = await asyncio.create_subprocess_exec(
            *process.argv,
            stdin=DEVNULL,
            stdout=PIPE,
            stderr=STDOUT,
            limit=1 << 20,
            env=_environment() | dict(process.env),
            preexec_fn=leash(process.death, not_root=process.not_root),
        )
        running = child.running
        pump = asyncio.create_task(self._pump(child, running))
        try:
            return await running.wait()
        finally:
            child.running = None
            _kill_group(running.pid)  # whatever it started and left behind
            await asyncio.wait([pump], timeout=1)

    async def _pump(self, child: _Child, running: asyncio.subprocess.Process) -> None:
        assert running.stdout is not None
        while True:
            try:
                line = await running.stdout.readline()
            except ValueError:  # longer than the limit
                continue
            if not line:
                return
            text = line.decode(errors="replace").rstrip()
            if text:
                child.last_line, _ = readable(text)
                self._log.line(child.process.name, text)

    async def _until_ready(self, child: _Child) -> None:
        while child.running is None or not child.process.ready(child.running.pid):
            if child.keeper is not None and child.keeper.done():
                child.keeper.result()  # raises what kept it from being started
            if child.ends >= TRIES:
                said = child.last_line or "it says nothing."
                raise StartError(f"{child.process.name} does not start: {said}")
            await asyncio.sleep(0.05)

    async def _end(self, children: list[_Child], patience: float) -> None:
        for child in children:
            if child.running is not None:
                with contextlib.suppress(ProcessLookupError):
                    child.running.send_signal(child.process.stop)
        keepers = [child.keeper for child in children if child.keeper is not None]
        if keepers:
            await asyncio.wait(keepers, timeout=patience)
        for child in children:
            if child.running is not None:
                self._log.say(f"{child.process.name} is slow to stop: killed")
                _kill_group(child.running.pid)
        for keeper in keepers:
            keeper.cancel()
        await asyncio.gather(*keepers, return_exceptions=True)


def _environment() -> dict[str, str]:
    """Ours, without what gives more rights than a service needs."""
    return {k: v for k, v in os.environ.items() if k not in {"THORAX_DATABASE_URL", "THORAX_REDIS_URL"}}


def _kill_group(pid: int) -> None:
    """Each child leads a process group of its own (see `leash`)."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def _how(status: int) -> str:
    if status < 0:
        return f"was ended by {signal.Signals(-status).name}"
    return f"ended with status {status}"
