"""A Postgres and a Valkey as `make run` has them, each a context manager: a test starts them, kills them, starts them again."""

import contextlib
import signal
import subprocess
import time
from pathlib import Path
from typing import Self

from tests.factories.patience import PATIENCE_S

from local_stack import postgres, valkey
from local_stack.process import Child, StartError
from local_stack.roles import logins
from local_stack.server import Server, free_port


class _Started(Server):
    """A server that runs from `start` to `stop`, without a supervisor. Start it from the main thread."""

    _child: Child | None = None

    @property
    def pid(self) -> int:
        """The running server's process id."""
        assert self._child is not None, f"{self.name} was not started"
        return self._child.pid

    def start(self, timeout: float = PATIENCE_S) -> Self:
        """Start and wait until ready. Raises StartError if it does not start. A port lost in a race is replaced."""
        self.folder.mkdir(parents=True, exist_ok=True)
        log = self.folder / f"{self.name}.log"
        for attempt in range(3):
            with log.open("ab") as output:
                self._child = Child(self.process, output)
            deadline = time.monotonic() + timeout
            while self._child.running and time.monotonic() < deadline:
                if self._child.ready:
                    return self
                time.sleep(0.02)
            self.kill()
            if attempt == 0:  # the previous server's children may still hold its memory
                time.sleep(0.5)
            else:  # or the port was taken
                self.port = free_port()
        tail = " / ".join(log.read_text(errors="replace").splitlines()[-3:])
        raise StartError(f"{self.name} in {self.folder} does not start: {tail}")

    def stop(self, timeout: float = PATIENCE_S) -> None:
        """Stop it, by SIGKILL after `timeout` seconds."""
        if self._child is not None:
            self._child.send(self._child.process.stop)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._child.wait(timeout)
        self.kill()

    def kill(self) -> None:
        """SIGKILL, as a crash would; `start()` afterwards recovers."""
        if self._child is not None:
            self._child.send(signal.SIGKILL)
            self._child.wait()
            self._child = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()


class Postgres(postgres.Postgres, _Started):
    """The platform's Postgres. `fast` gives up durability and hashes passwords once: a connection costs a third less."""

    def __init__(self, folder: Path, port: int | None = None, *, fast: bool = False) -> None:
        super().__init__(folder, port)
        if fast:
            off = ("fsync", "synchronous_commit", "full_page_writes", "autovacuum")
            self.settings = self.settings | dict.fromkeys(off, "off") | {"scram_iterations": "1"}

    @property
    def url(self) -> str:
        """The superuser's SQLAlchemy URL of the database `postgres`."""
        return self.url_of("postgres")


class Valkey(valkey.Valkey, _Started):
    """The platform's Valkey; not `persistent`, a crash loses everything."""

    def __init__(self, folder: Path, port: int | None = None, *, persistent: bool = True) -> None:
        super().__init__(folder, port)
        if not persistent:
            self.settings = self.settings | {"appendonly": "no"}


def login(server: postgres.Postgres, database: str, role: str) -> str:
    """The URL of `database` for the service that has `role`; its login is created or updated."""
    return logins(server, database, [role])[role]
