"""The own account: sign up, who am I, password, invitations, delete."""

from uuid import UUID

from fastapi import APIRouter

from auth_service.accounts import service
from auth_service.accounts.schemas import Account, Invitation, Me, PasswordChange, PasswordProof, SignUp
from auth_service.clients import queries as clients
from auth_service.dependencies import Address, CurrentUser, Tx, live_user
from thorax.errors import Code
from thorax.http.authentication import Caller
from thorax.http.problems import responses
from thorax.identity import unauthenticated

router = APIRouter(prefix="/auth", tags=["account"])
_SIGN_UP = (Code.SIGN_UP_CLOSED, Code.NAME_TAKEN, Code.WEAK_PASSWORD, Code.TOO_MANY_ATTEMPTS)
_PROOF = (Code.UNAUTHENTICATED, Code.BAD_CREDENTIALS, Code.CSRF, Code.TOO_MANY_ATTEMPTS)


@router.post("/register", status_code=201, responses=responses(*_SIGN_UP))
async def register(body: SignUp, tx: Tx, address: Address) -> Account:
    """Sign up: create an account in a new tenant, or in the tenant of an invitation."""
    password = body.password.get_secret_value()
    return Account.model_validate(await service.register(tx, body.name, password, body.invitation, address))


@router.get("/me", responses=responses(Code.UNAUTHENTICATED))
async def get_account(caller: Caller, tx: Tx) -> Me:
    """Show whose token this is, a user's or a machine client's, and its scopes."""
    if caller.kind == "user":
        name = (await live_user(caller, tx)).name
    else:
        found = await clients.client_and_owner(tx.db, UUID(caller.subject))
        if found is None or found[1].disabled:
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
async def close_account(body: PasswordProof, user: CurrentUser, tx: Tx, address: Address) -> None:
    """Delete the account with its sessions and machine clients. The last administrator cannot."""
    await service.delete_account(tx, user, body.password.get_secret_value(), address)


@router.post("/password", status_code=204, responses=responses(*_PROOF, Code.WEAK_PASSWORD))
async def change_password(
    body: PasswordChange, user: CurrentUser, caller: Caller, tx: Tx, address: Address
) -> None:
    """Change the password. This ends all other sessions."""
    keep = UUID(caller.session) if caller.session else None
    current, new = body.current.get_secret_value(), body.new.get_secret_value()
    await service.change_password(tx, user, current, new, address, keep)


@router.post("/invitations", status_code=201, responses=responses(Code.UNAUTHENTICATED, Code.SIGN_UP_CLOSED))
async def create_invitation(user: CurrentUser, tx: Tx) -> Invitation:
    """Invite one person into your tenant, whose members see each other's studies. Valid for a week."""
    token, expires_at = await service.invite(tx, user)
    return Invitation(invitation=token, expires_at=expires_at)
