"""Accounts: sign up, invite, change the password, delete; and what administrators may do to others."""

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import structlog

from auth_service.accounts import queries
from auth_service.context import Transaction
from auth_service.models import Invitation, Tenant, User
from auth_service.passwords import normal_name, refuse_weak
from auth_service.sessions import login
from auth_service.sessions import queries as sessions
from auth_service.tokens import digest, new_secret
from thorax.errors import Code, CodedError
from thorax.http.cursors import cursor_of, newest_first
from thorax.identity import Scope

USER_SCOPES = frozenset({Scope.STUDIES_WRITE, Scope.STUDIES_READ})
ADMIN_SCOPES = frozenset(Scope)
INVITATION_LIFE = timedelta(days=7)
_SIGN_UPS = digest("sign-up")
_log = structlog.get_logger(__name__)


async def register(tx: Transaction, name: str, password: str, invitation: str | None, address: str) -> User:
    """A new user, alone in a new tenant or in the one that the invitation opens.

    Raises CodedError: SIGN_UP_CLOSED, NAME_TAKEN, WEAK_PASSWORD, VALIDATION, TOO_MANY_ATTEMPTS.
    """
    if invitation is None and tx.app.settings.sign_up == "closed":
        raise CodedError(Code.SIGN_UP_CLOSED)
    normal = normal_name(name)
    refuse_weak(password, normal)
    await login.count_attempt(tx, _SIGN_UPS, address, limit=tx.app.settings.sign_ups_per_address)
    if invitation is not None and not await queries.invitation_is_valid(tx.db, digest(invitation)):
        raise _invalid_invitation()  # before the answer could reveal which names exist
    if await queries.user_by_name(tx.db, normal) is not None:  # before the slow hash
        raise CodedError(Code.NAME_TAKEN)
    await tx.commit_and_release()
    hashed = await tx.app.passwords.hash(password)
    user = await _add(tx, normal, hashed, await _tenant(tx, invitation), USER_SCOPES)
    _log.info("signed_up", user=str(user.id), invited=invitation is not None)
    return user


async def invite(tx: Transaction, user: User) -> tuple[str, datetime]:
    """A token that lets one person sign up into the user's tenant, and when it expires.

    While sign-up is closed only an admin may invite: CodedError(SIGN_UP_CLOSED).
    """
    if tx.app.settings.sign_up == "closed" and Scope.ADMIN not in user.scopes:
        raise CodedError(Code.SIGN_UP_CLOSED, "While sign-up is closed, only administrators may invite.")
    token, expires_at = new_secret(), datetime.now(UTC) + INVITATION_LIFE
    await tx.add(
        Invitation(digest=digest(token), tenant_id=user.tenant_id, host_id=user.id, expires_at=expires_at)
    )
    return token, expires_at


async def change_password(
    tx: Transaction, user: User, current: str, new: str, address: str, session: UUID | None
) -> None:
    """Set a new password and end all sessions but `session`."""
    refuse_weak(new, user.name)
    await login.check_password(tx, user.name, current, address)
    await tx.commit_and_release()
    hashed = await tx.app.passwords.hash(new)
    user = await _locked(tx, user.id)
    user.password_hash = hashed
    await sessions.delete_all(tx.db, user.id, keep=session)
    _log.info("password_changed", user=str(user.id))


async def delete_account(tx: Transaction, user: User, password: str, address: str) -> None:
    """Delete the account, its sessions and its clients. CodedError(CONFLICT) for the last administrator."""
    await login.check_password(tx, user.name, password, address)
    await tx.commit_and_release()  # releases the user's row: admins are locked in one order
    await _keep_an_admin(tx, user.id)
    await queries.delete_user(tx.db, await _locked(tx, user.id))
    _log.info("account_deleted", user=str(user.id), tenant=str(user.tenant_id))


