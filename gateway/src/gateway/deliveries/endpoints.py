"""HTTP for destinations and deliveries. Administrators name a tenant's DICOMweb servers, see what failed, and resend it."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Path, Query, Request
from pydantic import BaseModel, Field, SecretStr
from sqlalchemy.ext.asyncio import AsyncEngine

from thorax import queries
from thorax.errors import Code, CodedError
from thorax.http.authentication import Admin, Reader
from thorax.http.cursors import cursor_of, newest_first
from thorax.http.database import tenant_autocommit
from thorax.http.problems import responses
from thorax.settings import HttpUrl

router = APIRouter(tags=["DICOM"])
_ERRORS = (Code.UNAUTHENTICATED, Code.FORBIDDEN)
_SQL = queries.load(__file__)
Name = Annotated[str, Path(pattern=r"^[a-z0-9][a-z0-9_-]{0,39}$", description="a name for people")]


class NewDestination(BaseModel):
    """A DICOMweb server that takes STOW-RS and answers WADO-RS."""

    url: HttpUrl = Field(max_length=500, examples=["https://pacs.example.org/dicom-web"])
    authorization: SecretStr | None = Field(
        default=None,
        max_length=4000,
        description="Value of the Authorization header. It can't be read back.",
        examples=["Basic dGhvcmF4OnNlY3JldA=="],
    )


class Destination(BaseModel):
    """A destination of a tenant's results."""

    name: str
    url: str
    created_at: datetime | None = None


class Destinations(BaseModel):
    """All destinations of a tenant."""

    items: list[Destination]


class Delivery(BaseModel):
    """A job's objects on their way to one destination. `delivered` means proven, as `proof` says."""

    destination: str
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


@router.put("/v1/admin/tenants/{tenant_id}/destinations/{name}", responses=responses(*_ERRORS, Code.CSRF))
async def put_destination(
    _: Admin, request: Request, tenant_id: UUID, name: Name, new: NewDestination
) -> Destination:
    """Send a tenant's results to a DICOMweb server from now on."""
    secret = new.authorization.get_secret_value() if new.authorization else None
    if secret is not None and (not secret.isascii() or not secret.isprintable()):
        raise CodedError(Code.VALIDATION, "authorization must be printable ASCII.")
    values = {"tenant": tenant_id, "name": name, "url": new.url, "authorization": secret}
    async with tenant_autocommit(_engine(request), tenant_id) as connection:
        await connection.execute(_SQL["put"], values)
    return Destination(name=name, url=new.url)


@router.get("/v1/admin/tenants/{tenant_id}/destinations", responses=responses(*_ERRORS))
async def list_destinations(_: Admin, request: Request, tenant_id: UUID) -> Destinations:
    """List a tenant's destinations."""
    async with tenant_autocommit(_engine(request), tenant_id) as connection:
        rows = (await connection.execute(_SQL["list"], {"tenant": tenant_id})).all()
    return Destinations(items=[Destination.model_validate(dict(row._mapping)) for row in rows])


@router.delete(
    "/v1/admin/tenants/{tenant_id}/destinations/{name}",
    status_code=204,
    responses=responses(*_ERRORS, Code.CSRF, Code.NOT_FOUND),
)
async def delete_destination(_: Admin, request: Request, tenant_id: UUID, name: Name) -> None:
    """Send nothing more to a destination; what waits for it is dropped."""
    async with tenant_autocommit(_engine(request), tenant_id) as connection:
        values = {"tenant": tenant_id, "name": name}
        if (await connection.execute(_SQL["delete"], values)).first() is None:
            raise CodedError(Code.NOT_FOUND, "The tenant has no such destination.")


@router.get("/v1/admin/deliveries", tags=["administration"], responses=responses(*_ERRORS))
async def list_dead_deliveries(
    _: Admin,
    request: Request,
    limit: Annotated[int, Query(ge=1, le=100)] = 25,
    cursor: Annotated[str | None, Query(max_length=200)] = None,
) -> DeadPage:
    """List what could not be delivered, of all tenants."""
    before, last_id = newest_first(cursor) if cursor else (None, None)
    values = {"limit": limit + 1, "before": before, "id": last_id}
    async with _engine(request).connect() as connection:
        rows = (await connection.execute(_SQL["dead"], values)).all()
    items = [DeadDelivery.model_validate(dict(row._mapping)) for row in rows[:limit]]
    more = len(rows) > limit
    return DeadPage(items=items, next=cursor_of(items[-1].updated_at, items[-1].id) if more else None)


@router.post(
    "/v1/admin/deliveries/{delivery_id}/resend",
    status_code=202,
    responses=responses(*_ERRORS, Code.CSRF, Code.NOT_FOUND),
)
async def resend_delivery(_: Admin, request: Request, delivery_id: UUID) -> Resent:
    """Deliver again what could not be delivered."""
    async with _engine(request).connect() as connection:
        tenant_id = (await connection.execute(_SQL["tenant_of"], {"id": delivery_id})).scalar()
    if tenant_id is not None:
        async with tenant_autocommit(_engine(request), tenant_id) as scoped:
            if (await scoped.execute(_SQL["resend"], {"id": delivery_id})).first():
                return Resent(id=delivery_id)
    raise CodedError(Code.NOT_FOUND, "No dead delivery has this id.")


@router.get("/v1/jobs/{job_id}/deliveries", responses=responses(*_ERRORS, Code.NOT_FOUND))
async def list_deliveries(caller: Reader, request: Request, job_id: UUID) -> JobDeliveries:
    """Tell whether a job's result has reached its destinations, and how that is known."""
    async with tenant_autocommit(_engine(request), caller.tenant_id) as connection:
        if (await connection.execute(_SQL["job"], {"job_id": job_id})).first() is None:
            raise CodedError(Code.NOT_FOUND, "No job has this id.")
        rows = (await connection.execute(_SQL["of_job"], {"job_id": job_id})).all()
    return JobDeliveries(items=[Delivery.model_validate(dict(row._mapping)) for row in rows])


def _engine(request: Request) -> AsyncEngine:
    engine: AsyncEngine = request.app.state.engine
    return engine
