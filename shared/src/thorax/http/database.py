"""Asyncio engines for the HTTP services, and the tenant scope."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from thorax.database import options

_CONFINE = text("select set_config('thorax.tenant', :tenant, :local)")


def async_engine(url: str, *, pool_size: int = 10) -> AsyncEngine:
    """An asyncio engine for the HTTP services."""
    return create_async_engine(
        url, pool_size=pool_size, max_overflow=pool_size, pool_timeout=10, **options(url)
    )


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
