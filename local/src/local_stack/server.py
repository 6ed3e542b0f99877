"""A database server as a foreground child of ours: its port, its password, its start and its stop."""

import os
import secrets
import signal
import socket
import subprocess
import time
from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar, Self

from local_stack.parent_death_signal import parent_death_signal

HOST = "127.0.0.1"


class ServerError(Exception):
    """A server did not start; one sentence says why, with the last lines of its log."""


def free_port() -> int:
    """A TCP port of the loopback interface that is free at this moment.

    It lies below those that the kernel gives to outgoing connections: none of them takes it before it is used.
    """
    while True:
        port = 20_000 + secrets.randbelow(12_000)
        with socket.socket() as probe:
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
            return port


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner may read; a reader sees the old one or all of the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.new")
    fresh.unlink(missing_ok=True)
    fresh.touch(mode=0o600)
    with fresh.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    fresh.rename(path)


def secret_in(path: Path) -> str:
    """The secret in `path` (mode 0600), created at the first call."""
    if not path.exists():
        write_private(path, secrets.token_urlsafe(32))
    return path.read_text().strip()


class Server(ABC):
    """Keeps its data in `folder`, which survives; listens on 127.0.0.1 only, behind a password.

    Use it as a context manager, or hand `argv`, `death` and `ready` to a supervisor after `prepare()`.
    """

    name: ClassVar[str]
    death: ClassVar[signal.Signals] = signal.SIGTERM
    stop_signal: ClassVar[signal.Signals] = signal.SIGTERM
    not_root: ClassVar[bool] = False

    def __init__(self, folder: Path, port: int | None = None) -> None:
        self.folder = folder.absolute()
        self.port = port or free_port()
        self.log = self.folder / f"{self.name}.log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def password(self) -> str:
        """Created at the first start, in a file that only its owner may read."""
        return secret_in(self.folder / "password")

    @property
    @abstractmethod
    def url(self) -> str:
        """Where clients connect, with name and password."""

    @property
    @abstractmethod
    def argv(self) -> list[str]:
        """The command that runs the server in the foreground."""

    @abstractmethod
    def prepare(self) -> None:
        """Make the folder ready for `argv`: first creation, configuration, leftovers of a crash."""

    @abstractmethod
    def ready(self, pid: int) -> bool:
        """Whether the server that runs as `pid` (and no other) answers."""

    @property
    def pid(self) -> int:
        """The running server's process id."""
        assert self._process is not None, f"{self.name} was not started"
        return self._process.pid

    def start(self, timeout: float = 30.0) -> Self:
        """Start and wait until ready. Raises ServerError if it does not start. A port lost in a race is replaced."""
        for attempt in range(3):
            self.prepare()
            self._spawn()
            if self._wait(time.monotonic() + timeout):
                return self
            self.kill()
            if (
                attempt == 0
            ):  # children of the previous server may still hold its memory, or the port was taken
                time.sleep(0.5)
            else:
                self.port = free_port()
        tail = " / ".join(self.log.read_text(errors="replace").splitlines()[-3:])
        raise ServerError(f"{self.name} in {self.folder} does not start: {tail}")

    def _spawn(self) -> None:
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self.argv,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                preexec_fn=parent_death_signal(self.death, not_root=self.not_root),  # noqa: PLW1509 - one thread
            )

    def _wait(self, deadline: float) -> bool:
        assert self._process is not None
        while self._process.poll() is None and time.monotonic() < deadline:
            if self.ready(self._process.pid):
                return True
            time.sleep(0.02)
        return False

    def stop(self, timeout: float = 5.0) -> None:
        """Stop it, by SIGKILL after `timeout` seconds."""
        if self._process is None:
            return
        self._process.send_signal(self.stop_signal)
        try:
            self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()
        self._process = None

    def kill(self) -> None:
        """SIGKILL, as a crash would; `start()` afterwards recovers."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()
