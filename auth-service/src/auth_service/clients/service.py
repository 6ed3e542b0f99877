"""Machine clients: created, rotated and revoked by their owners; tokens for them (RFC 6749, client credentials)."""

import hmac
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import structlog

from auth_service.clients import queries
from auth_service.context import Transaction
from auth_service.models import Client, User
from auth_service.tokens import digest, new_secret
from thorax.errors import Code, CodedError
from thorax.identity import unauthenticated

SECRET_PREFIX = "thorax_"  # noqa: S105  lets secret scanners recognise one
OVERLAP = timedelta(hours=24)
_log = structlog.get_logger(__name__)


async def create(tx: Transaction, owner: User, name: str, scopes: Iterable[str]) -> tuple[Client, str]:
    """A new client and its secret, which is shown only now. CodedError(FORBIDDEN) beyond the owner's scopes."""
    wanted = set(scopes)
    if wider := wanted - set(owner.scopes):
        raise CodedError(Code.FORBIDDEN, f"Your account lacks the scope {', '.join(sorted(wider))}.")
    secret = new_secret(SECRET_PREFIX)
    row = Client(id=uuid4(), owner_id=owner.id, name=name, scopes=sorted(wanted), secret=digest(secret))
    await tx.add(row)
    await tx.db.refresh(row)
    _log.info("client_created", client=str(row.id), user=str(owner.id))
    return row, secret


async def rotate(tx: Transaction, owner: User, client_id: UUID, *, at_once: bool) -> tuple[Client, str]:
    """A new secret; the old one stays valid for another 24 hours, or ends `at_once`."""
    row = await _owned(tx, owner, client_id)
    secret = new_secret(SECRET_PREFIX)
    row.old_secret = None if at_once else row.secret
    row.old_secret_until = None if at_once else datetime.now(UTC) + OVERLAP
    row.secret = digest(secret)
    _log.info("client_rotated", client=str(row.id), at_once=at_once)
    return row, secret


async def revoke(tx: Transaction, owner: User, client_id: UUID) -> None:
    """Delete a client. Its access tokens expire within ten minutes."""
    await tx.db.delete(await _owned(tx, owner, client_id))
    _log.info("client_revoked", client=str(client_id))


async def token(
    tx: Transaction, client_id: str, secret: str, wanted: frozenset[str] | None
) -> tuple[str, str]:
    """An access token and its scope. Raises CodedError: UNAUTHENTICATED, FORBIDDEN beyond the client's scopes."""
    row, owner = await _authenticate(tx, client_id, secret)
    allowed = set(row.scopes) & set(owner.scopes)
    if wanted is not None and wanted - allowed:
        raise CodedError(Code.FORBIDDEN, "The client lacks a requested scope.")
    scopes = sorted(allowed if wanted is None else wanted)
    row.last_used_at = datetime.now(UTC)
    return tx.app.signer.access_token(row.id, owner.tenant_id, scopes, "client"), " ".join(scopes)


async def _authenticate(tx: Transaction, client_id: str, secret: str) -> tuple[Client, User]:
    try:
        found = await queries.client_and_owner(tx.db, UUID(client_id))
    except ValueError:
        found = None
    if found is None or not _secret_matches(found[0], digest(secret)) or found[1].disabled:
        raise unauthenticated("The client's id or secret is wrong.")
    return found


async def _owned(tx: Transaction, owner: User, client_id: UUID) -> Client:
    row = await queries.owned_client(tx.db, client_id, owner.id)
    if row is None:
        raise CodedError(Code.NOT_FOUND, "Client not found.")
    return row


def _secret_matches(row: Client, given: bytes) -> bool:
    overlaps = row.old_secret_until is not None and row.old_secret_until > datetime.now(UTC)
    valid = (row.secret, row.old_secret if overlaps else None)
    return any(hmac.compare_digest(secret, given) for secret in valid if secret)
