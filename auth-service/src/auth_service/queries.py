"""SQL that concerns the schema as a whole. The tables' own queries are in their rooms."""

from datetime import timedelta

from sqlalchemy import delete, func, or_
from sqlalchemy.ext.asyncio import AsyncSession

from auth_service.models import Invitation, LoginFailure, Session, SigningKey
from auth_service.sessions.queries import WINDOW


async def delete_expired(db: AsyncSession, idle: timedelta) -> None:
    """Delete expired sessions (`idle`: how long one lives unused), invitations, login failures and keys."""
    now = func.now()
    for table, expired in (
        (Session, or_(Session.expires_at < now, Session.last_used_at < now - idle)),
        (Invitation, Invitation.expires_at < now),
        (LoginFailure, LoginFailure.failed_at < now - WINDOW),
        (SigningKey, SigningKey.retires_at < now),
    ):
        await db.execute(delete(table).where(expired))
