"""The schema's version: bring a database to it, or wait until it has it."""

import sys
from pathlib import Path
from time import monotonic, sleep

import psycopg

from thorax.database import connect

MIGRATIONS = Path(__file__).parent / "migrations"
_REVISIONS = sorted(path.name.partition("_")[0] for path in (MIGRATIONS / "versions").glob("*.py"))
NEWEST = _REVISIONS[-1]
_UNKNOWN = (
    "The database has a schema that this version does not know. If a newer version made it, use that one. "
    "If an unreleased one did, start with an empty database."
)


def wait_for_schema(url: str, *, pooled: bool, timeout_s: float) -> bool:
    """Whether the database at `url` got this version's schema within the time. A newer one (a rollback) is not waited for.

    Ends this process with one sentence if the schema is of a version before the first release.
    """
    deadline = monotonic() + timeout_s
    while (found := _revision(url, pooled=pooled)) is None or found < NEWEST:
        if found is not None and found not in _REVISIONS:
            sys.exit(_UNKNOWN)
        if monotonic() > deadline:
            return False
        sleep(1)
    return True


def _revision(url: str, *, pooled: bool) -> str | None:
    try:
        with connect(url, pooled=pooled) as connection:
            row = connection.execute("select version_num from alembic_version").fetchone()
    except psycopg.Error:
        return None
    return str(row[0]) if row else None


def migrate(owner_url: str) -> None:
    """Bring the database to the newest schema. Safe to run from several places at once (advisory lock)."""
    # Imported only here, as services never migrate and need no Alembic in memory.
    from alembic import command
    from alembic.config import Config
    from alembic.util import CommandError

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["url"] = owner_url
    try:
        command.upgrade(config, "head")
    except CommandError:  # its revision is not one of ours
        sys.exit(_UNKNOWN)


def create_roles(owner_url: str) -> None:
    """Create the services' roles where they are missing; `migrate` does so too."""
    with connect(owner_url, pooled=False) as connection:
        connection.execute((MIGRATIONS / "service_roles.sql").read_bytes())
