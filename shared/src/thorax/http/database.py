"""Asyncio engines for the HTTP services, and the tenant scope.

Row-level security reads the tenant from the setting `thorax.tenant`. It is set for one transaction, never for a
connection: behind a pooler in transaction mode the next transaction on this connection may use a server connection
that another client has just left, and the other way round.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import Any, Self
from uuid import UUID

import psycopg
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from thorax.database import check_connections, options

ACTOR: ContextVar[str] = ContextVar("actor", default="")
"""Who asks, for the audit: an account's or a client's id."""

_CONFINE = "select set_config('thorax.tenant', {}, true), set_config('thorax.actor', {}, true)"


class _TenantCursor(psycopg.AsyncCursor[Any]):
    """Sends the tenant with each statement: both in one pipeline, which is one round trip and one transaction."""

    async def execute(self, *statement: Any, **how: Any) -> Self:
        tenant = getattr(self.connection, "tenant", None)
        if tenant is None:
            return await super().execute(*statement, **how)
        async with self.connection.pipeline():
            await psycopg.AsyncCursor(self.connection).execute(
                _CONFINE.format("%s", "%s"), [tenant, ACTOR.get()]
            )
            await super().execute(*statement, **how)
        return self


def async_engine(url: str, *, pooled: bool = False, pool_size: int = 10) -> AsyncEngine:
    """An asyncio engine for the HTTP services; `pooled` as in `thorax.database.options`.

    Each statement is a transaction of its own, unless `transactional` says otherwise.
    """
    own = options(url, pooled=pooled, most=2 * pool_size)
    own["connect_args"]["cursor_factory"] = _TenantCursor
    own |= {"isolation_level": "AUTOCOMMIT", "skip_autocommit_rollback": True}
    made = create_async_engine(url, pool_size=pool_size, max_overflow=pool_size, pool_timeout=10, **own)
    if not pooled:
        check_connections(made.sync_engine)
    return made


def transactional(engine: AsyncEngine) -> AsyncEngine:
    """The same connections, for transactions of several statements."""
    return engine.execution_options(isolation_level="READ COMMITTED")


@asynccontextmanager
async def tenant_scope(engine: AsyncEngine, tenant_id: UUID) -> AsyncIterator[AsyncConnection]:
    """One transaction that row-level security confines to a tenant; commits when the block ends well."""
    async with transactional(engine).begin() as connection:
        values = {"tenant": str(tenant_id), "actor": ACTOR.get()}
        await connection.execute(text(_CONFINE.format(":tenant", ":actor")), values)
        yield connection


@asynccontextmanager
async def tenant_autocommit(engine: AsyncEngine, tenant_id: UUID) -> AsyncIterator[AsyncConnection]:
    """The same for work that is one statement, which needs no transaction around it: one round trip, not four.
    (A ROLLBACK would make psycopg forget all that it has prepared.)

    Each statement in the block is a transaction of its own, confined to the tenant.
    """
    async with engine.connect() as connection:
        driver: Any = (await connection.get_raw_connection()).driver_connection
        driver.tenant = str(tenant_id)
        try:
            yield connection
        finally:
            driver.tenant = None
