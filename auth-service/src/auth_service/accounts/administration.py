"""Endpoints for administrators: the users of all tenants."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query

from auth_service.accounts import queries, service
from auth_service.accounts.schemas import Account, TenantView, UserPage
from auth_service.dependencies import Administrator, Tx
from thorax.errors import Code
from thorax.http.problems import responses

router = APIRouter(prefix="/auth", tags=["administration"])
_ADMIN = (Code.UNAUTHENTICATED, Code.FORBIDDEN)
_CHANGE = responses(*_ADMIN, Code.CSRF, Code.NOT_FOUND, Code.CONFLICT)


@router.get("/users", responses=responses(*_ADMIN))
async def list_users(
    _: Administrator,
    tx: Tx,
    cursor: Annotated[str | None, Query(max_length=200)] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> UserPage:
    """List users, newest first. Send `next` as `cursor` to get the next page."""
    rows, following = await service.users_page(tx, cursor, limit)
    return UserPage(items=[Account.model_validate(row) for row in rows], next=following)


@router.get("/tenants", responses=responses(*_ADMIN))
async def list_tenants(
    _: Administrator,
    tx: Tx,
    ids: Annotated[list[UUID], Query(alias="id", min_length=1, max_length=100)],
) -> list[TenantView]:
    """Name these tenants. Tenants without members are omitted."""
    return [TenantView.model_validate(row) for row in await queries.tenants(tx.db, ids)]


@router.post("/users/{user_id}/disable", responses=_CHANGE)
async def disable_user(user_id: UUID, _: Administrator, tx: Tx) -> Account:
    """Disable a user and the user's machine clients."""
    return Account.model_validate(await service.disable(tx, user_id))


@router.post("/users/{user_id}/enable", responses=_CHANGE)
async def enable_user(user_id: UUID, _: Administrator, tx: Tx) -> Account:
    """Enable a disabled user again."""
    return Account.model_validate(await service.enable(tx, user_id))


@router.post("/users/{user_id}/promote", responses=_CHANGE)
async def promote_user(user_id: UUID, _: Administrator, tx: Tx) -> Account:
    """Make a user an administrator, from the user's next login on."""
    return Account.model_validate(await service.promote(tx, user_id))


@router.post("/users/{user_id}/demote", responses=_CHANGE)
async def demote_user(user_id: UUID, _: Administrator, tx: Tx) -> Account:
    """Make an administrator an ordinary user."""
    return Account.model_validate(await service.demote(tx, user_id))
