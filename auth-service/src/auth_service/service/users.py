"""What an administrator may do to others: list, disable, enable, promote, demote."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

import structlog
from sqlalchemy import Row

from auth_service.models import User
from auth_service.repository import Repository
from thorax.errors import Code, CodedError
from thorax.http.cursors import cursor_of, newest_first
from thorax.identity import Scope

_log = structlog.get_logger(__name__)


async def keep_an_admin(repository: Repository, leaving: UUID) -> None:
    """Raise CodedError(CONFLICT) if nobody could administer the platform without this user.

    Holds all admins' rows, so that two who demote each other at once do not both succeed.
    """
    if await repository.users.lock_admins() == {leaving}:
        raise CodedError(Code.CONFLICT, "This is the last administrator; promote another one first.")


@dataclass(frozen=True)
class Users:
    """An administrator's view of all users, in one transaction."""

    repository: Repository

    async def page(self, cursor: str | None, limit: int) -> tuple[list[User], str | None]:
        """Users, newest first, and the cursor of the next page, if there is one."""
        rows = await self.repository.users.page(newest_first(cursor) if cursor else None, limit + 1)
        last = rows[limit - 1] if len(rows) > limit else None
        return rows[:limit], cursor_of(last.created_at, last.id) if last else None

    async def tenants(self, ids: list[UUID]) -> Sequence[Row[tuple[UUID, str, int]]]:
        """Id, name (that of the one who has been there longest) and members of these tenants."""
        return await self.repository.users.tenants(ids)

    async def disable(self, user_id: UUID) -> User:
        """Keep a user and his machines out; ends all sessions and invitations. Access tokens last ten minutes at most."""
        await keep_an_admin(self.repository, user_id)
        user = await self._locked(user_id)
        user.disabled_at = user.disabled_at or datetime.now(UTC)
        await self.repository.sessions.delete_all(user.id)
        await self.repository.users.withdraw_invitations(user.id)
        return self._done(user, "disabled")

    async def enable(self, user_id: UUID) -> User:
        """Let a user in again."""
        user = await self._locked(user_id)
        user.disabled_at = None
        return self._done(user, "enabled")

    async def promote(self, user_id: UUID) -> User:
        """Make a user an administrator; sessions opened before keep their narrower scopes."""
        user = await self._locked(user_id)
        user.scopes = sorted(Scope)
        return self._done(user, "promoted")

    async def demote(self, user_id: UUID) -> User:
        """Make an administrator an ordinary user."""
        await keep_an_admin(self.repository, user_id)
        user = await self._locked(user_id)
        user.scopes = sorted(set(user.scopes) - {Scope.ADMIN, Scope.MODELS_WRITE})
        await self.repository.users.withdraw_invitations(user.id)
        return self._done(user, "demoted")

    async def _locked(self, user_id: UUID) -> User:
        user = await self.repository.users.by_id(user_id, lock=True)
        if user is None:
            raise CodedError(Code.NOT_FOUND, "There is no such user.")
        return user

    @staticmethod
    def _done(user: User, what: str) -> User:
        _log.info("user_changed", user=str(user.id), what=what)
        return user
