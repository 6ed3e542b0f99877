"""Failed attempts: counted before the password is checked, so that a hundred guesses at once are still five."""

from datetime import UTC, datetime, timedelta

from sqlalchemy import delete, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from auth_service.models import LoginFailure

WINDOW = timedelta(minutes=15)


class AttemptRows:
    """Table `login_failures`."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def reserve(self, account: bytes, address: str, *, pair: int, whole: int) -> int | None:
        """Count an attempt as failed until `reset_failures`; None, or the seconds to wait when there were too many.

        `pair` limits one account from one address, `whole` all accounts from that address.
        """
        await self._session.execute(
            text("select pg_advisory_xact_lock(hashtextextended(:address, 0))"), {"address": address}
        )
        since = datetime.now(UTC) - WINDOW
        rows = await self._session.execute(
            select(LoginFailure.account, LoginFailure.failed_at)
            .where(LoginFailure.address == address, LoginFailure.failed_at > since)
            .order_by(LoginFailure.failed_at.desc())
            .limit(whole + pair)
        )
        every = [(row.account, row.failed_at) for row in rows]
        mine = [at for of, at in every if of == account]
        frees = [
            ats[limit - 1]
            for ats, limit in ((mine, pair), ([at for _, at in every], whole))
            if len(ats) >= limit
        ]
        if frees:
            return max(1, int((max(frees) - since).total_seconds()) + 1)
        self._session.add(LoginFailure(account=account, address=address))
        await self._session.flush()
        return None

    async def reset_failures(self, account: bytes, address: str) -> None:
        """The account's owner came in from this address: its failures are forgotten."""
        await self._session.execute(
            delete(LoginFailure).where(LoginFailure.account == account, LoginFailure.address == address)
        )
