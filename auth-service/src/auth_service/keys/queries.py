"""SQL on signing keys."""

from datetime import datetime

from sqlalchemy import func, or_, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from auth_service.models import SigningKey

_LOCK = 7_406_114  # any number, the same for all replicas


async def lock(db: AsyncSession) -> None:
    """Let one replica or command at a time change the keys, until the transaction ends."""
    await db.execute(text("select pg_advisory_xact_lock(:key)"), {"key": _LOCK})


async def published(db: AsyncSession) -> list[SigningKey]:
    """All keys that have not retired."""
    current = or_(SigningKey.retires_at.is_(None), SigningKey.retires_at > func.now())
    return list(await db.scalars(select(SigningKey).where(current)))


async def retire_all(db: AsyncSession, at: datetime) -> None:
    """Set when every key retires, unless it retires earlier."""
    later = or_(SigningKey.retires_at.is_(None), SigningKey.retires_at > at)
    await db.execute(update(SigningKey).where(later).values(retires_at=at))
