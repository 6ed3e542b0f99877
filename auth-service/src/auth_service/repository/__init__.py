"""All SQL of auth-service. Who has a Repository has one transaction; the session dependency commits it."""

from datetime import timedelta

from sqlalchemy import delete, func, or_, text
from sqlalchemy.ext.asyncio import AsyncSession

from auth_service.models import Invitation, LoginFailure, Session, SigningKey
from auth_service.repository.attempts import WINDOW, AttemptRows
from auth_service.repository.clients import ClientRows
from auth_service.repository.keys import KeyRows
from auth_service.repository.sessions import SessionRows
from auth_service.repository.users import UserRows


class Repository:
    """The tables, by subject, in one transaction."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session
        self.attempts = AttemptRows(session)
        self.clients = ClientRows(session)
        self.keys = KeyRows(session)
        self.sessions = SessionRows(session)
        self.users = UserRows(session)

    async def settle(self) -> None:
        """Commit what was done so far and give the connection back.

        For what must stand although the request fails (a counted attempt, a revoked family), and before slow
        hashing, which must not hold a connection.
        """
        await self._session.commit()

    async def forget_old(self, idle: timedelta) -> None:
        """Delete sessions (`idle`: how long one lives unused), invitations, failures and keys that serve nobody any more."""
        now = func.now()
        for table, old in (
            (Session, or_(Session.expires_at < now, Session.last_used_at < now - idle)),
            (Invitation, Invitation.expires_at < now),
            (LoginFailure, LoginFailure.failed_at < now - WINDOW),
            (SigningKey, SigningKey.retires_at < now),
        ):
            await self._session.execute(delete(table).where(old))

    async def migrated(self) -> bool:
        """Whether the database answers and has our tables."""
        found = await self._session.scalar(text("select to_regclass('auth.signing_keys') is not null"))
        return bool(found)
