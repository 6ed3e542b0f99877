"""Sessions: opened by a login, kept alive by rotating refresh tokens, ended by whoever finds one used twice."""

import hmac
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import structlog

from auth_service.models import RefreshToken, Session, User
from auth_service.parts import Parts
from auth_service.repository import Repository
from auth_service.tokens import digest, new_secret
from thorax.errors import Code, CodedError
from thorax.http.authentication import csrf_digest
from thorax.identity import unauthenticated

# Two tabs of one browser may refresh at once; the later one is told to use the cookies that the other got.
TWO_TABS = timedelta(seconds=10)
_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Grant:
    """What a login or a refresh hands out."""

    user: User
    session: Session
    scopes: tuple[str, ...]
    expires_in: int
    access_token: str = field(repr=False)
    refresh_token: str = field(repr=False)


@dataclass(frozen=True)
class Sessions:
    """Open, refresh and close sessions in one transaction."""

    parts: Parts
    repository: Repository

    async def open(
        self, user: User, scopes: Iterable[str], user_agent: str, csrf: str | None = None
    ) -> Grant:
        """A new session of a user who has proved to be one; with `csrf` (the token itself) it is the page's."""
        row = Session(
            id=uuid4(),
            user_id=user.id,
            scopes=sorted(scopes),
            csrf=csrf_digest(csrf) if csrf else None,
            user_agent="".join(filter(str.isprintable, user_agent))[:200],
            expires_at=datetime.now(UTC) + self.parts.settings.session_life,
        )
        await self.repository.sessions.add(row)
        return await self._grant(row, user)

    async def refresh(self, token: str, *, page: bool = False, csrf: str = "") -> Grant:
        """The next tokens of the session; the one given is used up.

        Raises CodedError(UNAUTHENTICATED) for a token that is unknown, expired or used already; the last ends
        the session, since one of its two bearers is a thief (RFC 9700, section 4.14.2).
        """
        found = await self.repository.sessions.by_token(digest(token))
        if found is None or (found[0].csrf is not None) != page:
            raise unauthenticated("The refresh token is not valid.")
        row, used = found
        user = await self.repository.users.by_id(row.user_id)
        if used.used_at is not None:
            await self._reused(row, used)
        if user is None or user.disabled_at is not None or self._expired(row):
            await self._end(row, "expired")
            raise unauthenticated("The session has ended; log in again.")
        if row.csrf is not None and not hmac.compare_digest(csrf_digest(csrf), row.csrf):
            raise CodedError(Code.CSRF)
        used.used_at = row.last_used_at = datetime.now(UTC)
        return await self._grant(row, user)

    async def close(self, token: str, *, csrf: str | None = None) -> None:
        """End the session that a refresh token belongs to, if there is one. The page has to send its `csrf`."""
        found = await self.repository.sessions.by_token(digest(token))
        if found is None:
            return
        row = found[0]
        if row.csrf is not None and not hmac.compare_digest(csrf_digest(csrf or ""), row.csrf):
            raise CodedError(Code.CSRF)
        await self.repository.sessions.delete(row.id, row.user_id)

    async def _grant(self, row: Session, user: User) -> Grant:
        token = new_secret()
        await self.repository.sessions.add_token(row.id, digest(token))
        scopes = tuple(sorted(set(row.scopes) & set(user.scopes)))
        mint = self.parts.mint
        access = mint.access_token(user.id, user.tenant_id, scopes, "user", session=row.id, csrf=row.csrf)
        return Grant(user, row, scopes, mint.life_s, access, token)

    async def _reused(self, row: Session, used: RefreshToken) -> None:
        if row.csrf is not None and used.used_at and datetime.now(UTC) - used.used_at < TWO_TABS:
            # Safe, as nothing is handed out: a thief gains no token by it.
            raise CodedError(Code.CONFLICT, "Another tab has refreshed this session.", retry_after=1)
        await self._end(row, "refresh token used twice")
        raise unauthenticated("The refresh token was used before; its session has been ended.")

    async def _end(self, row: Session, why: str) -> None:
        await self.repository.sessions.delete(row.id, row.user_id)
        await self.repository.settle()
        _log.warning("session_ended", session=str(row.id), user=str(row.user_id), why=why)

    def _expired(self, row: Session) -> bool:
        now = datetime.now(UTC)
        return row.expires_at < now or row.last_used_at < now - self.parts.settings.session_idle
