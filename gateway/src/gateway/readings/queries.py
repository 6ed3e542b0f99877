"""SQL about a tenant's reading. Every function works where row-level security confines it to that tenant."""

from uuid import UUID

from sqlalchemy import delete, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.tables import TenantReading
from thorax.reading import AS_THE_BUNDLE, Reading


async def reading(connection: AsyncConnection, tenant_id: UUID) -> Reading:
    """The tenant's choice, or the bundle's."""
    query = select(TenantReading.reading).where(TenantReading.tenant_id == tenant_id)
    stored = (await connection.execute(query)).scalar()
    return Reading.model_validate(stored) if stored else AS_THE_BUNDLE


async def choose(connection: AsyncConnection, tenant_id: UUID, chosen: Reading) -> None:
    """Replace the tenant's choice."""
    values = {"reading": chosen.model_dump(mode="json"), "changed_at": func.now()}
    upsert = insert(TenantReading).values(tenant_id=tenant_id, **values)
    await connection.execute(upsert.on_conflict_do_update(index_elements=["tenant_id"], set_=values))


async def forget(connection: AsyncConnection, tenant_id: UUID) -> None:
    """Delete the tenant's choice."""
    await connection.execute(delete(TenantReading).where(TenantReading.tenant_id == tenant_id))
