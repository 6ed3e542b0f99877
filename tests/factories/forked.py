"""Services and commands as processes that are forked from one that has their libraries loaded (`fork_server`): importing them costs
seconds of CPU each time. A process of its own in all else: signals, memory, environment, output. `python -m` is tried by
`make run`'s tests.
"""

import fcntl
import json
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.factories.fork_server import NUMBER
from tests.factories.patience import PATIENCE_S

_ROOT = Path(__file__).parents[2]
shared_folder: Path | None = None
"""Where all test processes of this run find one fork server. Without it, this process has one of its own."""


class Forked:
    """A running process, with the methods of `subprocess.Popen` that tests use. It does not outlive this one."""

    def __init__(
        self,
        module: str,
        *words: str,
        env: Mapping[str, str],
        stdout: Path,
        stderr: Path | None = None,
        cwd: Path | None = None,
    ) -> None:
        """Run `python -m MODULE WORDS`; what it says is added to the files."""
        places = {"stdout": stdout, "stderr": stderr or stdout, "cwd": cwd or Path.cwd()}
        asked = {"module": module, "words": words, "env": dict(env), **{k: str(v) for k, v in places.items()}}
        told, tell = os.pipe()
        socket.send_fds(_server(), [json.dumps(asked).encode()], [tell])
        os.close(tell)
        self._module, self._told = module, os.fdopen(told, "rb", buffering=0)
        self._status: int | None = None
        self.pid = NUMBER.unpack(self._told.read(NUMBER.size))[0]

    def poll(self) -> int | None:
        """Its exit status if it has ended, negative for a signal."""
        return self._ended(0)

    def wait(self, timeout: float | None = None) -> int:
        """Its exit status. Raises subprocess.TimeoutExpired."""
        if (status := self._ended(timeout)) is None:
            raise subprocess.TimeoutExpired(self._module, timeout or 0)
        return status

    def _ended(self, timeout: float | None) -> int | None:
        if self._status is None:
            told = select.poll()
            told.register(self._told, select.POLLIN)
            if told.poll(None if timeout is None else timeout * 1000):
                self._status = NUMBER.unpack(self._told.read(NUMBER.size))[0]
        return self._status

    def send_signal(self, number: int) -> None:
        """Nothing happens when it has ended."""
        with suppress(ProcessLookupError):  # between the look and the signal
            if self.poll() is None:
                os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def ended(
    module: str, *words: str, env: Mapping[str, str], cwd: Path | None = None, timeout: float = PATIENCE_S
) -> "subprocess.CompletedProcess[str]":
    """What `python -m MODULE WORDS` says, once it has ended."""
    with TemporaryDirectory() as folder:
        said, complained = Path(folder, "out"), Path(folder, "err")
        process = Forked(module, *words, env=env, stdout=said, stderr=complained, cwd=cwd)
        try:
            status = process.wait(timeout)
        finally:
            process.kill()
        return subprocess.CompletedProcess([module, *words], status, said.read_text(), complained.read_text())


@cache
def _server() -> socket.socket:
    """A connection to the fork server, which is started by who comes first and ends with its last connection."""
    folder = shared_folder or Path(_own_folder().name)
    place, lock = folder / "fork-server", folder / "fork-server.lock"
    client = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        if not place.exists():
            _start(place, lock)
        client.connect(str(place))
    return client


def _start(place: Path, lock: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(str(place))
        listener.listen()
        heard = listener.fileno()
        code = f"from tests.factories.fork_server import main; main({heard}, {str(lock)!r})"
        command, nothing = [sys.executable, "-c", code], subprocess.DEVNULL
        _started.append(  # without our output: whoever reads that to its end would wait for this process, too
            subprocess.Popen(
                command, cwd=_ROOT, pass_fds=[heard], start_new_session=True, stdin=nothing, stdout=nothing
            )
        )


_started: list["subprocess.Popen[bytes]"] = []  # kept, or Python would complain that they still run


@cache
def _own_folder() -> "TemporaryDirectory[str]":
    return TemporaryDirectory()
