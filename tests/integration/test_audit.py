"""The audit in a real database: what is written by itself, who may write, and that no change stays unseen."""

import hashlib
import json
import threading
from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from click.testing import CliRunner, Result

from tests.factories.patience import PATIENCE_S
from thorax.commands.cli import cli

BUNDLE = "insert into bundles (digest, name, version, manifest, card, active) values ('b', 'n', '1', '{}', '', true)"
SEND = """
with study as (insert into studies (id, tenant_id) values (%(job)s, %(tenant)s)),
image as (insert into instances (id, study_id, tenant_id, position, file_name, media_type, size_bytes, sha256)
  values (%(image)s, %(job)s, %(tenant)s, 0, 'x', 'image/png', 1, ''))
insert into jobs (id, tenant_id, study_id, owner, bundle_digest, steps_total)
values (%(job)s, %(tenant)s, %(job)s, 'ada', 'b', 2)"""
ROWS = "select actor, action, subject, detail from audit where tenant_id = %s order by id"


class Audited:
    """A database with a bundle; `owner` is a connection that may do everything."""

    def __init__(self, url: str, url_as: Callable[[str], str]) -> None:
        self.url, self._url_as = url, url_as
        self.owner = self.connect(url)
        self.owner.execute(BUNDLE)

    @staticmethod
    def connect(url: str) -> psycopg.Connection[tuple[Any, ...]]:
        return psycopg.connect(url.replace("+psycopg", ""), autocommit=True)

    def as_role(self, role: str) -> psycopg.Connection[tuple[Any, ...]]:
        return self.connect(self._url_as(role))

    def send(self, tenant: UUID) -> dict[str, UUID]:
        ids = {"tenant": tenant, "job": uuid4(), "image": uuid4()}
        self.owner.execute(SEND, ids)
        return ids

    def run(self, *words: str) -> Result:
        return CliRunner().invoke(cli, ["admin", "audit", *words], env={"THORAX_DATABASE_URL": self.url})

    def linked(self, tenant: UUID, rows: int = 3) -> None:
        """A tenant whose chain has so many rows."""
        for _ in range(rows):
            self.send(tenant)
        assert self.run("verify").exit_code == 0

    def tamper(self, statement: str, *values: Any) -> None:
        """As an owner does who switches the guard off."""
        self.owner.execute("alter table audit disable trigger all")
        self.owner.execute(statement.encode(), values)
        self.owner.execute("alter table audit enable trigger all")


@pytest.fixture
def audited(database_url: str, url_as: Callable[[str], str]) -> Audited:
    return Audited(database_url, url_as)


def test_a_job_s_life_is_written(audited: Audited) -> None:
    tenant = uuid4()
    ids = audited.send(tenant)
    job, image = str(ids["job"]), str(ids["image"])
    audited.owner.execute(
        "insert into study_findings (job_id, finding, probability, threshold, positive, disagreement, verdict) "
        "values (%s, 'edema', 0.25, 0.5, false, 0, 'unlikely')",
        [job],
    )
    audited.owner.execute("update jobs set state = 'running'")
    with audited.as_role("thorax_worker") as worker:
        worker.execute("update jobs set state = 'succeeded', finished_at = now()")
    with audited.as_role("thorax_gateway") as gateway, gateway.transaction():
        gateway.execute("select set_config('thorax.tenant', %s, true)", [str(tenant)])
        gateway.execute("select set_config('thorax.actor', 'grace', true)")
        gateway.execute("insert into blobs_pending_deletion (instance_id) select id from instances")
        gateway.execute("delete from jobs")
        gateway.execute("delete from studies")
    with audited.as_role("thorax_aggregator") as sweeper:
        sweeper.execute("delete from blobs_pending_deletion")
    assert audited.owner.execute(ROWS, [tenant]).fetchall() == [
        ("ada", "sent", job, {"study": job, "bundle": "b", "images": [image]}),
        (
            "thorax_worker_login",
            "answered",
            job,
            {"state": "succeeded", "bundle": "b", "findings": {"edema": ["unlikely", 0.25]}},
        ),
        ("grace", "erased", job, {"study": job}),
        ("thorax_aggregator_login", "files_erased", image, {"study": job}),
    ]


def test_accounts_logins_and_rights_are_written(audited: Audited) -> None:
    tenant, user, session = uuid4(), uuid4(), uuid4()
    with audited.as_role("thorax_auth") as auth:
        auth.execute("insert into auth.tenants (id) values (%s)", [tenant])
        auth.execute(
            "insert into auth.users values (%s, %s, 'lovelace', 'hash', '{studies:read}')", [user, tenant]
        )
        auth.execute(
            "insert into auth.sessions (id, user_id, scopes, expires_at) values (%s, %s, '{studies:read}', now())",
            [session, user],
        )
        with auth.transaction():
            auth.execute("select set_config('thorax.actor', 'root', true)")
            auth.execute("update auth.users set scopes = '{admin}'")
        auth.execute("update auth.users set scopes = scopes")  # nothing changes
        auth.execute(
            "select note_failed_login(%s), note_failed_login(%s), note_failed_login(null)", [user, uuid4()]
        )
    rows = audited.owner.execute(ROWS, [tenant]).fetchall()
    assert [row[:3] for row in rows] == [
        ("thorax_auth_login", "account_created", str(user)),
        (str(user), "logged_in", str(session)),
        ("root", "rights_changed", str(user)),
        ("unknown", "login_failed", str(user)),
    ]
    assert rows[2][3] == {"scopes": ["admin"], "disabled": False}
    assert "lovelace" not in str(rows) and "hash" not in str(rows)


