"""Keeps child processes running: starts them, forwards their output, restarts those that die, stops all in time."""

import asyncio
import signal
import time

from local_stack.child import Child
from local_stack.logs import Log, readable
from local_stack.processes import Process

START_S = 60.0
SERVICES_STOP_S, STORES_STOP_S, KILL_S = 2.0, 1.5, 0.5  # under the 5 s that Ctrl-C may take
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 20.0
HEALTHY_S = 30.0
TRIES = 3


class StartError(Exception):
    """The platform can't start; the message is the one sentence to show."""


class _Kept:
    """One `Process`, the child that runs it now, and how earlier ones ended."""

    def __init__(self, process: Process, log: Log) -> None:
        self.process = process
        self.child: Child | None = None
        self.ends = 0
        self.last_line = ""
        self.keeper: asyncio.Task[None] | None = None
        self._log = log

    @property
    def ready(self) -> bool:
        return self.child is not None and self.process.ready(self.child.pid)

    async def run(self) -> int:
        """Run it to its end; when cancelled, kill it."""
        self.child = await Child.start(self.process, self._heard)
        try:
            return await self.child.wait()
        finally:
            self.child.forget()
            self.child = None

    def complaint(self) -> str:
        """Its last line of output."""
        return self.last_line or "it says nothing."

    def _heard(self, text: str) -> None:
        self.last_line, _ = readable(text)
        self._log.line(self.process.name, text)


class Supervisor:
    """Start it from the main thread: the kernel ends the children when the thread that forked them ends."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._kept: list[_Kept] = []
        self._stopping = False

    @property
    def pids(self) -> dict[str, int]:
        """The processes that run at this moment."""
        return {kept.process.name: kept.child.pid for kept in self._kept if kept.child is not None}

    async def start(self, *processes: Process) -> None:
        """Start all of them at once and return when all are ready; raises StartError when one does not become ready."""
        self.begin(*processes)
        await self.ready(*processes)

    def begin(self, *processes: Process) -> None:
        """Start all of them at once."""
        for process in processes:
            kept = _Kept(process, self._log)
            kept.keeper = asyncio.create_task(self._keep(kept))
            self._kept.append(kept)

    async def ready(self, *processes: Process) -> None:
        """Return when these, which have begun, are ready; raises StartError when one does not become ready."""
        for kept in [kept for kept in self._kept if kept.process in processes]:
            try:
                async with asyncio.timeout(START_S):
                    await self._until_ready(kept)
            except TimeoutError:
                late = f"{kept.process.name} did not get ready in {START_S:g} s"
                raise StartError(f"{late}: {kept.complaint()}") from None

    async def once(self, process: Process) -> None:
        """Run a command to its end; StartError with its last line when it fails."""
        kept = _Kept(process, self._log)
        status = await kept.run()
        if status != 0:
            raise StartError(kept.last_line or f"{process.name} {_how(status)}.")

    async def stop(self) -> None:
        """End all children, the stores after the services; SIGKILL for the slow."""
        self._stopping = True
        stores = [kept for kept in self._kept if kept.process.death != signal.SIGKILL]
        await self._end([kept for kept in self._kept if kept not in stores], SERVICES_STOP_S)
        await self._end(stores, STORES_STOP_S)

    async def _keep(self, kept: _Kept) -> None:
        pause = FIRST_PAUSE_S
        while True:
            began = time.monotonic()
            status = await kept.run()
            if self._stopping:
                return
            kept.ends += 1
            pause = FIRST_PAUSE_S if time.monotonic() - began > HEALTHY_S else pause
            self._log.say(f"{kept.process.name} {_how(status)}; starting it again in {pause:g} s")
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE_S)

    async def _until_ready(self, kept: _Kept) -> None:
        while not kept.ready:
            if kept.keeper is not None and kept.keeper.done():
                kept.keeper.result()  # raises the reason why it could not be started
            if kept.ends >= TRIES:
                raise StartError(f"{kept.process.name} does not start: {kept.complaint()}")
            await asyncio.sleep(0.1)

    async def _end(self, batch: list[_Kept], patience: float) -> None:
        keepers = [kept.keeper for kept in batch if kept.keeper is not None]
        if not keepers:
            return
        for kept in batch:
            if kept.child is not None:
                kept.child.send(kept.process.stop)
            elif kept.keeper is not None:  # between two runs
                kept.keeper.cancel()
        await asyncio.wait(keepers, timeout=patience)
        for kept in batch:
            if kept.child is not None:
                self._log.say(f"{kept.process.name} did not stop in time and was killed")
                kept.child.kill_group()
        await asyncio.wait(keepers, timeout=KILL_S)
        for keeper in keepers:
            keeper.cancel()
        await asyncio.gather(*keepers, return_exceptions=True)


def _how(status: int) -> str:
    if status < 0:
        return f"was ended by {signal.Signals(-status).name}"
    return f"ended with status {status}"
