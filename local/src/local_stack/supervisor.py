"""Keeps child processes running: starts them, forwards their output, restarts those that die, stops all in time."""

import asyncio
import signal
import time
from collections.abc import Callable

from local_stack.logs import Log, readable
from local_stack.process import Child, Process, StartError

START_S = 180.0  # for a process that lives: a worker's first start takes more than a minute on a slow machine
SERVICES_STOP_S, KILL_S = 4.0, 0.5  # what a killed service had begun, another one takes up
STORES_STOP_S = 15.0  # Postgres writes a checkpoint; killed, it would have to recover at the next start
SLOW_S = 2.0  # then a person is told what is waited for
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 20.0
HEALTHY_S = 30.0
MAX_FAILURES = 3  # before it was ready for the first time


class _Supervised:
    """One `Process`, the child that runs it now, and how earlier ones ended."""

    def __init__(self, process: Process, log: Log) -> None:
        self.process = process
        self.child: Child | None = None
        self.failures = 0
        self.last_line = ""
        self.task: asyncio.Task[None] | None = None
        self._log = log

    async def run(self, on_start: Callable[[], None] = lambda: None) -> int:
        """Run it to its end and return its exit status; when cancelled, kill it."""
        child = self.child = Child(self.process)
        output = asyncio.create_task(self._forward_output(child))
        try:
            on_start()
            status = await child.end()
            child.kill_group()  # what it started and left behind
            await asyncio.wait([output], timeout=1)
            return status
        finally:
            child.kill_group()
            child.wait()
            self.child = None
            output.cancel()

    async def _forward_output(self, child: Child) -> None:
        async for line in child.lines():
            self.last_line, _ = readable(line)
            self._log.line(self.process.name, line)


class Supervisor:
    """Use it in the main thread: the kernel ends the children when the thread that forked them ends.

    `on_change` is called whenever `pids` has changed, except by `stop`.
    """

    def __init__(self, log: Log) -> None:
        self.on_change: Callable[[], None] = lambda: None
        self._log = log
        self._all: list[_Supervised] = []
        self._stopping = False

    @property
    def pids(self) -> dict[str, int]:
        """The processes that run at this moment."""
        return {one.process.name: one.child.pid for one in self._all if one.child is not None}

    async def start(self, *processes: Process) -> None:
        """Start all of them at once and return when all are ready; raises StartError when one does not become ready."""
        self.begin(*processes)
        await self.ready(*processes)

    def begin(self, *processes: Process) -> None:
        """Start all of them at once."""
        for process in processes:
            one = _Supervised(process, self._log)
            one.task = asyncio.create_task(self._keep_running(one))
            self._all.append(one)

    async def ready(self, *processes: Process) -> None:
        """Return when these, which have begun, are ready; raises StartError when one does not become ready."""
        for one in [one for one in self._all if one.process in processes]:
            try:
                async with asyncio.timeout(START_S):
                    await self._until_ready(one)
            except TimeoutError:
                raise StartError(_late(one)) from None

    async def once(self, process: Process) -> None:
        """Run a command to its end; StartError with its last line when it fails."""
        one = _Supervised(process, self._log)
        status = await one.run()
        if status != 0:
            raise StartError(one.last_line or f"{process.name} {_ending(status)}.")

    async def stop(self) -> None:
        """End all children, the stores after the services; SIGKILL for the slow."""
        self._stopping = True
        stores = [one for one in self._all if one.process.death != signal.SIGKILL]
        await self._end([one for one in self._all if one not in stores], SERVICES_STOP_S)
        await self._end(stores, STORES_STOP_S)

    async def _keep_running(self, one: _Supervised) -> None:
        pause = FIRST_PAUSE_S
        while True:
            began = time.monotonic()
            status = await one.run(self.on_change)
            if self._stopping:
                return
            one.failures += 1
            pause = FIRST_PAUSE_S if time.monotonic() - began > HEALTHY_S else pause
            self._log.say(f"{one.process.name} {_ending(status)}; starting it again in {pause:g} s")
            self.on_change()
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE_S)

    async def _until_ready(self, one: _Supervised) -> None:
        while one.child is None or not one.child.ready:
            if one.task is not None and one.task.done():
                one.task.result()  # raises the reason why it could not be started
            if one.failures >= MAX_FAILURES:
                why = one.last_line or "it printed nothing."
                raise StartError(f"{one.process.name} does not start: {why}")
            await asyncio.sleep(0.1)

    async def _end(self, batch: list[_Supervised], seconds: float) -> None:
        tasks = [one.task for one in batch if one.task is not None]
        if not tasks:
            return
        for one in batch:
            if one.child is not None:
                one.child.send(one.process.stop)
            elif one.task is not None:  # between two runs
                one.task.cancel()
        await asyncio.wait(tasks, timeout=SLOW_S)
        for one in batch:
            if one.child is not None:
                self._log.say(f"{one.process.name} is still stopping; it gets {seconds:g} s")
        await asyncio.wait(tasks, timeout=seconds - SLOW_S)
        for one in batch:
            if one.child is not None:
                self._log.say(f"{one.process.name} did not stop in time and was killed")
                one.child.kill_group()
        await asyncio.wait(tasks, timeout=KILL_S)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _late(one: _Supervised) -> str:
    """What to tell of a process that lives and is not ready."""
    said = f"Its last line: {one.last_line}" if one.last_line else "It printed nothing."
    return (
        f"{one.process.name} was not ready after {START_S:g} s. If this machine is busy, start again. {said}"
    )


def _ending(status: int) -> str:
    if status < 0:
        return f"was ended by {signal.Signals(-status).name}"
    return f"ended with status {status}"
