"""Engines, sessions, and the tenant scope; the command that migrates."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import UUID

from alembic import command
from alembic.config import Config
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

# A statement that hangs holds a connection and its locks; nothing here needs half a minute.
_OPTIONS = "-c statement_timeout=30000 -c lock_timeout=15000 -c idle_in_transaction_session_timeout=60000"


def engine(url: str, *, pool_size: int = 2) -> Engine:
    """A blocking engine for workers and commands."""
    return create_engine(
        url, pool_size=pool_size, max_overflow=2, pool_pre_ping=True, connect_args=_connect_args()
    )


def async_engine(url: str, *, pool_size: int = 10) -> AsyncEngine:
    """An asyncio engine for the HTTP services."""
    return create_async_engine(
        url,
        pool_size=pool_size,
        max_overflow=pool_size,
        pool_timeout=10,
        pool_pre_ping=True,
        connect_args=_connect_args(),
    )


def _connect_args() -> dict[str, object]:
    return {"connect_timeout": 5, "options": _OPTIONS, "application_name": "thorax"}


@asynccontextmanager
async def tenant_scope(engine: AsyncEngine, tenant_id: UUID) -> AsyncIterator[AsyncConnection]:
    """One transaction that row-level security confines to a tenant; commits when the block ends well."""
    async with engine.begin() as connection:
        await connection.execute(
            text("select set_config('thorax.tenant', :tenant, true)"), {"tenant": str(tenant_id)}
        )
        yield connection


def migrate(owner_url: str) -> None:
    """Bring the database to the newest schema. Safe to run from several places at once (advisory lock)."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["url"] = owner_url
    command.upgrade(config, "head")
