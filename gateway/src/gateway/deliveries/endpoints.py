"""HTTP for deliveries: what has arrived, what has not, and a second try."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, Field

from gateway.engine import engine_of
from thorax import queries
from thorax.errors import Code, CodedError
from thorax.http.authentication import Admin, Reader, Writer
from thorax.http.cursors import cursor_of, newest_first
from thorax.http.database import tenant_autocommit
from thorax.http.problems import responses
from thorax.states import DestinationKind

router = APIRouter(tags=["DICOM"])
_ERRORS = (Code.UNAUTHENTICATED, Code.FORBIDDEN)
_SQL = queries.load(__file__)
Limit = Annotated[int, Query(ge=1, le=100)]
Cursor = Annotated[str | None, Query(max_length=200)]


class Delivery(BaseModel):
    """What a job says on its way to one destination. `delivered` means proven, as `proof` says."""

    destination: str
    kind: DestinationKind
    state: Literal["waiting", "sending", "delivered", "dead"]
    attempts: int
    proof: str | None
    error_code: str | None
    error_detail: str | None
    updated_at: datetime


class JobDeliveries(BaseModel):
    """The deliveries of a job."""

    items: list[Delivery]


class DeadDelivery(BaseModel):
    """What could not be delivered, and why."""

    id: UUID
    tenant_id: UUID
    job_id: UUID
    destination: str
    kind: DestinationKind
    attempts: int
    error_code: str | None
    error_detail: str | None
    updated_at: datetime


class DeadPage(BaseModel):
    """A page of dead deliveries, the latest first."""

    items: list[DeadDelivery]
    next: str | None = Field(description="`cursor` of the next page; null on the last.")


class Resent(BaseModel):
    """A delivery that begins anew."""

    id: UUID
    state: Literal["waiting"] = "waiting"


@router.get("/v1/admin/deliveries", tags=["administration"], responses=responses(*_ERRORS))
async def list_dead_deliveries(
    _: Admin, request: Request, limit: Limit = 25, cursor: Cursor = None
) -> DeadPage:
    """List what could not be delivered, of all tenants."""
    return await _dead(request, None, limit, cursor)


@router.get("/v1/deliveries", responses=responses(*_ERRORS))
async def list_own_dead_deliveries(
    caller: Reader, request: Request, limit: Limit = 25, cursor: Cursor = None
) -> DeadPage:
    """List which of your results could not be delivered."""
    return await _dead(request, caller.tenant_id, limit, cursor)


async def _dead(request: Request, tenant_id: UUID | None, limit: int, cursor: str | None) -> DeadPage:
    before, last_id = newest_first(cursor) if cursor else (None, None)
    values = {"tenant": tenant_id, "limit": limit + 1, "before": before, "id": last_id}
    async with engine_of(request).connect() as connection:
        rows = (await connection.execute(_SQL["dead"], values)).all()
    items = [DeadDelivery.model_validate(dict(row._mapping)) for row in rows[:limit]]
    more = len(rows) > limit
    return DeadPage(items=items, next=cursor_of(items[-1].updated_at, items[-1].id) if more else None)


@router.post(
    "/v1/admin/deliveries/{delivery_id}/resend",
    status_code=202,
    responses=responses(*_ERRORS, Code.CSRF, Code.NOT_FOUND, Code.CONFLICT),
)
async def resend_delivery(_: Admin, request: Request, delivery_id: UUID) -> Resent:
    """Deliver again what could not be delivered."""
    async with engine_of(request).connect() as connection:
        tenant_id = (await connection.execute(_SQL["tenant_of"], {"id": delivery_id})).scalar()
    if tenant_id is None:
        raise CodedError(Code.NOT_FOUND, "No delivery has this id.")
    return await _resend(request, tenant_id, delivery_id, None)


@router.post(
    "/v1/deliveries/{delivery_id}/resend",
    tags=["webhooks"],
    status_code=202,
    responses=responses(*_ERRORS, Code.CSRF, Code.NOT_FOUND, Code.CONFLICT),
)
async def resend_own_delivery(caller: Writer, request: Request, delivery_id: UUID) -> Resent:
    """Tell a webhook again of a job that it was not told of. What a PACS did not take an administrator resends."""
    return await _resend(request, caller.tenant_id, delivery_id, "webhook")


async def _resend(
    request: Request, tenant_id: UUID, delivery_id: UUID, kind: DestinationKind | None
) -> Resent:
    values = {"id": delivery_id, "kind": kind}
    async with tenant_autocommit(engine_of(request), tenant_id) as connection:
        if (await connection.execute(_SQL["resend"], values)).first():
            return Resent(id=delivery_id)
        state = (await connection.execute(_SQL["state"], values)).scalar()
    if state is None:
        raise CodedError(Code.NOT_FOUND, "No dead delivery to a webhook of yours has this id.")
    raise CodedError(Code.CONFLICT, f"This delivery is {state}. Only a dead one is sent again.")


@router.get("/v1/jobs/{job_id}/deliveries", responses=responses(*_ERRORS, Code.NOT_FOUND))
async def list_deliveries(caller: Reader, request: Request, job_id: UUID) -> JobDeliveries:
    """Tell whether a job's result has reached its destinations, and how that is known."""
    async with tenant_autocommit(engine_of(request), caller.tenant_id) as connection:
        if (await connection.execute(_SQL["job"], {"job_id": job_id})).first() is None:
            raise CodedError(Code.NOT_FOUND, "No job has this id.")
        rows = (await connection.execute(_SQL["of_job"], {"job_id": job_id})).all()
    return JobDeliveries(items=[Delivery.model_validate(dict(row._mapping)) for row in rows])
