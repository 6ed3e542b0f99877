"""Machine clients: a PACS or a script that logs in by itself (RFC 6749, client credentials)."""

import hmac
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import structlog

from auth_service.models import Client, User
from auth_service.parts import Parts
from auth_service.repository import Repository
from auth_service.tokens import digest, new_secret
from thorax.errors import Code, CodedError
from thorax.identity import unauthenticated

SECRET_PREFIX = "thorax_"  # noqa: S105  lets secret scanners recognise one
OVERLAP = timedelta(hours=24)
_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Clients:
    """A user's machine clients in one transaction."""

    parts: Parts
    repository: Repository

    async def create(self, owner: User, name: str, scopes: Iterable[str]) -> tuple[Client, str]:
        """A new client and its secret, which is shown only now. CodedError(FORBIDDEN) beyond the owner's scopes."""
        wanted = set(scopes)
        if wider := wanted - set(owner.scopes):
            raise CodedError(Code.FORBIDDEN, f"You don't have {', '.join(sorted(wider))} yourself.")
        secret = new_secret(SECRET_PREFIX)
        row = Client(id=uuid4(), owner_id=owner.id, name=name, scopes=sorted(wanted), secret=digest(secret))
        await self.repository.clients.add(row)
        _log.info("client_created", client=str(row.id), user=str(owner.id))
        return row, secret

    async def rotate(self, owner: User, client_id: UUID, *, at_once: bool) -> tuple[Client, str]:
        """A new secret; the old one is good for another 24 hours, or ends `at_once`."""
        row = await self._owned(owner, client_id)
        secret = new_secret(SECRET_PREFIX)
        row.old_secret = None if at_once else row.secret
        row.old_secret_until = None if at_once else datetime.now(UTC) + OVERLAP
        row.secret = digest(secret)
        _log.info("client_rotated", client=str(row.id), at_once=at_once)
        return row, secret

    async def revoke(self, owner: User, client_id: UUID) -> None:
        """Delete a client. Its access tokens last ten minutes at most."""
        await self.repository.clients.delete(await self._owned(owner, client_id))
        _log.info("client_revoked", client=str(client_id))

    async def token(
        self, client_id: str, secret: str, wanted: frozenset[str] | None
    ) -> tuple[str, tuple[str, ...]]:
        """An access token and its scopes. Raises CodedError: UNAUTHENTICATED, FORBIDDEN beyond the client's scopes."""
        row, owner = await self._authenticate(client_id, secret)
        allowed = set(row.scopes) & set(owner.scopes)
        if wanted is not None and wanted - allowed:
            raise CodedError(Code.FORBIDDEN, "The client does not have every scope asked for.")
        scopes = tuple(sorted(allowed if wanted is None else wanted))
        row.last_used_at = datetime.now(UTC)
        return self.parts.mint.access_token(row.id, owner.tenant_id, scopes, "client"), scopes

    async def _authenticate(self, client_id: str, secret: str) -> tuple[Client, User]:
        try:
            found = await self.repository.clients.with_owner(UUID(client_id))
        except ValueError:
            found = None
        if found is None or not _opens(found[0], digest(secret)) or found[1].disabled_at is not None:
            raise unauthenticated("The client's id or secret is wrong.")
        return found

    async def _owned(self, owner: User, client_id: UUID) -> Client:
        row = await self.repository.clients.owned(client_id, owner.id)
        if row is None:
            raise CodedError(Code.NOT_FOUND, "There is no such client.")
        return row


def _opens(row: Client, given: bytes) -> bool:
    if hmac.compare_digest(row.secret, given):
        return True
    until = row.old_secret_until
    overlaps = row.old_secret is not None and until is not None and until > datetime.now(UTC)
    return overlaps and hmac.compare_digest(row.old_secret or b"", given)
