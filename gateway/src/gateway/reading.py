"""How a tenant reads probabilities: everybody in it may look, an administrator sets it. It holds for results to come."""

from uuid import UUID

from fastapi import APIRouter, Request, Response
from sqlalchemy import delete, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncEngine

from gateway.tables import TenantReading
from thorax.errors import Code
from thorax.http.authentication import Admin, Reader
from thorax.http.database import tenant_autocommit
from thorax.http.problems import responses
from thorax.reading import AS_THE_BUNDLE, Reading

own = APIRouter(prefix="/v1/reading", tags=["models"])
administration = APIRouter(prefix="/v1/admin/readings", tags=["administration"])
_ERRORS = (Code.UNAUTHENTICATED, Code.FORBIDDEN)
_CHANGE = responses(*_ERRORS, Code.CSRF, Code.NOT_FOUND)


@own.get("", responses=responses(*_ERRORS))
async def get_reading(caller: Reader, request: Request) -> Reading:
    """Fetch the operating point, thresholds and prevalences by which the tenant's studies are read from now on."""
    engine: AsyncEngine = request.app.state.engine
    query = select(TenantReading.reading).where(TenantReading.tenant_id == caller.tenant_id)
    async with tenant_autocommit(engine, caller.tenant_id) as connection:
        stored = (await connection.execute(query)).scalar()
    return Reading.model_validate(stored) if stored else AS_THE_BUNDLE


@administration.put("/{tenant_id}", responses=_CHANGE)
async def set_reading(_: Admin, request: Request, tenant_id: UUID, reading: Reading) -> Reading:
    """Set how a tenant's studies are read from now on. Results that are there keep what they were read by."""
    engine: AsyncEngine = request.app.state.engine
    values = {"reading": reading.model_dump(mode="json"), "changed_at": func.now()}
    upsert = insert(TenantReading).values(tenant_id=tenant_id, **values)
    async with tenant_autocommit(engine, tenant_id) as connection:
        await connection.execute(upsert.on_conflict_do_update(index_elements=["tenant_id"], set_=values))
    return reading


@administration.delete("/{tenant_id}", status_code=204, responses=_CHANGE)
async def reset_reading(_: Admin, request: Request, tenant_id: UUID) -> Response:
    """Read a tenant's studies as the bundle does, from now on."""
    engine: AsyncEngine = request.app.state.engine
    async with tenant_autocommit(engine, tenant_id) as connection:
        await connection.execute(delete(TenantReading).where(TenantReading.tenant_id == tenant_id))
    return Response(status_code=204)
