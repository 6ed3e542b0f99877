"""HTTP for a tenant's reading: everybody in it may look, an administrator sets it. It holds for results to come."""

from uuid import UUID

from fastapi import APIRouter, Request, Response

from gateway.engine import engine_of
from gateway.readings import queries
from thorax.errors import Code
from thorax.http.authentication import Admin, Reader
from thorax.http.database import tenant_autocommit
from thorax.http.problems import responses
from thorax.reading import Reading

own = APIRouter(prefix="/v1/reading", tags=["models"])
administration = APIRouter(prefix="/v1/admin/readings", tags=["administration"])
_ERRORS = (Code.UNAUTHENTICATED, Code.FORBIDDEN)
_CHANGE = responses(*_ERRORS, Code.CSRF, Code.NOT_FOUND)


@own.get("", responses=responses(*_ERRORS))
async def get_reading(caller: Reader, request: Request) -> Reading:
    """Fetch the operating point, thresholds and prevalences by which the tenant's studies are read from now on."""
    async with tenant_autocommit(engine_of(request), caller.tenant_id) as connection:
        return await queries.reading(connection, caller.tenant_id)


@administration.put("/{tenant_id}", responses=_CHANGE)
async def set_reading(_: Admin, request: Request, tenant_id: UUID, reading: Reading) -> Reading:
    """Set how a tenant's studies are read from now on. Results that are there keep what they were read by."""
    async with tenant_autocommit(engine_of(request), tenant_id) as connection:
        await queries.choose(connection, tenant_id, reading)
    return reading


@administration.delete("/{tenant_id}", status_code=204, responses=_CHANGE)
async def reset_reading(_: Admin, request: Request, tenant_id: UUID) -> Response:
    """Read a tenant's studies as the bundle does, from now on."""
    async with tenant_autocommit(engine_of(request), tenant_id) as connection:
        await queries.forget(connection, tenant_id)
    return Response(status_code=204)
