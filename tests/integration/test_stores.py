"""The embedded stores: reachable with their password only, and they restart after any kind of end."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from local_stack.roles import create_database
from tests.factories.patience import until
from tests.factories.stores import Postgres, Valkey

pytestmark = pytest.mark.slow


def one(url: str, statement: str) -> object:
    with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as connection:
        row = connection.execute(statement).fetchone()
    return row and row[0]


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_postgres_is_durable_and_asks_for_the_password(tmp_path: Path) -> None:
    with Postgres(tmp_path) as server:
        assert [one(server.url, f"SHOW {name}") for name in ("fsync", "synchronous_commit")] == ["on", "on"]
        with pytest.raises(psycopg.OperationalError, match="password"):
            psycopg.connect(server.dsn("postgres").replace(server.password, "guess"))
    assert (tmp_path / "password").stat().st_mode & 0o777 == 0o600


def test_committed_rows_survive_a_kill(tmp_path: Path) -> None:
    with Postgres(tmp_path) as server:
        with psycopg.connect(server.dsn("postgres")) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
        server.kill()
        server.start()
        assert one(server.url, "SELECT answer FROM kept") == 42


def test_a_stale_lock_file_that_names_another_process_is_ignored(tmp_path: Path) -> None:
    server = Postgres(tmp_path, fast=True)
    with server:
        lines = (server.data / "postmaster.pid").read_text().splitlines()
    lines[0] = str(os.getpid())  # another program has that number now
    (server.data / "postmaster.pid").write_text("\n".join(lines))
    with server:
        assert one(server.url, "SELECT 1") == 1


def test_creating_a_database_twice_is_one_database(postgres: Postgres) -> None:
    assert create_database(postgres, "twice") == create_database(postgres, "twice")


def test_a_taken_port_is_given_up_for_another(tmp_path: Path, valkey: Valkey) -> None:
    with Valkey(tmp_path, port=valkey.port) as other:
        assert other.port != valkey.port
        assert redis.Redis.from_url(other.url).ping()


def test_valkey_asks_for_the_password_and_keeps_its_data(tmp_path: Path) -> None:
    with Valkey(tmp_path) as server:
        with pytest.raises(redis.AuthenticationError):
            redis.Redis(port=server.port, retry=Retry(NoBackoff(), 0)).get("hint")
        with redis.Redis.from_url(server.url) as client:
            client.set("hint", "job")
            assert client.waitaof(num_local=1, num_replicas=0, timeout=60_000)[0] == 1  # appendfsync everysec
        server.kill()
        server.start()
        assert redis.Redis.from_url(server.url).get("hint") == b"job"


def test_valkey_without_persistence_forgets(tmp_path: Path) -> None:
    with Valkey(tmp_path, persistent=False) as server:
        redis.Redis.from_url(server.url).set("hint", "job")
        server.kill()
        server.start()
        assert redis.Redis.from_url(server.url).get("hint") is None


ORPHANS = """
import sys, pathlib, time
from tests.factories.stores import Postgres, Valkey
from redis.backoff import NoBackoff
from redis.retry import Retry
folder = pathlib.Path(sys.argv[1])
pg, vk = Postgres(folder / "p", fast=True).start(), Valkey(folder / "v").start()
print(pg.pid, vk.pid, flush=True)
time.sleep(3600)
"""


def test_the_servers_die_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    argv = [sys.executable, "-c", ORPHANS, str(tmp_path)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pids = [int(word) for word in parent.stdout.readline().split()]
        backends = [int(p) for p in Path(f"/proc/{pids[0]}/task/{pids[0]}/children").read_text().split()]
        assert backends and all(map(alive, pids + backends))
        parent.send_signal(signal.SIGKILL)
    until(lambda: not any(map(alive, pids + backends)))
