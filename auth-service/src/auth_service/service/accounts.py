"""Accounts as their owners see them: sign up, invite, change the password, leave."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

import structlog

from auth_service.models import User
from auth_service.parts import Parts
from auth_service.passwords import normal_name, refuse_weak
from auth_service.repository import Repository
from auth_service.service import login
from auth_service.service.users import keep_an_admin
from auth_service.tokens import digest, new_secret
from thorax.errors import Code, CodedError
from thorax.identity import Scope

USER_SCOPES = frozenset({Scope.STUDIES_WRITE, Scope.STUDIES_READ})
ADMIN_SCOPES = frozenset(Scope)
INVITATION_LIFE = timedelta(days=7)
_SIGN_UPS = digest("sign-up")
_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Accounts:
    """One account's affairs in one transaction."""

    parts: Parts
    repository: Repository

    async def register(self, name: str, password: str, invitation: str | None, address: str) -> User:
        """A new user, alone in a new tenant or in the one that the invitation opens.

        Raises CodedError: SIGN_UP_CLOSED, NAME_TAKEN, WEAK_PASSWORD, VALIDATION, TOO_MANY_ATTEMPTS.
        """
        if invitation is None and self.parts.settings.sign_up == "closed":
            raise CodedError(Code.SIGN_UP_CLOSED)
        normal = normal_name(name)
        refuse_weak(password, normal)
        pair = self.parts.settings.sign_ups_per_address
        await login.limit(self.parts, self.repository, _SIGN_UPS, address, pair=pair)
        if invitation is not None and not await self.repository.users.invited(digest(invitation)):
            raise _no_invitation()  # before anything is told about names
        if await self.repository.users.by_name(normal) is not None:  # before the slow hash
            raise CodedError(Code.NAME_TAKEN)
        await self.repository.settle()
        hashed = await self.parts.passwords.hash(password)
        user = await self.add(normal, hashed, await self._tenant(invitation), USER_SCOPES)
        _log.info("signed_up", user=str(user.id), invited=invitation is not None)
        return user

    async def add(self, name: str, hashed: str, tenant: UUID, scopes: frozenset[Scope]) -> User:
        """A new user row. Raises CodedError(NAME_TAKEN)."""
        user = await self.repository.users.add(name, hashed, tenant, scopes)
        if user is None:
            raise CodedError(Code.NAME_TAKEN)
        return user

    async def invite(self, user: User) -> tuple[str, datetime]:
        """A token that lets one person sign up into the user's tenant, and when it expires.

        While sign-up is closed only an admin may invite: CodedError(SIGN_UP_CLOSED).
        """
        if self.parts.settings.sign_up == "closed" and Scope.ADMIN not in user.scopes:
            raise CodedError(
                Code.SIGN_UP_CLOSED, "While sign-up is closed, only an administrator may invite."
            )
        token, expires_at = new_secret(), datetime.now(UTC) + INVITATION_LIFE
        await self.repository.users.invite(digest(token), user, expires_at)
        return token, expires_at

    async def change_password(
        self, user: User, current: str, new: str, address: str, session: UUID | None
    ) -> None:
        """Set a new password and end all sessions but the one that asks."""
        refuse_weak(new, user.name)
        await login.check_password(self.parts, self.repository, user.name, current, address)
        await self.repository.settle()
        hashed = await self.parts.passwords.hash(new)
        user = await self._locked(user)
        user.password_hash = hashed
        await self.repository.sessions.delete_all(user.id, keep=session)
        _log.info("password_changed", user=str(user.id))

    async def delete(self, user: User, password: str, address: str) -> None:
        """Erase the account, its sessions and its clients; the last admin can't go."""
        await login.check_password(self.parts, self.repository, user.name, password, address)
        await self.repository.settle()  # admins are locked in one order
        await keep_an_admin(self.repository, user.id)
        await self.repository.users.delete(await self._locked(user))
        _log.info("account_deleted", user=str(user.id), tenant=str(user.tenant_id))

    async def _tenant(self, invitation: str | None) -> UUID:
        if invitation is None:
            return await self.repository.users.add_tenant()
        tenant = await self.repository.users.take_invitation(digest(invitation))
        if tenant is None:
            raise _no_invitation()
        return tenant

    async def _locked(self, user: User) -> User:
        found = await self.repository.users.by_id(user.id, lock=True)
        if found is None:
            raise CodedError(Code.NOT_FOUND)
        return found


def _no_invitation() -> CodedError:
    return CodedError(Code.VALIDATION, "The invitation is not valid, or was used already.")


async def create_admin(
    parts: Parts, repository: Repository, name: str, password: str, *, promote: bool = False
) -> bool:
    """Make sure that `name` is an administrator who can log in; whether the account had to be created.

    An administrator keeps the password, as the one given may be years old. Any other account of that name may be a
    stranger's, who signed up first: CodedError(CONFLICT) unless the password is the account's, or with `promote`.
    """
    normal = normal_name(name)
    user = await repository.users.by_name(normal)
    if user is not None:
        known = promote or set(user.scopes) >= set(ADMIN_SCOPES)
        if not known and not await parts.passwords.matches(password, user.password_hash):
            raise CodedError(
                Code.CONFLICT,
                f"An account {normal} exists that is no administrator's and has another password. "
                "Take another name, or say --promote if you know whose it is.",
            )
        user.scopes, user.disabled_at = sorted(ADMIN_SCOPES), None
        return False
    refuse_weak(password, normal)
    hashed = await parts.passwords.hash(password)
    tenant = await repository.users.add_tenant()
    await Accounts(parts, repository).add(normal, hashed, tenant, ADMIN_SCOPES)
    return True
