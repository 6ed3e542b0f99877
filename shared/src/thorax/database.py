"""Engines, sessions, and the tenant scope; the command that migrates."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

from sqlalchemy import Engine, create_engine, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

_CONFINE = text("select set_config('thorax.tenant', :tenant, :local)")

# A statement that hangs holds a connection and its locks; nothing here needs half a minute.
_OPTIONS = "-c statement_timeout=30000 -c lock_timeout=15000 -c idle_in_transaction_session_timeout=60000"


def engine(url: str, *, pool_size: int = 2, autocommit: bool = False) -> Engine:
    """A blocking engine for workers and commands.

    With `autocommit` each statement is a transaction of its own, without the round trips of BEGIN and COMMIT.
    """
    own: dict[str, Any] = {"isolation_level": "AUTOCOMMIT"} if autocommit else {}
    return create_engine(url, pool_size=pool_size, max_overflow=2, **own, **_options())


def async_engine(url: str, *, pool_size: int = 10) -> AsyncEngine:
    """An asyncio engine for the HTTP services."""
    return create_async_engine(
        url, pool_size=pool_size, max_overflow=pool_size, pool_timeout=10, **_options()
    )


def _options() -> dict[str, Any]:
    # No ping before each use: it costs a round trip every time, while a server that went away costs one failed
    # use, after which SQLAlchemy drops the whole pool. The last connection used is the likeliest to be alive.
    connect = {"connect_timeout": 5, "options": _OPTIONS, "application_name": "thorax"}
    # Errors come without a statement's parameters: they may be logged, and titles and file names may not.
    return {"pool_use_lifo": True, "pool_recycle": 1800, "hide_parameters": True, "connect_args": connect}


@asynccontextmanager
async def tenant_scope(engine: AsyncEngine, tenant_id: UUID) -> AsyncIterator[AsyncConnection]:
    """One transaction that row-level security confines to a tenant; commits when the block ends well."""
    async with engine.begin() as connection:
        await connection.execute(_CONFINE, {"tenant": str(tenant_id), "local": True})
        yield connection


@asynccontextmanager
async def autocommit(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """For a statement that concerns no tenant. (A ROLLBACK would make psycopg forget all that it has prepared.)"""
    async with engine.connect() as connection:
        await connection.execution_options(isolation_level="AUTOCOMMIT")
        yield connection


@asynccontextmanager
async def tenant_autocommit(engine: AsyncEngine, tenant_id: UUID) -> AsyncIterator[AsyncConnection]:
    """The same for work that is one statement, which needs no transaction around it: one round trip, not four.

    The tenant is set for the connection and remembered with it, and set anew before anybody else's statement.
    """
    async with autocommit(engine) as connection:
        info = connection.sync_connection.info if connection.sync_connection else {}
        if info.get("tenant") != tenant_id:
            info.pop("tenant", None)
            await connection.execute(_CONFINE, {"tenant": str(tenant_id), "local": False})
            info["tenant"] = tenant_id
        yield connection


def migrate(owner_url: str) -> None:
    """Bring the database to the newest schema. Safe to run from several places at once (advisory lock)."""
    # Only here, as services never migrate and need not carry Alembic in memory.
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["url"] = owner_url
    command.upgrade(config, "head")
