"""SQL on model bundles and the workers that serve them."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Row, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.tables import BundleRow, TenantBundle, WorkerRow
from thorax.states import ALIVE_S


async def bundles(connection: AsyncConnection, tenant_id: UUID) -> Sequence[Row[*tuple[Any, ...]]]:
    """All registered bundles, that of the tenant first; `in_use` marks it."""
    own = select(TenantBundle.bundle_digest).where(TenantBundle.tenant_id == tenant_id)
    in_use = func.coalesce(BundleRow.digest == own.scalar_subquery(), BundleRow.active).label("in_use")
    query = select(*BundleRow.__table__.columns, in_use).order_by(
        in_use.desc(), BundleRow.active.desc(), BundleRow.registered_at.desc()
    )
    return (await connection.execute(query)).all()


async def active_bundle(connection: AsyncConnection) -> Row[*tuple[Any, ...]] | None:
    """Digest and manifest of the default bundle, if there is one."""
    query = select(BundleRow.digest, BundleRow.manifest).where(BundleRow.active)
    return (await connection.execute(query)).first()


async def live_workers(connection: AsyncConnection) -> Sequence[Row[*tuple[Any, ...]]]:
    """The processes that have lately given a sign of life."""
    alive = WorkerRow.seen_at > func.now() - timedelta(seconds=ALIVE_S)
    return (await connection.execute(select(*WorkerRow.__table__.columns).where(alive))).all()
