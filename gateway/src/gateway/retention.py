"""For administrators: how long data are kept, and studies under legal hold. The database writes each change into the audit."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Path, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from gateway.engine import engine_of
from thorax.errors import Code, CodedError
from thorax.http.authentication import Admin
from thorax.http.database import tenant_autocommit
from thorax.http.problems import responses
from thorax.retention import QUERIES

router = APIRouter(prefix="/v1/admin/retention", tags=["administration"])
_ERRORS = (Code.UNAUTHENTICATED, Code.FORBIDDEN)
_CHANGE = responses(*_ERRORS, Code.CSRF, Code.NOT_FOUND)
Days = Annotated[
    int | None, Field(strict=True, ge=1, le=36_500, description="Days since a study came; null: for ever.")
]
Study = Annotated[str, Path(max_length=64, description="A study's id, or its Study Instance UID.")]


class Ages(BaseModel):
    """How long what belongs to a study is kept. Each kind is named, so that none is kept for ever by a slip."""

    model_config = ConfigDict(extra="forbid")
    originals: Days
    inputs: Days
    maps: Days
    results: Days


class TenantAges(Ages):
    """The same of a tenant, which stands instead of those of all."""

    tenant_id: UUID = Field(description="Only zeros: of all tenants without days of their own.")


class Retention(BaseModel):
    """What is kept for how long; without an item, all is kept for ever."""

    items: list[TenantAges]


class Hold(BaseModel):
    """A study, and since when it is held; null: it is not."""

    study_id: UUID
    since: datetime | None


class Holds(BaseModel):
    """Studies of a tenant."""

    items: list[Hold]


@router.get("", responses=responses(*_ERRORS))
async def get_retention(_: Admin, request: Request) -> Retention:
    """Show how long data are kept: for all tenants, and for those with days of their own."""
    async with engine_of(request).connect() as connection:
        rows = (await connection.execute(QUERIES["kept"])).all()
    return Retention(items=[TenantAges.model_validate(dict(row._mapping)) for row in rows])


@router.put("/{tenant_id}", responses=_CHANGE)
async def set_retention(_: Admin, request: Request, tenant_id: UUID, ages: Ages) -> TenantAges:
    """Set how long a tenant's data are kept, or (only zeros) those of all without days of their own. Replaces what was set."""
    values = {"tenant": tenant_id, **ages.model_dump()}
    async with tenant_autocommit(engine_of(request), tenant_id) as connection:
        if (await connection.execute(QUERIES["keep"], values)).first() is None:
            raise CodedError(Code.NOT_FOUND, "No tenant has this id.")
    return TenantAges(tenant_id=tenant_id, **ages.model_dump())


@router.delete("/{tenant_id}", status_code=204, responses=_CHANGE)
async def reset_retention(_: Admin, request: Request, tenant_id: UUID) -> Response:
    """Keep a tenant's data as those of all; with only zeros, for ever."""
    async with tenant_autocommit(engine_of(request), tenant_id) as connection:
        await connection.execute(QUERIES["forget"], {"tenant": tenant_id})
    return Response(status_code=204)


@router.get("/{tenant_id}/holds", responses=responses(*_ERRORS))
async def list_holds(_: Admin, request: Request, tenant_id: UUID) -> Holds:
    """List a tenant's studies under legal hold, the latest hundred."""
    async with tenant_autocommit(engine_of(request), tenant_id) as connection:
        rows = (await connection.execute(QUERIES["holds"], {"tenant": tenant_id})).all()
    return Holds(items=[Hold.model_validate(dict(row._mapping)) for row in rows])


@router.put("/{tenant_id}/holds/{study}", responses=_CHANGE)
async def hold_study(_: Admin, request: Request, tenant_id: UUID, study: Study) -> Holds:
    """Keep a study whatever its age: nobody can erase it until it is released. What comes under its Study Instance UID is held too."""
    return await _hold(request, tenant_id, study, held=True)


@router.delete("/{tenant_id}/holds/{study}", responses=_CHANGE)
async def release_study(_: Admin, request: Request, tenant_id: UUID, study: Study) -> Holds:
    """End the hold of a study."""
    return await _hold(request, tenant_id, study, held=False)


async def _hold(request: Request, tenant_id: UUID, study: str, *, held: bool) -> Holds:
    values = {"tenant": tenant_id, "study": study, "held": held}
    async with tenant_autocommit(engine_of(request), tenant_id) as connection:
        rows = (await connection.execute(QUERIES["hold"], values)).all()
    if not rows:
        what = "The tenant has no such study. A study can be held once its first image has come."
        raise CodedError(Code.NOT_FOUND, what)
    return Holds(items=[Hold.model_validate(dict(row._mapping)) for row in rows])
