"""Engines for workers and commands, and the migration. Those of the HTTP services are in `http_database`."""

from pathlib import Path
from typing import Any

from sqlalchemy import Engine, ExceptionContext, create_engine, event, make_url

# A statement that hangs holds a connection and its locks; nothing here needs half a minute.
_OPTIONS = "-c statement_timeout=30000 -c lock_timeout=15000 -c idle_in_transaction_session_timeout=60000"


def engine(url: str, *, pool_size: int = 2, autocommit: bool = False) -> Engine:
    """A blocking engine for workers and commands.

    With `autocommit` each statement is a transaction of its own, without the round trips of BEGIN and COMMIT.
    """
    own: dict[str, Any] = {"isolation_level": "AUTOCOMMIT"} if autocommit else {}
    return create_engine(url, pool_size=pool_size, max_overflow=2, **own, **options(url))


@event.listens_for(Engine, "handle_error")
def _forget_stale_plans(context: ExceptionContext) -> None:
    """After a migration a prepared statement may fail for good (feature_not_supported: "cached plan must not change
    result type"); only a new connection helps, so this one counts as lost."""
    if getattr(context.original_exception, "sqlstate", None) == "0A000":
        context.is_disconnect = True


# A server that vanished without a word (its machine lost power) is given up after 15 to 25 s, not after 15 minutes.
KEEPALIVES: dict[str, Any] = {
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 15_000,
}


def options(url: str) -> dict[str, Any]:
    """What every engine is made with. What the URL itself asks for (`?options=-c role=...`) is kept."""
    # No ping before each use: it costs a round trip every time, while a server that went away costs one failed
    # use, after which SQLAlchemy drops the whole pool. The last connection used is the likeliest to be alive.
    asked = " ".join([_OPTIONS, *make_url(url).normalized_query.get("options", ())])
    connect = {"connect_timeout": 5, "options": asked, "application_name": "thorax", **KEEPALIVES}
    # Errors come without a statement's parameters: they may be logged, and titles and file names may not.
    return {"pool_use_lifo": True, "pool_recycle": 1800, "hide_parameters": True, "connect_args": connect}


def migrate(owner_url: str) -> None:
    """Bring the database to the newest schema. Safe to run from several places at once (advisory lock)."""
    # Only here, as services never migrate and need not carry Alembic in memory.
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["url"] = owner_url
    command.upgrade(config, "head")
