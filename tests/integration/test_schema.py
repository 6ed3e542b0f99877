"""The schema as a whole, and what a connection does when it changes."""

import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from time import monotonic

import psycopg
import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from local_stack.roles import ROLES
from thorax import database, schema

# Deleting a row deletes those that refer to it: without an index, by reading their whole table each time.
_UNINDEXED = """
select c.conrelid::regclass || ' (' || a.attname || ')' from pg_constraint c
join pg_attribute a on a.attrelid = c.conrelid and a.attnum = c.conkey[1]
where c.contype = 'f' and c.confdeltype <> 'a' and not exists (
  select from pg_index i where i.indrelid = c.conrelid and i.indkey[0] = c.conkey[1])"""


def test_every_cascading_reference_has_an_index(database_url: str) -> None:
    with psycopg.connect(database_url.replace("+psycopg", "")) as connection:
        assert connection.execute(_UNINDEXED).fetchall() == []


def test_a_prepared_statement_survives_a_migration(database_url: str) -> None:
    engine = database.engine(database_url, autocommit=True, pool_size=1)
    with engine.connect() as connection:
        connection.execute(text("create table t as select 1 as a"))
        for _ in range(8):  # psycopg prepares it
            connection.execute(text("select * from t"))
    with database.engine(database_url, autocommit=True).connect() as other:
        other.execute(text("alter table t add column b integer"))
    with pytest.raises(DBAPIError) as lost, engine.connect() as connection:
        connection.execute(text("select * from t"))
    assert lost.value.connection_invalidated
    with engine.connect() as connection:
        assert connection.execute(text("select * from t")).one() == (1, None)


@pytest.mark.parametrize("role", ROLES)
def test_each_service_can_tell_whether_the_schema_is_its_own(url_as: Callable[[str], str], role: str) -> None:
    assert schema.wait_for_schema(url_as(role), pooled=False, timeout_s=0)


def test_new_code_waits_until_the_migration_has_run(database_url: str) -> None:
    with psycopg.connect(database_url.replace("+psycopg", ""), autocommit=True) as connection:
        connection.execute("delete from alembic_version")
        assert not schema.wait_for_schema(database_url, pooled=False, timeout_s=0)
        began, newest = monotonic(), f"insert into alembic_version values ('{schema.NEWEST}')"
        migration = threading.Timer(1.5, connection.execute, [newest])
        migration.start()
        assert schema.wait_for_schema(database_url, pooled=False, timeout_s=60)
        assert monotonic() - began >= 1.5
        migration.join()


OTHERS = {
    "another revision": "update alembic_version set version_num = '0006'",
    "another commit": "comment on table alembic_version is 'its digest'",
    "before digests": "comment on table alembic_version is null",
}


@pytest.mark.parametrize("other", OTHERS)
def test_a_database_of_an_unreleased_version_is_refused(database_url: str, other: str) -> None:
    schema.migrate(database_url)  # its own: nothing to do
    assert schema.is_current(database_url)
    with psycopg.connect(database_url.replace("+psycopg", ""), autocommit=True) as connection:
        connection.execute(OTHERS[other])
    assert not schema.is_current(database_url)
    with pytest.raises(SystemExit, match="start with an empty database"):
        schema.migrate(database_url)
    with pytest.raises(SystemExit, match="start with an empty database"):
        schema.wait_for_schema(database_url, pooled=False, timeout_s=60)


def test_each_statement_counts_and_no_comment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = schema.fingerprint(schema.NEWEST)
    copy = shutil.copytree(schema.MIGRATIONS, tmp_path / "migrations")
    monkeypatch.setattr(schema, "MIGRATIONS", copy)
    for added, same in (("-- why\n", True), ("revoke all on jobs from thorax_gateway;\n", False)):
        with (copy / "roles.sql").open("a") as file:
            file.write(added)
        assert (schema.fingerprint.__wrapped__(schema.NEWEST) == own) is same


def test_a_newer_schema_is_not_waited_for(database_url: str) -> None:
    with psycopg.connect(database_url.replace("+psycopg", ""), autocommit=True) as connection:
        connection.execute("update alembic_version set version_num = 'v999'")
    assert schema.wait_for_schema(database_url, pooled=False, timeout_s=0)
