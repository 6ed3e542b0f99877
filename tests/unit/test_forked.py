"""A process that is forked for tests ends as one does that Python starts, and not later than the test process that asked for it."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from tests.factories.forked import Forked, ended
from tests.factories.patience import PATIENCE_S, until

ROOT = Path(__file__).parents[2]
SLEEP = ("timeit", "-n", "1", "-r", "1", "import time; time.sleep(1000)")
ANOTHER_TEST_PROCESS = f"""
import os, sys
from pathlib import Path
from tests.factories import forked

forked.shared_folder = Path(sys.argv[1])
sleeper = forked.Forked(*{SLEEP!r}, env=dict(os.environ), stdout=Path(os.devnull))
print(sleeper.pid, os.getppid(), flush=True)
sys.stdin.read()
"""


def sleeper(folder: Path) -> Forked:
    return Forked(*SLEEP, env=dict(os.environ), stdout=folder / "log")


def test_its_environment_output_and_exit_status_are_its_own() -> None:
    done = ended("timeit", "-n", "1", "-r", "1", "import os; print(os.environ)", env={"A": "b"})
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("environ({'A': 'b'})\n")
    done = ended("thorax.commands.cli", "nonsense", env=dict(os.environ))
    assert (done.returncode, done.stdout) == (2, "")
    assert "nonsense" in done.stderr


def test_it_is_signalled_as_a_child_is(tmp_path: Path) -> None:
    process = sleeper(tmp_path)
    assert process.poll() is None
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.01)
    process.send_signal(signal.SIGTERM)
    assert process.wait(PATIENCE_S) == process.poll() == -signal.SIGTERM
    process.kill()


@pytest.mark.slow
def test_it_ends_with_the_test_process_that_asked_for_it(tmp_path: Path) -> None:
    """Also where others still use the server; that ends with the last of them."""
    command = [sys.executable, "-c", ANOTHER_TEST_PROCESS, tmp_path]
    pids = []
    tests = [
        subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    for one in tests:
        assert one.stdout
        pids.append(int(one.stdout.readline().split()[0]))
    servers = {psutil.Process(pid).ppid() for pid in pids}
    assert len(servers) == 1, "they share it"
    for one, pid in zip(tests, pids, strict=True):
        one.kill()
        one.communicate()
        until(lambda pid=pid: not psutil.pid_exists(pid))  # type: ignore[misc]
    until(lambda: not psutil.pid_exists(*servers))
