"""A real PgBouncer in front of a test's Postgres."""

import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import make_url
from tests.factories.patience import PATIENCE_S, until

from local_stack.parent_death_signal import dying_with_us
from local_stack.server import free_port

PGBOUNCER = shutil.which("pgbouncer", path="/usr/sbin:/usr/bin:/usr/local/bin")


class Pooler:
    """One PgBouncer; `through(url)` is that URL, led through it."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder, self.port = folder, port
        self.users: dict[str, str] = {}

    def through(self, url: str) -> str:
        """The same database and login behind the pooler. All logins have to be known before it starts."""
        parsed = make_url(url)
        assert parsed.username
        self.users[parsed.username] = str(parsed.password or "")
        return parsed.set(port=self.port).render_as_string(hide_password=False)


@contextmanager
def pooler(
    folder: Path, postgres_port: int, mode: str, urls: list[str], **settings: str
) -> Iterator[list[str]]:
    """The `urls`, led through a PgBouncer in `mode` (session, transaction, statement) with 20 server connections."""
    assert PGBOUNCER
    made = Pooler(folder, free_port())
    led = [made.through(url) for url in urls]
    folder.chmod(0o755)
    users = folder / "users.txt"
    users.write_text("".join(f'"{name}" "{password}"\n' for name, password in made.users.items()))
    lines = {
        "listen_addr": "127.0.0.1",
        "listen_port": str(made.port),
        "unix_socket_dir": "",
        "auth_type": "plain",
        "auth_file": str(users),
        "pool_mode": mode,
        "default_pool_size": "20",
        "max_client_conn": "500",
        **settings,
    }
    configuration = folder / "pgbouncer.ini"
    configuration.write_text(
        f"[databases]\n* = host=127.0.0.1 port={postgres_port}\n[pgbouncer]\n"
        + "".join(f"{key} = {value}\n" for key, value in lines.items())
    )
    process = subprocess.Popen(
        dying_with_us([PGBOUNCER, str(configuration)], not_root=True),
        stdout=subprocess.DEVNULL,
        stderr=(folder / "pgbouncer.log").open("ab"),
        start_new_session=True,
    )
    try:
        _wait(process, made.port, folder)
        yield led
    finally:
        process.terminate()
        process.wait(PATIENCE_S)


def _wait(process: subprocess.Popen[bytes], port: int, folder: Path) -> None:
    def listens() -> bool:
        assert process.poll() is None, (folder / "pgbouncer.log").read_text()
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    until(listens, (folder / "pgbouncer.log").read_text)
