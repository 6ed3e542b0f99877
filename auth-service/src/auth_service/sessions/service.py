"""Sessions: opened by a login, kept alive by rotating refresh tokens, ended when one of them is used twice."""

import hmac
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import structlog

from auth_service.accounts import queries as accounts
from auth_service.context import Transaction
from auth_service.models import RefreshToken, Session, User
from auth_service.sessions import queries
from auth_service.tokens import digest, new_secret
from thorax.errors import Code, CodedError
from thorax.http.authentication import csrf_digest
from thorax.identity import unauthenticated

# Two tabs of one browser may refresh at once; the later one is told to use the cookies that the other got.
TWO_TABS = timedelta(seconds=10)
_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Grant:
    """The tokens of a login or a refresh."""

    user: User
    session: Session
    scope: str
    expires_in: int
    access_token: str = field(repr=False)
    refresh_token: str = field(repr=False)


async def open_session(
    tx: Transaction, user: User, scopes: Iterable[str], user_agent: str, csrf: str | None = None
) -> Grant:
    """A new session of a user whose password was checked; with `csrf` (the token itself) it is the page's."""
    row = Session(
        id=uuid4(),
        user_id=user.id,
        scopes=sorted(scopes),
        csrf=csrf_digest(csrf) if csrf else None,
        user_agent="".join(filter(str.isprintable, user_agent))[:200],
        expires_at=datetime.now(UTC) + tx.app.settings.session_life,
    )
    await tx.add(row)
    return await _grant(tx, row, user)


async def refresh(tx: Transaction, token: str, *, page: bool = False, csrf: str = "") -> Grant:
    """The next tokens of the session; the given one is used up.

    Raises CodedError(UNAUTHENTICATED) for an unknown, expired or used token. A used one ends the session, since one of
    its two bearers is a thief (RFC 9700, section 4.14.2).
    """
    found = await queries.session_of_token(tx.db, digest(token))
    if found is None or found[0].page != page:
        raise unauthenticated("The refresh token is not valid.")
    row, used = found
    user = await accounts.user(tx.db, row.user_id)
    if used.used_at is not None:
        await _refuse_reuse(tx, row, used)
    if user is None or user.disabled or row.expired(tx.app.settings.session_idle):
        await _end(tx, row, "expired")
        raise unauthenticated("The session has ended. Log in again.")
    _check_csrf(row, csrf)
    used.used_at = row.last_used_at = datetime.now(UTC)
    return await _grant(tx, row, user)


async def close(tx: Transaction, token: str, *, csrf: str = "") -> None:
    """End the session of a refresh token, if there is one. Raises CodedError(CSRF) for the page's without `csrf`."""
    found = await queries.session_of_token(tx.db, digest(token))
    if found is not None:
        _check_csrf(found[0], csrf)
        await queries.delete_session(tx.db, found[0].id, found[0].user_id)


async def _grant(tx: Transaction, row: Session, user: User) -> Grant:
    token = new_secret()
    await tx.add(RefreshToken(digest=digest(token), session_id=row.id))
    scopes = sorted(set(row.scopes) & set(user.scopes))
    signer = tx.app.signer
    access = signer.access_token(user.id, user.tenant_id, scopes, "user", session=row.id, csrf=row.csrf)
    return Grant(user, row, " ".join(scopes), signer.life_s, access, token)


async def _refuse_reuse(tx: Transaction, row: Session, used: RefreshToken) -> None:
    if row.page and used.used_at and datetime.now(UTC) - used.used_at < TWO_TABS:
        # Safe, since no token is returned: a thief gains nothing.
        raise CodedError(Code.CONFLICT, "Another tab has already refreshed this session.", retry_after=1)
    await _end(tx, row, "refresh token used twice")
    raise unauthenticated("The refresh token was already used, so its session was ended.")


async def _end(tx: Transaction, row: Session, why: str) -> None:
    await queries.delete_session(tx.db, row.id, row.user_id)
    await tx.commit_and_release()
    _log.warning("session_ended", session=str(row.id), user=str(row.user_id), why=why)


def _check_csrf(row: Session, csrf: str) -> None:
    if row.csrf is not None and not hmac.compare_digest(csrf_digest(csrf), row.csrf):
        raise CodedError(Code.CSRF)
