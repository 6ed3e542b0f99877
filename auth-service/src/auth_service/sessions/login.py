"""Checks passwords, limits guesses, and never reveals which accounts exist."""

import asyncio

import structlog

from auth_service.accounts import queries as accounts
from auth_service.context import Transaction
from auth_service.models import User
from auth_service.passwords import normal_name
from auth_service.sessions import queries
from auth_service.tokens import digest
from thorax.errors import Code, CodedError

_log = structlog.get_logger(__name__)


async def check_password(tx: Transaction, name: str, password: str, address: str) -> User:
    """The user with this name and password, locked: a session that follows comes before or after a change of password.

    Raises CodedError: BAD_CREDENTIALS alike for a wrong password, an unknown name and a disabled account, and
    TOO_MANY_ATTEMPTS after five failures of this account from this address in 15 minutes.
    """
    await tx.commit_and_release()  # waiting for the lock must not hold a connection
    try:
        normal = normal_name(name)
    except CodedError:
        normal = ""  # no account has it; checked all the same, so that it takes as long
    account = digest(normal or name)
    async with tx.app.login_locks.setdefault(account + address.encode(), asyncio.Lock()):
        await count_attempt(tx, account, address, limit=tx.app.settings.login_failures)
        user = await accounts.user_by_name(tx.db, normal)
        stored = user.password_hash if user else None
        await tx.commit_and_release()
        matches = await tx.app.passwords.matches(password, stored)
        if user is None or not matches or user.disabled:
            _log.info("login_failed", user=str(user.id) if user else None)
            await queries.note_failed_login(tx.db, user.id if user else None)
            await tx.commit_and_release()
            raise CodedError(Code.BAD_CREDENTIALS)
        fresh = await accounts.user(tx.db, user.id, lock=True)
        if fresh is None or fresh.password_hash != stored or fresh.disabled:
            raise CodedError(Code.BAD_CREDENTIALS)  # changed while the password was hashed
        if tx.app.passwords.outdated(fresh.password_hash):
            fresh.password_hash = await tx.app.passwords.hash(password)
        await queries.reset_failures(tx.db, account, address)
        return fresh


async def count_attempt(tx: Transaction, account: bytes, address: str, *, limit: int) -> None:
    """Count an attempt at `account` from `address`. Raises CodedError(TOO_MANY_ATTEMPTS)."""
    address_limit = max(limit, tx.app.settings.address_failures)
    wait = await queries.reserve_attempt(tx.db, account, address, limit=limit, address_limit=address_limit)
    await tx.commit_and_release()
    if wait is not None:
        _log.warning("too_many_attempts", retry_after=wait)
        raise CodedError(Code.TOO_MANY_ATTEMPTS, retry_after=wait)
