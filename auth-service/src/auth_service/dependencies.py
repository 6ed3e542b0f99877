"""What endpoints ask for: the transaction, the caller's address, the live account behind a token."""

from collections.abc import AsyncIterator
from typing import Annotated
from uuid import UUID

from fastapi import Depends, Header, Request

from auth_service.context import AppContext, Transaction
from auth_service.models import User
from auth_service.sessions import queries as sessions
from thorax.errors import Code, CodedError
from thorax.http.address import client_address, rate_limit_key
from thorax.http.authentication import Caller
from thorax.identity import Scope, unauthenticated


async def _transaction(request: Request) -> AsyncIterator[Transaction]:
    context: AppContext = request.app.state.context
    async with context.transaction() as tx:
        yield tx


# "function": committed before the response is sent. FastAPI's default is afterwards.
Tx = Annotated[Transaction, Depends(_transaction, scope="function")]


async def _address(request: Request, tx: Tx) -> str:
    return rate_limit_key(client_address(request, tx.app.settings.trusted_proxies))


async def live_user(caller: Caller, tx: Tx) -> User:
    """The user behind a token as of now: a token outlives its session or account by up to ten minutes elsewhere,
    but not here. Raises CodedError: UNAUTHENTICATED, or FORBIDDEN for a machine client."""
    if caller.kind != "user" or caller.session is None:
        raise CodedError(Code.FORBIDDEN, "Machine clients cannot manage accounts.")
    user = await sessions.live_user(tx.db, UUID(caller.session), UUID(caller.subject))
    if user is None:
        raise unauthenticated("The session has ended. Log in again.")
    await tx.act_as(user.id)
    return user


async def _administrator(caller: Caller, tx: Tx) -> User:
    caller.require(Scope.ADMIN)
    user = await live_user(caller, tx)
    if Scope.ADMIN not in user.scopes:
        raise CodedError(Code.FORBIDDEN, "You are not an administrator any more.", scope=str(Scope.ADMIN))
    return user


Address = Annotated[str, Depends(_address)]
CurrentUser = Annotated[User, Depends(live_user)]
Administrator = Annotated[User, Depends(_administrator)]
UserAgent = Annotated[str, Header(alias="User-Agent", include_in_schema=False)]
