"""Guessing is limited by account and address, also when guesses are parallel; parallel logins are not."""

import asyncio
from typing import Any
from unittest.mock import patch

import pytest

from auth_service.sessions import queries as attempts
from thorax.errors import Code

from .conftest import PASSWORD, Audit, Visit, Visitor

WRONG = "wrong wrong wrong"


async def test_after_five_failures_even_the_right_password_waits(visitor: Visitor, visit: Visit) -> None:
    await visitor.sign_up("ada")
    for _ in range(5):
        assert (await visitor.token(username="ada", password=WRONG)).status_code == 400
    locked = await visitor.token(username="ada", password=PASSWORD)
    assert (locked.status_code, locked.json()["code"]) == (429, Code.TOO_MANY_ATTEMPTS)
    assert 0 < int(locked.headers["Retry-After"]) <= 15 * 60 + 1
    page = await visitor.post("/auth/session", json={"name": "ADA", "password": PASSWORD})
    assert page.status_code == 429, "one lock for both ways in, and for every spelling"
    await visit("10.0.0.2").tokens("ada")
    await visitor.sign_up("bob")
    await visitor.tokens("bob")


async def test_failed_logins_to_an_account_are_in_the_audit(visitor: Visitor, audit: Audit) -> None:
    ada = (await visitor.sign_up("ada"))["id"]
    await visitor.token(username="ada", password=WRONG)
    await visitor.post("/auth/session", json={"name": "Ada", "password": WRONG})
    await visitor.token(username="nobody", password=WRONG)
    assert audit(ada).count("login_failed") == 2


async def test_unknown_names_lock_alike(visitor: Visitor) -> None:
    answers = [await visitor.token(username="nobody", password=WRONG) for _ in range(6)]
    assert [a.status_code for a in answers] == [400] * 5 + [429]


async def test_a_success_resets_the_counted_failures(visitor: Visitor) -> None:
    await visitor.sign_up("ada")
    for _ in range(3):
        for _ in range(4):
            await visitor.token(username="ada", password=WRONG)
        await visitor.tokens("ada")


async def test_thirty_guesses_at_once_are_five(visitor: Visitor) -> None:
    await visitor.sign_up("ada")
    answers = await asyncio.gather(*(visitor.token(username="ada", password=WRONG) for _ in range(30)))
    assert sorted(a.status_code for a in answers) == [400] * 5 + [429] * 25


async def test_twenty_logins_at_once_all_succeed(visitor: Visitor) -> None:
    await visitor.sign_up("ada")
    answers = await asyncio.gather(*(visitor.token(username="ada", password=PASSWORD) for _ in range(20)))
    assert {a.status_code for a in answers} == {200}


async def test_the_lock_opens_by_itself(visitor: Visitor) -> None:
    await visitor.sign_up("ada")
    for _ in range(5):
        await visitor.token(username="ada", password=WRONG)
    with patch.object(attempts, "WINDOW", attempts.WINDOW * 0):
        await visitor.tokens("ada")


class TestSpraying:
    """One password, many accounts."""

    @pytest.fixture
    def change(self) -> dict[str, Any]:
        return {"address_failures": 8, "sign_ups_per_address": 3}

    async def test_an_address_is_limited_over_all_accounts(self, visitor: Visitor, visit: Visit) -> None:
        statuses = [(await visitor.token(username=f"user{n}", password=WRONG)).status_code for n in range(10)]
        assert statuses == [400] * 8 + [429] * 2
        assert (await visit("10.0.0.2").token(username="user1", password=WRONG)).status_code == 400

    async def test_sign_ups_are_limited_by_address(self, visitor: Visitor, visit: Visit) -> None:
        for number in range(3):
            await visitor.sign_up(f"user{number}")
        answer = await visitor.post("/auth/register", json={"name": "user4", "password": PASSWORD})
        assert (answer.status_code, answer.json()["code"]) == (429, Code.TOO_MANY_ATTEMPTS)
        await visit("10.0.0.2").sign_up("user4")


async def test_the_address_is_the_proxys_word_only_when_the_proxy_is_ours(visit: Visit) -> None:
    proxy, stranger = visit("127.0.0.1"), visit("10.0.0.1")
    for number in range(7):
        spoofed = {"X-Forwarded-For": f"10.9.9.{number}"}
        answer = await stranger.token_from(spoofed)
        assert answer.status_code == (400 if number < 5 else 429)
    for number in range(7):
        answer = await proxy.token_from({"X-Forwarded-For": f"10.9.9.{number}"})
        assert answer.status_code == 400
    for number in range(7):
        answer = await proxy.token_from({"X-Forwarded-For": f"10.8.8.{number}, 10.7.7.7"})
        assert answer.status_code == (400 if number < 5 else 429)
