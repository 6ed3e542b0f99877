"""Signing keys: one at the first start, two while rotating, all encrypted in the database."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import TypeVar
from unittest.mock import patch

import jwt as pyjwt
import pytest
import pytest_asyncio
from pydantic import SecretStr
from sqlalchemy import delete, text

from auth_service.context import AppContext, Transaction, build
from auth_service.keys import keyring as key_times
from auth_service.keys import queries
from auth_service.keys.keyring import LEAD, OVERLAP, RELOAD_S, KeyEncryption, Keyring
from auth_service.keys.service import load_keys, rotate_keys
from auth_service.models import SigningKey
from thorax.identity import AUDIENCE, LEEWAY_S, MAX_TOKEN_LIFE_S, JwksCache, TokenVerifier

from .conftest import Visitor

T = TypeVar("T")


async def within(context: AppContext, work: Callable[[Transaction], Awaitable[T]]) -> T:
    async with context.transaction() as tx:
        return await work(tx)


@pytest_asyncio.fixture(loop_scope="session")
async def replica(context: AppContext) -> AsyncIterator[AppContext]:
    """Another replica over the same database."""
    other = build(context.settings)
    yield other
    await other.engine.dispose()


def kid(token: str) -> str:
    return str(pyjwt.get_unverified_header(token)["kid"])


async def test_ten_replicas_that_start_at_once_make_one_key(context: AppContext) -> None:
    async with context.transaction() as tx:
        await tx.db.execute(delete(SigningKey))
    replicas = [build(context.settings) for _ in range(10)]
    await asyncio.gather(*(within(replica, load_keys) for replica in replicas))
    assert len({replica.keyring.signing()[0] for replica in replicas}) == 1
    async with context.open_session() as session:
        assert await session.scalar(text("select count(*) from auth.signing_keys")) == 1
    for replica in replicas:
        await replica.engine.dispose()


async def test_the_private_key_is_encrypted_at_rest(visitor: Visitor, context: AppContext) -> None:
    async with context.open_session() as session:
        rows = await queries.published(session)
    assert b"PRIVATE" not in rows[0].private_key
    assert "PRIVATE" in context.encryption.private_pem(rows[0]).get_secret_value()
    with pytest.raises(ValueError, match="THORAX_AUTH_SECRET_FILE"):
        KeyEncryption(SecretStr("another secret of thirty-two characters")).private_pem(rows[0])
    assert "PRIVATE" not in repr(context)


def test_the_lead_is_longer_than_any_cache_and_the_overlap_than_any_token() -> None:
    cache = JwksCache(lambda: {"keys": []})
    assert timedelta(seconds=cache._max_age_s + RELOAD_S) < LEAD
    assert timedelta(seconds=MAX_TOKEN_LIFE_S + LEEWAY_S + RELOAD_S) < OVERLAP


async def test_a_rotation_is_published_first_then_signs_then_retires(
    visitor: Visitor, context: AppContext, replica: AppContext
) -> None:
    await visitor.sign_up("ada")
    old = (await visitor.tokens("ada"))["access_token"]
    starts = await within(replica, rotate_keys)
    await within(context, load_keys)
    published = (await visitor.get("/auth/.well-known/jwks.json")).json()["keys"]
    assert len(published) == 2
    during = (await visitor.tokens("ada"))["access_token"]
    assert kid(during) == kid(old), "nobody knows the new key yet"

    with patch.object(key_times, "datetime", Clock(starts + timedelta(seconds=1))):
        new = (await visitor.tokens("ada"))["access_token"]
        assert kid(new) != kid(old)
        verifier = TokenVerifier(context.settings.issuer, AUDIENCE, context.keyring)
        for token in (old, during, new):
            verifier.verify(token)
    with patch.object(key_times, "datetime", Clock(starts + OVERLAP + timedelta(seconds=1))):
        assert [k["kid"] for k in context.keyring.jwks()["keys"]] == [kid(new)]


class Clock:
    """A datetime class with another `now`."""

    def __init__(self, now: datetime) -> None:
        self._now = now

    def now(self, _zone: object) -> datetime:
        return self._now


async def test_two_rotations_in_a_row_leave_no_gap(context: AppContext, visitor: Visitor) -> None:
    first = await within(context, rotate_keys)
    second = await within(context, rotate_keys)
    await within(context, load_keys)
    assert len(context.keyring.jwks()["keys"]) == 3
    for moment in (datetime.now(UTC), first + timedelta(seconds=1), second + OVERLAP + timedelta(days=1)):
        with patch.object(key_times, "datetime", Clock(moment)):
            signer, _ = context.keyring.signing()
            assert context.keyring(signer) is not None


async def test_after_a_compromise_old_tokens_end_at_once(visitor: Visitor, context: AppContext) -> None:
    await visitor.sign_up("ada")
    tokens = await visitor.come_in("ada")
    await within(context, lambda tx: rotate_keys(tx, compromised=True))
    await within(context, load_keys)
    assert (await visitor.get("/auth/me")).status_code == 401
    fresh = await visitor.token("refresh_token", refresh_token=tokens["refresh_token"])
    assert kid(fresh.json()["access_token"]) != kid(tokens["access_token"])


async def test_without_a_key_the_answer_is_503(context: AppContext, visitor: Visitor) -> None:
    await visitor.sign_up("ada")
    context.keyring.load([])
    for answer in (
        await visitor.get("/auth/.well-known/jwks.json"),
        await visitor.token(username="ada", password="correct horse battery"),
    ):
        assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
    assert not Keyring(context.encryption).ready