async def create_admin(tx: Transaction, name: str, password: str, *, promote: bool = False) -> bool:
    """Make sure that `name` is an administrator who can log in; True when the account was created.

    An administrator keeps the password, as the one given may be years old. Any other account of that name may belong to a
    stranger, who signed up first: CodedError(CONFLICT) unless the password is the account's, or with `promote`.
    """
    normal = normal_name(name)
    user = await queries.user_by_name(tx.db, normal)
    if user is not None:
        known = promote or set(user.scopes) >= ADMIN_SCOPES
        if not known and not await tx.app.passwords.matches(password, user.password_hash):
            raise CodedError(
                Code.CONFLICT,
                f"The account {normal} exists, is not an administrator and has another password. "
                "Choose another name, or add --promote if you know whose account it is.",
            )
        user.scopes, user.disabled_at = sorted(ADMIN_SCOPES), None
        return False
    refuse_weak(password, normal)
    hashed = await tx.app.passwords.hash(password)
    await _add(tx, normal, hashed, await _tenant(tx, None), ADMIN_SCOPES)
    return True


async def users_page(tx: Transaction, cursor: str | None, limit: int) -> tuple[list[User], str | None]:
    """Users of all tenants, newest first, and the cursor of the next page, if there is one."""
    rows = await queries.newest_users(tx.db, newest_first(cursor) if cursor else None, limit + 1)
    last = rows[limit - 1] if len(rows) > limit else None
    return rows[:limit], cursor_of(last.created_at, last.id) if last else None


async def disable(tx: Transaction, user_id: UUID) -> User:
    """Lock a user and the user's machine clients out; end all sessions and invitations.

    Access tokens stay valid at other services for ten minutes at most. CodedError(CONFLICT) for the last administrator.
    """
    await _keep_an_admin(tx, user_id)
    user = await _locked(tx, user_id)
    user.disabled_at = user.disabled_at or datetime.now(UTC)
    await sessions.delete_all(tx.db, user.id)
    await queries.delete_invitations(tx.db, user.id)
    return _changed(user, "disabled")


async def enable(tx: Transaction, user_id: UUID) -> User:
    """Let a disabled user log in again."""
    user = await _locked(tx, user_id)
    user.disabled_at = None
    return _changed(user, "enabled")


async def promote(tx: Transaction, user_id: UUID) -> User:
    """Make a user an administrator. Open sessions keep their narrower scopes."""
    user = await _locked(tx, user_id)
    user.scopes = sorted(ADMIN_SCOPES)
    return _changed(user, "promoted")


async def demote(tx: Transaction, user_id: UUID) -> User:
    """Make an administrator an ordinary user. CodedError(CONFLICT) for the last administrator."""
    await _keep_an_admin(tx, user_id)
    user = await _locked(tx, user_id)
    user.scopes = sorted(USER_SCOPES & set(user.scopes))
    await queries.delete_invitations(tx.db, user.id)
    return _changed(user, "demoted")


async def _keep_an_admin(tx: Transaction, leaving: UUID) -> None:
    """Raise CodedError(CONFLICT) if nobody could administer the platform without this user.

    Locks all admins' rows, so that two who demote each other at once do not both succeed.
    """
    if await queries.lock_admins(tx.db) == {leaving}:
        raise CodedError(Code.CONFLICT, "This is the last administrator. Promote another user first.")


async def _locked(tx: Transaction, user_id: UUID) -> User:
    user = await queries.user(tx.db, user_id, lock=True)
    if user is None:
        raise CodedError(Code.NOT_FOUND, "User not found.")
    return user


def _changed(user: User, what: str) -> User:
    _log.info("user_changed", user=str(user.id), what=what)
    return user


async def _add(tx: Transaction, name: str, hashed: str, tenant: UUID, scopes: frozenset[Scope]) -> User:
    user = await queries.add_user(tx.db, name, hashed, tenant, scopes)
    if user is None:
        raise CodedError(Code.NAME_TAKEN)
    return user


async def _tenant(tx: Transaction, invitation: str | None) -> UUID:
    if invitation is None:
        return (await tx.add(Tenant(id=uuid4()))).id
    tenant = await queries.take_invitation(tx.db, digest(invitation))
    if tenant is None:
        raise _invalid_invitation()
    return tenant


def _invalid_invitation() -> CodedError:
    return CodedError(Code.VALIDATION, "The invitation is not valid, has expired or was already used.")
