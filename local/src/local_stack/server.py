"""A database server as a foreground child of ours: its port, its password, its start and its stop."""

import contextlib
import fcntl
import os
import secrets
import socket
import tempfile
from abc import ABC, abstractmethod
from pathlib import Path

from local_stack.process import Process, StartError

HOST = "127.0.0.1"


_PORTS = Path(tempfile.gettempdir(), f"thorax-ports-{os.getuid()}")
_taken = list[int]()


def free_port() -> int:
    """A port as from `free_port_from`, below those that the kernel gives to outgoing connections: none of them takes it."""
    return free_port_from(20_000 + secrets.randbelow(12_000))


def free_port_from(first: int) -> int:
    """The first TCP port of the loopback interface from `first` on that is free, and that nobody got here who still lives.

    It may be minutes until it is used: another platform that starts meanwhile gets the next one.
    """
    for port in range(first, 65_536):
        if _is_free(port) and _reserve(port):
            return port
    raise StartError(f"No port from {first} on is free.")


def _is_free(port: int) -> bool:
    with socket.socket() as probe, contextlib.suppress(OSError):
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((HOST, port))
        return True
    return False


def _reserve(port: int) -> bool:
    """Whether the port is ours now, until this process ends."""
    _PORTS.mkdir(mode=0o700, exist_ok=True)
    lock = os.open(_PORTS / str(port), os.O_CREAT | os.O_WRONLY, 0o600)
    with contextlib.suppress(OSError):
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        _taken.append(lock)
        return True
    os.close(lock)
    return False


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

    Give its `process` to a supervisor.
    """

    def __init__(self, name: str, folder: Path, port: int | None = None) -> None:
        self.name = name
        self.folder = folder.absolute()
        self.port = port or free_port()
        self.password_file = self.folder / "password"

    @property
    def password(self) -> str:
        """Created at the first start, in a file that only its owner may read."""
        return secret_in(self.password_file)

    @property
    @abstractmethod
    def process(self) -> Process:
        """How to run the server in the foreground, on `port`."""
