"""What endpoints ask for: the transaction, the services, the live account behind a token."""

from collections.abc import AsyncIterator
from typing import Annotated
from uuid import UUID

from fastapi import Depends, Header, Request

from auth_service.models import User
from auth_service.parts import Parts
from auth_service.repository import Repository
from auth_service.service.accounts import Accounts
from auth_service.service.clients import Clients
from auth_service.service.sessions import Sessions
from auth_service.service.users import Users
from thorax.errors import Code, CodedError
from thorax.http.address import client_address, rate_limit_key
from thorax.http.authentication import Caller
from thorax.identity import Principal, Scope, unauthenticated


async def _parts(request: Request) -> Parts:
    parts: Parts = request.app.state.parts
    return parts


PartsOfApp = Annotated[Parts, Depends(_parts)]


async def _repository(parts: PartsOfApp) -> AsyncIterator[Repository]:
    async with parts.database() as session:
        yield Repository(session)
        await session.commit()


# "function": committed before the answer is sent. By default FastAPI would do it after.
Repo = Annotated[Repository, Depends(_repository, scope="function")]


async def _address(request: Request, parts: PartsOfApp) -> str:
    return rate_limit_key(client_address(request, parts.settings.trusted_proxies))


async def live_user(caller: Principal, repository: Repository) -> User:
    """The user behind a token, as of now: a token outlives its session or account by up to ten minutes, but
    not here. Raises CodedError: UNAUTHENTICATED, or FORBIDDEN for a machine client."""
    if caller.kind != "user" or caller.session is None:
        raise CodedError(Code.FORBIDDEN, "Machine clients have no account to manage.")
    user_id = UUID(caller.subject)
    user = await repository.users.by_id(user_id)
    alive = await repository.sessions.exists(UUID(caller.session), user_id)
    if user is None or user.disabled_at is not None or not alive:
        raise unauthenticated("The session has ended; log in again.")
    return user


async def _user(caller: Caller, repository: Repo) -> User:
    return await live_user(caller, repository)


async def _administrator(caller: Caller, repository: Repo) -> User:
    caller.require(Scope.ADMIN)
    user = await live_user(caller, repository)
    if Scope.ADMIN not in user.scopes:
        raise CodedError(Code.FORBIDDEN, "You are no administrator any more.", scope=str(Scope.ADMIN))
    return user


def _accounts(parts: PartsOfApp, repository: Repo) -> Accounts:
    return Accounts(parts, repository)


def _sessions(parts: PartsOfApp, repository: Repo) -> Sessions:
    return Sessions(parts, repository)


def _clients(parts: PartsOfApp, repository: Repo) -> Clients:
    return Clients(parts, repository)


def _users(repository: Repo) -> Users:
    return Users(repository)


Address = Annotated[str, Depends(_address)]
CurrentUser = Annotated[User, Depends(_user)]
Administrator = Annotated[User, Depends(_administrator)]
AccountService = Annotated[Accounts, Depends(_accounts)]
SessionService = Annotated[Sessions, Depends(_sessions)]
ClientService = Annotated[Clients, Depends(_clients)]
UserService = Annotated[Users, Depends(_users)]
UserAgent = Annotated[str, Header(alias="User-Agent", include_in_schema=False)]
