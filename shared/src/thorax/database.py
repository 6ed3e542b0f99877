"""Engines for workers and commands, and the migration. Those of the HTTP services are in `http_database`."""

from pathlib import Path
from typing import Any

from sqlalchemy import Engine, create_engine

# A statement that hangs holds a connection and its locks; nothing here needs half a minute.
_OPTIONS = "-c statement_timeout=30000 -c lock_timeout=15000 -c idle_in_transaction_session_timeout=60000"


def engine(url: str, *, pool_size: int = 2, autocommit: bool = False) -> Engine:
    """A blocking engine for workers and commands.

    With `autocommit` each statement is a transaction of its own, without the round trips of BEGIN and COMMIT.
    """
    own: dict[str, Any] = {"isolation_level": "AUTOCOMMIT"} if autocommit else {}
    return create_engine(url, pool_size=pool_size, max_overflow=2, **own, **options())


def options() -> dict[str, Any]:
    """What every engine is made with."""
    # No ping before each use: it costs a round trip every time, while a server that went away costs one failed
    # use, after which SQLAlchemy drops the whole pool. The last connection used is the likeliest to be alive.
    connect = {"connect_timeout": 5, "options": _OPTIONS, "application_name": "thorax"}
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