def test_bundles_are_written(audited: Audited) -> None:
    tenant = uuid4()
    audited.owner.execute("insert into tenant_bundles values (%s, 'b')", [tenant])
    audited.owner.execute("delete from tenant_bundles")
    actions = [row[1] for row in audited.owner.execute(ROWS, [tenant])]
    assert actions == ["bundle_activated", "bundle_activated_ended"]
    (activated,) = audited.owner.execute(ROWS, [UUID(int=0)]).fetchall()
    assert activated[1:] == ("bundle_activated", "b", {"name": "n", "version": "1"})


@pytest.mark.parametrize(
    "statement",
    ["update audit set actor = 'x'", "delete from audit", "truncate audit", "select * from audit"],
)
def test_the_gateway_can_only_insert(audited: Audited, statement: str) -> None:
    audited.send(uuid4())
    with audited.as_role("thorax_gateway") as gateway, pytest.raises(psycopg.errors.InsufficientPrivilege):
        gateway.execute(statement.encode())


def test_the_gateway_inserts_for_its_tenant_and_not_into_the_chain(audited: Audited) -> None:
    tenant = uuid4()
    insert = "insert into audit (tenant_id, actor, action) values (%s, 'ada', 'looked')"
    with audited.as_role("thorax_gateway") as gateway:
        with gateway.transaction():
            gateway.execute("select set_config('thorax.tenant', %s, true)", [str(tenant)])
            gateway.execute(insert, [tenant])
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            gateway.execute(insert, [tenant])  # outside of any tenant
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            gateway.execute(
                "insert into audit (tenant_id, actor, action, place) values (%s, '', '', 1)", [tenant]
            )


@pytest.mark.parametrize("statement", ["update audit set actor = 'x'", "delete from audit", "truncate audit"])
def test_even_the_owner_is_refused_a_change(audited: Audited, statement: str) -> None:
    audited.send(uuid4())
    with pytest.raises(psycopg.errors.RaiseException, match="append-only"):
        audited.owner.execute(statement.encode())


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ("update audit set actor = 'x' where place = 2 and tenant_id = %s", "place 2: row"),
        ("update audit set at = at + interval '1 us' where place = 2 and tenant_id = %s", "place 2: row"),
        ("delete from audit where place = 2 and tenant_id = %s", "place 2: the row is removed"),
        ("delete from audit where place = 3 and tenant_id = %s", "place 3: the row is removed"),
        ("delete from audit where tenant_id = %s", "place 1: the row is removed"),
        (
            "update audit set place = case place when 2 then 9 else place end where tenant_id = %s",
            "place 2: the row is removed",
        ),
    ],
)
def test_verify_names_the_first_row_that_is_not_as_it_was(audited: Audited, change: str, named: str) -> None:
    tenant, other = uuid4(), uuid4()
    audited.linked(tenant)
    audited.linked(other)
    audited.tamper(change, tenant)
    found = audited.run("verify")
    assert (found.exit_code, f"tenant {tenant}, {named}" in found.output) == (1, True), found.output
    assert str(other) not in found.output


def test_verify_names_rows_that_changed_places(audited: Audited) -> None:
    tenant = uuid4()
    audited.linked(tenant)
    audited.tamper("alter table audit drop constraint audit_tenant_id_place_key")
    audited.tamper(
        "update audit set place = case place when 2 then 3 when 3 then 2 else 1 end where tenant_id = %s",
        tenant,
    )
    assert f"tenant {tenant}, place 2: row" in audited.run("verify").output


def test_a_chain_that_was_made_anew_is_not_the_exported_one(audited: Audited, tmp_path: Any) -> None:
    tenant = uuid4()
    audited.linked(tenant)
    exported = tmp_path / "audit.jsonl"
    exported.write_text(audited.run("export").stdout)
    assert audited.run("verify", "--against", str(exported)).exit_code == 0
    audited.tamper("update audit set actor = 'x', place = null, digest = null where tenant_id = %s", tenant)
    audited.owner.execute("delete from audit_heads where tenant_id = %s", [tenant])
    assert audited.run("verify").exit_code == 0  # whoever may do everything can make a chain
    found = audited.run("verify", "--against", str(exported))
    assert (found.exit_code, f"tenant {tenant}, place 1" in found.output) == (1, True)


def test_an_export_is_checked_without_a_database(audited: Audited) -> None:
    tenant = uuid4()
    audited.linked(tenant)
    digest = b""
    lines = [json.loads(line) for line in audited.run("export", "--tenant", str(tenant)).stdout.splitlines()]
    for place, line in enumerate(lines, 1):
        digest = hashlib.sha256(digest + line["entry"].encode()).digest()
        assert (line["place"], line["digest"]) == (place, digest.hex())
        assert json.loads(line["entry"])[4:6] == [line["actor"], line["action"]] == ["ada", "sent"]
    assert len(lines) == 3


def test_uploads_of_a_tenant_never_wait_for_its_chain(audited: Audited) -> None:
    tenant = uuid4()
    audited.linked(tenant)
    with audited.as_role("thorax_aggregator") as sweeper, sweeper.transaction():
        audited.send(tenant)
        assert sweeper.execute("select chain_audit(10)").fetchone() == (1,)  # not committed
        sent = threading.Thread(target=audited.send, args=(tenant,), daemon=True)
        sent.start()
        sent.join(PATIENCE_S)
        assert not sent.is_alive()
        with audited.as_role("thorax_aggregator") as second:
            assert second.execute("select chain_audit(10)").fetchone() == (0,)
    assert "as they were written" in audited.run("verify").output
