"""For administrators: all users, in all tenants."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query

from auth_service.endpoints.dependencies import Administrator, UserService
from auth_service.schemas import Account, TenantView, UserPage
from thorax.errors import Code
from thorax.http.problems import responses

router = APIRouter(prefix="/auth/users", tags=["administration"])
tenants = APIRouter(prefix="/auth", tags=["administration"])
_ADMIN = (Code.UNAUTHENTICATED, Code.FORBIDDEN)
_CHANGE = responses(*_ADMIN, Code.CSRF, Code.NOT_FOUND, Code.CONFLICT)


@router.get("", responses=responses(*_ADMIN))
async def users(
    _: Administrator,
    service: UserService,
    cursor: Annotated[str | None, Query(max_length=200)] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> UserPage:
    """Users, newest first; go on with `next` as `cursor`."""
    rows, following = await service.page(cursor, limit)
    return UserPage(items=[Account.of(row) for row in rows], next=following)


@tenants.get("/tenants", responses=responses(*_ADMIN))
async def named_tenants(
    _: Administrator,
    service: UserService,
    ids: Annotated[list[UUID], Query(alias="id", min_length=1, max_length=100)],
) -> list[TenantView]:
    """What to call these tenants; one that nobody is left of is left out."""
    return [TenantView.model_validate(row, from_attributes=True) for row in await service.tenants(ids)]


@router.post("/{user_id}/disable", responses=_CHANGE)
async def disable(user_id: UUID, _: Administrator, service: UserService) -> Account:
    """Keep a user and his machine clients out."""
    return Account.of(await service.disable(user_id))


@router.post("/{user_id}/enable", responses=_CHANGE)
async def enable(user_id: UUID, _: Administrator, service: UserService) -> Account:
    """Let a user in again."""
    return Account.of(await service.enable(user_id))


@router.post("/{user_id}/promote", responses=_CHANGE)
async def promote(user_id: UUID, _: Administrator, service: UserService) -> Account:
    """Make a user an administrator, from his next login on."""
    return Account.of(await service.promote(user_id))


@router.post("/{user_id}/demote", responses=_CHANGE)
async def demote(user_id: UUID, _: Administrator, service: UserService) -> Account:
    """Make an administrator an ordinary user."""
    return Account.of(await service.demote(user_id))
