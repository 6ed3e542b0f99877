"""The stores as `make run` sees them: given ones are checked for a connection, and a current schema is not migrated again."""

import json
import os
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import ProgrammingError

from local_stack.backing import Backing
from local_stack.process import StartError
from local_stack.settings import LocalSettings
from tests.factories.bundles import make_bundle
from tests.factories.forked import ended
from tests.factories.stores import Postgres
from thorax import database

pytestmark = pytest.mark.slow


def backing(state: Path, **urls: str) -> Backing:
    return Backing(LocalSettings(state=state, **urls))  # type: ignore[arg-type]


def test_only_the_stores_that_are_not_given_are_embedded(tmp_path: Path, redis_url: str) -> None:
    assert [server.name for server in backing(tmp_path).embedded] == ["postgres", "valkey"]
    given = backing(tmp_path, redis_url=redis_url)
    given.check_connection()
    assert [server.name for server in given.embedded] == ["postgres"]


def test_a_wrong_password_is_one_sentence_without_it(
    tmp_path: Path, postgres_url: str, redis_url: str
) -> None:
    for key, url in (("database_url", postgres_url), ("redis_url", redis_url)):
        before, _, after = url.rpartition("@")
        wrong = f"{before[:-5]}wrong@{after}"
        with pytest.raises(StartError, match=f"THORAX_{key.upper()} cannot be used") as refused:
            backing(tmp_path, **{key: wrong}).check_connection()
        assert "wrong@" not in str(refused.value)


def test_the_run_file_names_the_database_of_the_running_platform(
    tmp_path: Path, postgres: Postgres, database_url: str
) -> None:
    run_file = tmp_path / "run.json"
    with pytest.raises(StartError, match="No platform is running here"):
        backing(tmp_path).running_url(run_file)
    (tmp_path / "postgres").symlink_to(postgres.folder)
    run_file.write_text(json.dumps({"ports": {"postgres": postgres.port}}))
    assert backing(tmp_path).running_url(run_file) == postgres.url_of("thorax")
    assert backing(tmp_path, database_url=database_url).running_url(run_file) == database_url


def test_current_means_newest_schema_and_this_bundle(
    tmp_path: Path, database_url: str, postgres_url: str
) -> None:
    bundle = make_bundle(tmp_path / "tiny")
    assert not backing(tmp_path, database_url=postgres_url).is_current(bundle.digest)  # nothing there
    migrated = backing(tmp_path, database_url=database_url)
    assert not migrated.is_current(bundle.digest)
    env = {**os.environ, "THORAX_DATABASE_URL": database_url}
    assert ended("thorax.commands.cli", "migrate", "--bundle", str(bundle.folder), env=env).returncode == 0
    assert migrated.is_current(bundle.digest)
    assert not migrated.is_current("0" * 64)


def test_a_given_database_is_used_with_each_service_s_role(tmp_path: Path, database_url: str) -> None:
    urls = backing(tmp_path, database_url=database_url).databases()
    for role, url in urls.items():
        with database.engine(url).connect() as connection:
            assert connection.execute(
                text("select current_user, current_setting('statement_timeout')")
            ).one() == (role, "30s")
    with database.engine(urls["thorax_gateway"]).connect() as connection, pytest.raises(ProgrammingError):
        connection.execute(text("select * from auth.users"))
