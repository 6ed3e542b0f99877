"""The supervisor, tried on small processes that fail in every way there is."""

import asyncio
import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from tests.factories.patience import PATIENCE_S, until

from local_stack import supervisor
from local_stack.logs import Log
from local_stack.process import Process, StartError
from local_stack.supervisor import Supervisor

STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(3600)"
SLOW = """
import pathlib, signal, sys, time
def end(*_):
    while not pathlib.Path(sys.argv[1]).exists():
        time.sleep(0.02)
    sys.exit("written")
signal.signal(signal.SIGTERM, end)
print("up", flush=True)
time.sleep(3600)
"""
FAMILY = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
print("child", child.pid, flush=True)
time.sleep(60)
"""


class Stage:
    """A supervisor and what it printed."""

    def __init__(self) -> None:
        self.out = io.StringIO()
        self.supervisor = Supervisor(Log(self.out))

    def said(self, text: str) -> Callable[[int], bool]:
        return lambda _pid: text in self.out.getvalue()

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not condition():
                await asyncio.sleep(0.02)


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    stage = Stage()
    yield stage
    await stage.supervisor.stop()


def python(name: str, code: str, **more: object) -> Process:
    return Process(name, [sys.executable, "-c", code], **more)  # type: ignore[arg-type]


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


async def test_lines_are_passed_on_and_ready_is_waited_for(stage: Stage) -> None:
    code = "import time; time.sleep(0.2); print('open', flush=True); time.sleep(60)"
    await stage.supervisor.start(python("server", code, ready=stage.said("open")))
    assert "server         | open" in stage.out.getvalue()
    assert list(stage.supervisor.pids) == ["server"]


async def test_a_child_that_dies_is_started_again(stage: Stage) -> None:
    seen: list[dict[str, int]] = []
    stage.supervisor.on_change = lambda: seen.append(stage.supervisor.pids)
    await stage.supervisor.start(python("worker", "import time; time.sleep(60)"))
    first = stage.supervisor.pids["worker"]
    os.kill(first, signal.SIGKILL)
    await stage.until(lambda: stage.supervisor.pids.get("worker", first) != first)
    assert "worker was ended by SIGKILL; starting it again" in stage.out.getvalue()
    assert seen == [{"worker": first}, {}, stage.supervisor.pids]


async def test_a_child_that_never_starts_is_reported_with_its_last_line(stage: Stage) -> None:
    with pytest.raises(StartError, match="broken does not start: no such table"):
        await stage.supervisor.start(python("broken", "exit('no such table')", ready=lambda _: False))


async def test_a_command_that_fails_is_reported_with_its_last_line(stage: Stage) -> None:
    with pytest.raises(StartError, match=r"^wrong bundle$"):
        await stage.supervisor.once(python("register", "exit('wrong bundle')"))


async def test_a_child_that_ignores_sigterm_is_killed_in_time(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "SLOW_S", 0.1)
    monkeypatch.setattr(supervisor, "SERVICES_STOP_S", 0.2)
    await stage.supervisor.start(python("stubborn", STUBBORN, ready=stage.said("up")))
    pid = stage.supervisor.pids["stubborn"]
    began = time.monotonic()
    await stage.supervisor.stop()
    assert gone(pid)
    assert "stubborn did not stop in time and was killed" in stage.out.getvalue()
    assert time.monotonic() - began < PATIENCE_S


async def test_a_store_gets_longer_than_the_services_and_that_is_told(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(supervisor, "SLOW_S", 0.1)
    monkeypatch.setattr(supervisor, "SERVICES_STOP_S", 0.2)
    monkeypatch.setattr(supervisor, "STORES_STOP_S", PATIENCE_S)
    command = [sys.executable, "-c", SLOW, str(tmp_path / "go")]
    await stage.supervisor.start(Process("store", command, ready=stage.said("up"), death=signal.SIGTERM))
    stopping = asyncio.create_task(stage.supervisor.stop())
    told = f"store is still stopping; it gets {PATIENCE_S} s"
    await stage.until(lambda: told in stage.out.getvalue())
    (tmp_path / "go").touch()
    await stopping
    assert "written" in stage.out.getvalue()
    assert "killed" not in stage.out.getvalue()


async def test_a_child_that_lives_and_is_not_ready_is_reported_with_what_to_do(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "START_S", 0.1)
    with pytest.raises(
        StartError, match=r"slow was not ready after 0\.1 s\. If this machine is busy, start again\."
    ):
        await stage.supervisor.start(python("slow", "import time; time.sleep(3600)", ready=lambda _: False))


async def test_grandchildren_end_with_their_parent(stage: Stage) -> None:
    await stage.supervisor.start(python("family", FAMILY, ready=stage.said("child")))
    grandchild = int(stage.out.getvalue().split()[-1])
    await stage.supervisor.stop()
    await stage.until(lambda: gone(grandchild))


async def test_a_service_does_not_see_the_owners_database(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("THORAX_DATABASE_URL", "postgresql://owner:secret@db/thorax")
    await stage.supervisor.once(python("env", "import os; print(sorted(os.environ))"))
    assert "THORAX_DATABASE_URL" not in stage.out.getvalue()


ORPHANS = f"""
import asyncio, sys
from local_stack.logs import Log
from local_stack.process import Process
from local_stack.supervisor import Supervisor

async def main():
    supervisor = Supervisor(Log())
    await supervisor.start(Process("stubborn", [sys.executable, "-c", {STUBBORN!r}]))
    print(supervisor.pids["stubborn"], flush=True)
    await asyncio.sleep(60)

asyncio.run(main())
"""


def test_children_die_with_a_killed_supervisor() -> None:
    with subprocess.Popen([sys.executable, "-c", ORPHANS], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        assert not gone(child)
        parent.send_signal(signal.SIGKILL)
    until(lambda: gone(child))


async def test_a_child_whose_own_child_lives_on_is_started_again(stage: Stage) -> None:
    await stage.supervisor.start(python("family", FAMILY, ready=stage.said("child")))
    grandchild = int(stage.out.getvalue().split()[-1])
    os.kill(stage.supervisor.pids["family"], signal.SIGKILL)
    await stage.until(lambda: "starting it again" in stage.out.getvalue())
    await stage.until(lambda: gone(grandchild))


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


async def test_a_cancelled_command_leaves_no_pipe_open(stage: Stage) -> None:
    task = asyncio.create_task(stage.supervisor.once(python("long", FAMILY)))
    await stage.until(lambda: "child" in stage.out.getvalue())
    before = open_files()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await stage.until(lambda: open_files() < before)
