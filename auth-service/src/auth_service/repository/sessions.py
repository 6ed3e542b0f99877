"""Sessions, each a family of refresh tokens. A revoked one is deleted: what is not there opens nothing."""

from uuid import UUID

from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncSession

from auth_service.models import RefreshToken, Session


class SessionRows:
    """Tables `sessions` and `refresh_tokens`."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def add(self, row: Session) -> None:
        """Keep a new session."""
        self._session.add(row)
        await self._session.flush()

    async def by_token(self, digest: bytes) -> tuple[Session, RefreshToken] | None:
        """The session of a refresh token, locked, and the token; None when there is no such token."""
        owner = select(RefreshToken.session_id).where(RefreshToken.digest == digest)
        row = await self._session.scalar(
            select(Session).where(Session.id == owner.scalar_subquery()).with_for_update()
        )
        # Read only now that the session is locked, so that two who come at once see each other.
        token = await self._session.get(RefreshToken, digest, populate_existing=True)
        return (row, token) if row and token else None

    async def add_token(self, session_id: UUID, digest: bytes) -> None:
        """The family's new newest token."""
        self._session.add(RefreshToken(digest=digest, session_id=session_id))
        await self._session.flush()

    async def exists(self, session_id: UUID, user_id: UUID) -> bool:
        """Whether the session still lives."""
        row = await self._session.get(Session, session_id)
        return row is not None and row.user_id == user_id

    async def of_user(self, user_id: UUID) -> list[Session]:
        """The user's sessions, last used first."""
        statement = select(Session).where(Session.user_id == user_id).order_by(Session.last_used_at.desc())
        return list(await self._session.scalars(statement))

    async def delete(self, session_id: UUID, user_id: UUID) -> bool:
        """End one session of a user; False when he has no such session."""
        statement = delete(Session).where(Session.id == session_id, Session.user_id == user_id)
        return (await self._session.execute(statement.returning(Session.id))).first() is not None

    async def delete_all(self, user_id: UUID, *, keep: UUID | None = None) -> None:
        """End all sessions of a user, or all but one."""
        statement = delete(Session).where(Session.user_id == user_id)
        await self._session.execute(statement if keep is None else statement.where(Session.id != keep))
