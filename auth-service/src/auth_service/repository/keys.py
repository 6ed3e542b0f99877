"""Signing keys."""

from datetime import datetime

from sqlalchemy import func, or_, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from auth_service.models import SigningKey

_LOCK = 7_406_114  # any number, the same for all replicas


class KeyRows:
    """Table `signing_keys`."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def lock(self) -> None:
        """One replica or command at a time from here to the end of the transaction."""
        await self._session.execute(text("select pg_advisory_xact_lock(:key)"), {"key": _LOCK})

    async def published(self) -> list[SigningKey]:
        """All keys that have not retired."""
        living = or_(SigningKey.retires_at.is_(None), SigningKey.retires_at > func.now())
        return list(await self._session.scalars(select(SigningKey).where(living)))

    async def add(self, row: SigningKey) -> None:
        """Publish a new key."""
        self._session.add(row)
        await self._session.flush()

    async def retire_all(self, at: datetime) -> None:
        """Let every key retire at this time, unless it retires earlier."""
        later = or_(SigningKey.retires_at.is_(None), SigningKey.retires_at > at)
        await self._session.execute(update(SigningKey).where(later).values(retires_at=at))
