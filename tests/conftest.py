"""What every test may ask for: a real Postgres, a real Valkey, a freshly migrated database.

One embedded server of each per pytest process (per xdist worker); a database costs about 20 ms, as Postgres
copies it from a template that was migrated once.
"""

import gc
import itertools
import os
import re
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

# Before anything else is imported: some environments forbid to keep byte code, and then each process that a test
# starts compiles all its libraries anew, which costs most of the time.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False
# Tests speak plain HTTP. httpx loads all authorities for each client (57 ms), unless told of a file of few; obstore takes
# none at all for an error.
os.environ["SSL_CERT_FILE"] = str(Path(__file__).with_name("authority.pem"))
os.environ.pop("SSL_CERT_DIR", None)

import httpx
import psycopg
import pytest
import redis
from xdist.scheduler import LoadScopeScheduling

from local_stack.postgres import OWNER
from tests.factories import forked
from tests.factories.patience import PATIENCE_S
from tests.factories.stores import Postgres, Valkey, login

# What a shell runs in the background ignores Ctrl-C, and so would all processes that tests start and interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)
for _phase in ("connect", "read", "write", "pool"):  # httpx gives up after five seconds unless told otherwise
    setattr(httpx._config.DEFAULT_TIMEOUT_CONFIG, _phase, PATIENCE_S)
_numbers = itertools.count()
_SHM = Path("/dev/shm")
_SLOW = re.compile(r"^pytestmark = \[?\s*pytest\.mark\.slow\b", re.MULTILINE)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Where slow tests aren't wanted, a file or folder of nothing else is not imported: its libraries take seconds."""
    files = [collection_path] if collection_path.is_file() else [*collection_path.rglob("test_*.py")]
    if config.option.markexpr != "not slow" or not all(file.name.startswith("test_") for file in files):
        return None
    return bool(files and all(_SLOW.search(file.read_text()) for file in files)) or None


class FilesOfThePageTogether(LoadScopeScheduling):
    """A file at a time for each process; of those of the page two groups, since who has one of them starts a platform and a browser."""

    def _split_scope(self, nodeid: str) -> str:
        name = nodeid.removeprefix("tests/e2e/test_page_")
        return super()._split_scope(nodeid) if name == nodeid else "a to l" if name < "m" else "m to z"


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling:
    return FilesOfThePageTogether(config, log)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """What is imported and collected stays to the end: the garbage collector need not look through it again and again."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()


def pytest_collection_finish() -> None:
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def _one_fork_server(tmp_path_factory: pytest.TempPathFactory) -> None:
    """All processes of this run fork what they test from one server."""
    own = tmp_path_factory.getbasetemp()
    forked.shared_folder = own.parent if "PYTEST_XDIST_WORKER" in os.environ else own


@pytest.fixture(scope="session")
def _memory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder in memory, where there is room. On ext4 each database that was made and dropped makes the next one dearer: from 0.05
    to 0.5 s of the kernel's time after a hundred (Linux 6.18); in memory it stays at 0.02 s."""
    if not (os.access(_SHM, os.W_OK) and shutil.disk_usage(_SHM).free > 1 << 30):
        yield tmp_path_factory.mktemp("servers")
        return
    for left in _SHM.glob("thorax-tests-*"):
        if not Path("/proc", left.name.rpartition("-")[2]).exists():  # it was killed
            shutil.rmtree(left, ignore_errors=True)
    folder = _SHM / f"thorax-tests-{os.getpid()}"
    folder.mkdir(mode=0o700)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def postgres(_memory: Path) -> Iterator[Postgres]:
    """The embedded Postgres of this test process, without durability."""
    with Postgres(_memory / "postgres", fast=True) as server:
        _execute(server, f"ALTER ROLE {OWNER} PASSWORD '{server.password}'")  # hashed anew, as `fast` does it
        yield server


@pytest.fixture(scope="session")
def postgres_url(postgres: Postgres) -> str:
    """The superuser's SQLAlchemy URL of the database `postgres`."""
    return postgres.url


@pytest.fixture(scope="session")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    """The embedded Valkey of this test process, without persistence."""
    with Valkey(tmp_path_factory.mktemp("valkey"), persistent=False) as server:
        yield server


@pytest.fixture(scope="session")
def redis_url(valkey: Valkey) -> str:
    """A redis:// URL, shared by the tests of this process."""
    return valkey.url


@pytest.fixture
def clean_redis_url(redis_url: str) -> str:
    """The same, emptied before the test."""
    with redis.Redis.from_url(redis_url) as client:
        client.flushall()
    return redis_url


@pytest.fixture(scope="session")
def _template(postgres: Postgres) -> str:
    from thorax.schema import migrate

    _execute(postgres, "CREATE DATABASE thorax_template")
    migrate(postgres.url_of("thorax_template"))
    return "thorax_template"


@pytest.fixture
def database_url(postgres: Postgres, _template: str) -> Iterator[str]:
    """The owner's SQLAlchemy URL of a freshly migrated, empty database of this test's own."""
    name = f"test_{next(_numbers)}"
    _execute(postgres, f"CREATE DATABASE {name} TEMPLATE {_template} STRATEGY file_copy")
    yield postgres.url_of(name)
    _execute(postgres, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def url_as(postgres: Postgres, database_url: str) -> Callable[[str], str]:
    """`url_as("thorax_worker")`: this test's database, seen with the rights of one service's role."""
    database = database_url.rpartition("/")[2]
    return lambda role: login(postgres, database, role)


def _execute(postgres: Postgres, statement: str) -> None:
    with psycopg.connect(postgres.dsn("postgres"), autocommit=True) as connection:
        connection.execute(statement)
