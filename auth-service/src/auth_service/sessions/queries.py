"""SQL on sessions, refresh tokens and failed logins. An ended session is deleted, so nothing of it is accepted."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

from sqlalchemy import delete, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from auth_service.models import LoginFailure, RefreshToken, Session, User

WINDOW = timedelta(minutes=15)


async def session_of_token(db: AsyncSession, digest: bytes) -> tuple[Session, RefreshToken] | None:
    """The session of a refresh token, locked, and the token; None when the token is unknown."""
    owner = select(RefreshToken.session_id).where(RefreshToken.digest == digest)
    row = await db.scalar(select(Session).where(Session.id == owner.scalar_subquery()).with_for_update())
    # Read after the session is locked, so that two simultaneous refreshes see each other.
    token = await db.get(RefreshToken, digest, populate_existing=True)
    return (row, token) if row and token else None


async def live_user(db: AsyncSession, session_id: UUID, user_id: UUID) -> User | None:
    """The user, unless the account is disabled or deleted or this session of it has ended."""
    sessions = select(Session.user_id).where(Session.id == session_id)
    current = User.id == sessions.scalar_subquery(), User.id == user_id, User.disabled_at.is_(None)
    return (await db.scalars(select(User).where(*current))).first()


async def sessions_of(db: AsyncSession, user_id: UUID) -> list[Session]:
    """The user's sessions, last used first."""
    statement = select(Session).where(Session.user_id == user_id).order_by(Session.last_used_at.desc())
    return list(await db.scalars(statement))


async def note_failed_login(db: AsyncSession, user_id: UUID | None) -> None:
    """Write into the audit that somebody failed to log in to this account; nothing without one, in the same time."""
    await db.execute(text("select note_failed_login(:id)"), {"id": user_id})


async def delete_session(db: AsyncSession, session_id: UUID, user_id: UUID) -> bool:
    """End one session of a user; False when the user has no such session."""
    statement = delete(Session).where(Session.id == session_id, Session.user_id == user_id)
    return (await db.execute(statement.returning(Session.id))).first() is not None


async def delete_all(db: AsyncSession, user_id: UUID, *, keep: UUID | None = None) -> None:
    """End all sessions of a user but `keep`."""
    statement = delete(Session).where(Session.user_id == user_id)
    await db.execute(statement if keep is None else statement.where(Session.id != keep))


async def reserve_attempt(
    db: AsyncSession, account: bytes, address: str, *, limit: int, address_limit: int
) -> int | None:
    """Count an attempt as failed until `reset_failures`; None, or the seconds to wait when there were too many.

    `limit` is for one account from one address, `address_limit` for all accounts from that address. Counted before
    the password is checked, so that a hundred simultaneous guesses are still five.
    """
    lock = text("select pg_advisory_xact_lock(hashtextextended(:address, 0))")
    await db.execute(lock, {"address": address})
    since = datetime.now(UTC) - WINDOW
    recent = (
        select(LoginFailure.account, LoginFailure.failed_at)
        .where(LoginFailure.address == address, LoginFailure.failed_at > since)
        .order_by(LoginFailure.failed_at.desc())
        .limit(address_limit + limit)
    )
    failures = (await db.execute(recent)).all()
    of_address = [failure.failed_at for failure in failures]
    of_account = [failure.failed_at for failure in failures if failure.account == account]
    limits = ((of_account, limit), (of_address, address_limit))
    if blocking := [times[most - 1] for times, most in limits if len(times) >= most]:
        return max(1, int((max(blocking) - since).total_seconds()) + 1)
    db.add(LoginFailure(account=account, address=address))
    await db.flush()
    return None


async def reset_failures(db: AsyncSession, account: bytes, address: str) -> None:
    """Forget the account's failures from this address, after a login from there."""
    where = (LoginFailure.account == account, LoginFailure.address == address)
    await db.execute(delete(LoginFailure).where(*where))
