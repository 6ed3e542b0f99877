"""`thorax admin users | clients | keys | failed` on a real database."""

from uuid import uuid4

import psycopg
import pytest
from click.testing import CliRunner

from thorax.commands.cli import cli

ROWS = """
insert into auth.tenants (id) values (%(id)s);
insert into auth.users values (%(id)s, %(id)s, 'ada', 'HASH', '{studies:read,admin}');
insert into auth.clients (id, owner_id, name, scopes, secret) values (%(id)s, %(id)s, 'PACS', '{studies:write}', 'SECRET');
insert into auth.signing_keys values ('key-1', '{}', 'SECRET', now(), now());
insert into bundles (digest, name, version, manifest, card) values ('b', 'n', '1', '{}', '');
insert into studies (id, tenant_id, title) values (%(id)s, %(id)s, 'TITLE');
insert into jobs (id, tenant_id, study_id, owner, bundle_digest, steps_total, state, error_code, finished_at)
values (%(id)s, %(id)s, %(id)s, 'o', 'b', 2, 'failed', 'step_gave_up', now())"""


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("users", "studies:read admin"),
        ("clients", "PACS\tada"),
        ("keys", "key-1"),
        ("failed", "step_gave_up"),
    ],
)
def test_a_list_shows_what_there_is_and_no_secret(database_url: str, name: str, shown: str) -> None:
    with psycopg.ClientCursor(
        psycopg.connect(database_url.replace("+psycopg", ""), autocommit=True)
    ) as owner:
        owner.execute(ROWS, {"id": uuid4()})
    done = CliRunner().invoke(cli, ["admin", name], env={"THORAX_DATABASE_URL": database_url})
    assert done.exit_code == 0, done.output
    head, row = done.output.splitlines()
    assert shown in row and head.count("\t") == row.count("\t")
    assert not any(secret in done.output for secret in ("HASH", "SECRET", "TITLE"))
