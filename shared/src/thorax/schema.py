"""The schema's version: bring a database to it, or wait until it has it."""

import functools
import hashlib
import sys
from pathlib import Path
from time import monotonic, sleep

import psycopg

from thorax.database import connect
from thorax.queries import COMMENT, with_literals

MIGRATIONS = Path(__file__).parent / "migrations"
_REVISIONS = {path.name.partition("_")[0]: path for path in sorted((MIGRATIONS / "versions").glob("*.py"))}
NEWEST = max(_REVISIONS)
FOUND = "select version_num, obj_description('alembic_version'::regclass, 'pg_class') from alembic_version"
"""A database's revision, and the fingerprint of what made it."""
_UNKNOWN = (
    "The database has a schema that this version does not know. If a newer version made it, use that one. "
    "If an unreleased one did, start with an empty database (`make run`: move the folder .thorax away)."
)


@functools.cache
def fingerprint(revision: str) -> str:
    """A digest of the statements that bring a database to this revision: they are edited until they are released."""
    statements = [with_literals(path.read_text("utf-8")) for path in sorted(MIGRATIONS.glob("*.sql"))]
    statements += [path.read_text("utf-8") for name, path in _REVISIONS.items() if name <= revision]
    return hashlib.sha256(COMMENT.sub("", "".join(statements)).encode()).hexdigest()


def require_known(revision: str | None, made_by: str | None) -> None:
    """End this process with one sentence if a database was made by statements that are not this version's."""
    if revision and (revision not in _REVISIONS or fingerprint(revision) != made_by):
        sys.exit(_UNKNOWN)


def wait_for_schema(url: str, *, pooled: bool, timeout_s: float) -> bool:
    """Whether the database at `url` got this version's schema within the time. A newer one (a rollback) is not waited for.

    Ends this process with one sentence if the schema is one that was never released, or of another commit.
    """
    deadline = monotonic() + timeout_s
    while (found := _found(url, pooled=pooled)) is None or found[0] <= NEWEST:
        if found:
            require_known(*found)
            if found[0] == NEWEST:
                return True
        if monotonic() > deadline:
            return False
        sleep(1)
    return True


def is_current(url: str) -> bool:
    """Whether there is nothing to migrate."""
    return _found(url, pooled=False) == (NEWEST, fingerprint(NEWEST))


def _found(url: str, *, pooled: bool) -> tuple[str, str | None] | None:
    try:
        with connect(url, pooled=pooled) as connection:
            return connection.execute(FOUND).fetchone()
    except psycopg.Error:
        return None


def migrate(owner_url: str) -> None:
    """Bring the database to the newest schema. Safe to run from several places at once (advisory lock)."""
    # Imported only here, as services never migrate and need no Alembic in memory.
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["url"] = owner_url
    command.upgrade(config, "head")


def create_roles(owner_url: str) -> None:
    """Create the services' roles where they are missing; `migrate` does so too."""
    with connect(owner_url, pooled=False) as connection:
        connection.execute((MIGRATIONS / "service_roles.sql").read_bytes())
