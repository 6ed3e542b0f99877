"""One's own account: sign up, who am I, password, sessions, invitations, leave."""

from uuid import UUID

from fastapi import APIRouter

from auth_service.endpoints.dependencies import (
    AccountService,
    Address,
    CurrentUser,
    Repo,
    live_user,
)
from auth_service.schemas import (
    Account,
    Invitation,
    Me,
    PasswordChange,
    PasswordProof,
    SessionInfo,
    SignUp,
)
from thorax.errors import Code, CodedError
from thorax.http.authentication import Caller
from thorax.http.problems import responses
from thorax.identity import unauthenticated

router = APIRouter(prefix="/auth", tags=["account"])
_SIGN_UP = (Code.SIGN_UP_CLOSED, Code.NAME_TAKEN, Code.WEAK_PASSWORD, Code.TOO_MANY_ATTEMPTS)
_PROOF = (Code.UNAUTHENTICATED, Code.BAD_CREDENTIALS, Code.CSRF, Code.TOO_MANY_ATTEMPTS)


@router.post("/register", status_code=201, responses=responses(*_SIGN_UP))
async def register(body: SignUp, accounts: AccountService, address: Address) -> Account:
    """Sign up: a new account in a tenant of its own, or in the one that an invitation opens."""
    user = await accounts.register(body.name, body.password.get_secret_value(), body.invitation, address)
    return Account.of(user)


@router.get("/me", responses=responses(Code.UNAUTHENTICATED))
async def me(caller: Caller, repository: Repo) -> Me:
    """Who the token belongs to, a user or a machine client, and what it may do."""
    if caller.kind == "user":
        name = (await live_user(caller, repository)).name
    else:
        found = await repository.clients.with_owner(UUID(caller.subject))
        if found is None or found[1].disabled_at is not None:
            raise unauthenticated("The client was revoked.")
        name = found[0].name
    return Me(
        id=UUID(caller.subject),
        kind=caller.kind,
        name=name,
        tenant_id=caller.tenant_id,
        scopes=sorted(caller.scopes),
        session=UUID(caller.session) if caller.session else None,
    )


@router.delete("/me", status_code=204, responses=responses(*_PROOF, Code.CONFLICT))
async def leave(body: PasswordProof, user: CurrentUser, accounts: AccountService, address: Address) -> None:
    """Delete the account with its sessions and machine clients. The last administrator can't."""
    await accounts.delete(user, body.password.get_secret_value(), address)


@router.post("/password", status_code=204, responses=responses(*_PROOF, Code.WEAK_PASSWORD))
async def change_password(
    body: PasswordChange, user: CurrentUser, caller: Caller, accounts: AccountService, address: Address
) -> None:
    """Change the password; ends all other sessions."""
    keep = UUID(caller.session) if caller.session else None
    current, new = body.current.get_secret_value(), body.new.get_secret_value()
    await accounts.change_password(user, current, new, address, keep)


@router.post("/invitations", status_code=201, responses=responses(Code.UNAUTHENTICATED, Code.SIGN_UP_CLOSED))
async def invite(user: CurrentUser, accounts: AccountService) -> Invitation:
    """Invite one person into your tenant, where all see each other's studies. Valid for a week."""
    token, expires_at = await accounts.invite(user)
    return Invitation(invitation=token, expires_at=expires_at)


@router.get("/sessions", responses=responses(Code.UNAUTHENTICATED))
async def sessions(user: CurrentUser, caller: Caller, repository: Repo) -> list[SessionInfo]:
    """Your logins, last used first."""
    return [SessionInfo.of(row, caller.session) for row in await repository.sessions.of_user(user.id)]


@router.delete(
    "/sessions/{session_id}", status_code=204, responses=responses(Code.UNAUTHENTICATED, Code.NOT_FOUND)
)
async def end_session(session_id: UUID, user: CurrentUser, repository: Repo) -> None:
    """End one of your logins; its access token lives on for up to ten minutes at other services."""
    if not await repository.sessions.delete(session_id, user.id):
        raise CodedError(Code.NOT_FOUND, "There is no such session.")
