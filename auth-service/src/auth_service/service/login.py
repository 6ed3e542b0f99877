"""Is it really this person? Passwords checked, guesses limited, nothing told about who exists."""

import structlog

from auth_service.models import User
from auth_service.parts import Parts
from auth_service.passwords import normal_name
from auth_service.repository import Repository
from auth_service.tokens import digest
from thorax.errors import Code, CodedError

_log = structlog.get_logger(__name__)


async def check_password(
    parts: Parts, repository: Repository, name: str, password: str, address: str
) -> User:
    """The user whose name and password these are, locked: a session that follows comes before or after a change of password.

    Raises CodedError: BAD_CREDENTIALS alike for a wrong password, an unknown name and a disabled account, and
    TOO_MANY_ATTEMPTS after five failures of this account from this address in 15 minutes.
    """
    await repository.settle()  # waiting for one's turn must not hold a connection
    try:
        normal = normal_name(name)
    except CodedError:
        normal = ""  # nobody's name; checked all the same, so that it takes as long
    account = digest(normal or name)
    async with parts.turns.of(account + address.encode()):
        await limit(parts, repository, account, address)
        user = await repository.users.by_name(normal)
        stored = user.password_hash if user else None
        await repository.settle()
        right = await parts.passwords.matches(password, stored)
        if user is None or not right or user.disabled_at is not None:
            _log.info("login_failed", user=str(user.id) if user else None)
            raise CodedError(Code.BAD_CREDENTIALS)
        fresh = await repository.users.by_id(user.id, lock=True)
        if fresh is None or fresh.password_hash != stored or fresh.disabled_at is not None:
            raise CodedError(Code.BAD_CREDENTIALS)  # changed while we were hashing
        if parts.passwords.outdated(fresh.password_hash):
            fresh.password_hash = await parts.passwords.hash(password)
        await repository.attempts.reset_failures(account, address)
        return fresh


async def limit(
    parts: Parts, repository: Repository, account: bytes, address: str, *, pair: int | None = None
) -> None:
    """Count an attempt at `account`, or raise CodedError(TOO_MANY_ATTEMPTS)."""
    pair = pair or parts.settings.login_failures
    whole = max(pair, parts.settings.address_failures)
    wait = await repository.attempts.reserve(account, address, pair=pair, whole=whole)
    await repository.settle()
    if wait is not None:
        _log.warning("too_many_attempts", retry_after=wait)
        raise CodedError(Code.TOO_MANY_ATTEMPTS, retry_after=wait)
