"""Accounts over HTTP: sign-up, who am I, invitations, password, sessions, leaving."""

import asyncio
from typing import Any

import pytest

from thorax.errors import Code

from .conftest import PASSWORD, Visit, Visitor


async def test_sign_up_then_token_then_me(visitor: Visitor) -> None:
    account = await visitor.sign_up("Ada@Hospital.Example")
    assert account["name"] == "ada@hospital.example"
    assert account["scopes"] == ["studies:read", "studies:write"]
    tokens = await visitor.come_in("ADA@hospital.example")
    assert tokens["token_type"] == "Bearer"
    assert tokens["expires_in"] <= 600
    me = (await visitor.get("/auth/me")).json()
    assert (me["id"], me["tenant_id"], me["kind"]) == (account["id"], account["tenant_id"], "user")


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"name": "ada", "password": "short"}, Code.WEAK_PASSWORD),
        ({"name": "ada.lovelace.1815", "password": "ADA.lovelace.1815"}, Code.WEAK_PASSWORD),
        ({"name": "ada.lovelace.1815@x.example", "password": "ada.lovelace.1815"}, Code.WEAK_PASSWORD),
        ({"name": "ada", "password": "é" * 600}, Code.WEAK_PASSWORD),
        ({"name": "ada", "password": "x" * 1025}, Code.VALIDATION),
        ({"name": "a", "password": PASSWORD}, Code.VALIDATION),
        ({"name": "a b", "password": PASSWORD}, Code.VALIDATION),
        ({"name": "ada\x00", "password": PASSWORD}, Code.VALIDATION),
        ({"name": "../../ada", "password": PASSWORD}, Code.VALIDATION),
        ({"name": "a" * 300, "password": PASSWORD}, Code.VALIDATION),
        ({"name": "ada", "password": PASSWORD, "scopes": ["admin"]}, Code.VALIDATION),
        ({"name": "ada", "password": PASSWORD, "invitation": "guess"}, Code.VALIDATION),
        ({"name": ["ada"], "password": PASSWORD}, Code.VALIDATION),
        ({}, Code.VALIDATION),
    ],
)
async def test_a_bad_sign_up_is_a_coded_error(visitor: Visitor, body: dict[str, Any], code: Code) -> None:
    answer = await visitor.post("/auth/register", json=body)
    assert (answer.status_code, answer.json()["code"]) == (422, code)
    assert PASSWORD not in answer.text


async def test_surrogates_and_null_bytes_are_refused(visitor: Visitor) -> None:
    for raw in (
        r'{"name": "ada", "password": "\ud800aaaaaaaaaaaa"}',
        r'{"name": "\ud800", "password": "x"}',
        "{",
    ):
        answer = await visitor.post(
            "/auth/register", content=raw, headers={"Content-Type": "application/json"}
        )
        assert answer.status_code == 422, answer.text
    for form in ("%ff", "%00", "%ed%a0%80"):
        answer = await visitor.post(
            "/auth/token",
            content=f"grant_type=password&username={form}&password={form}{form}",
            headers={"Content-Type": "application/x-www-form-urlencoded"},
        )
        assert answer.status_code == 400, answer.text


async def test_a_name_is_taken_once_even_by_twenty_at_once(visitor: Visitor) -> None:
    names = ["Émile", "émile", "e\u0301mile", "ÉMILE"] * 5
    answers = await asyncio.gather(
        *(visitor.post("/auth/register", json={"name": name, "password": PASSWORD}) for name in names)
    )
    statuses = sorted(answer.status_code for answer in answers)
    assert statuses == [201] + [409] * 19
    assert {a.json()["code"] for a in answers if a.status_code == 409} == {Code.NAME_TAKEN}


class TestClosed:
    """Sign-up closed: by an administrator's invitation only."""

    @pytest.fixture
    def change(self) -> dict[str, Any]:
        return {"sign_up": "closed"}

    async def test_only_an_administrators_invitation_opens(self, visit: Visit, admin: Visitor) -> None:
        visitor = visit()
        answer = await visitor.post("/auth/register", json={"name": "ada", "password": PASSWORD})
        assert (answer.status_code, answer.json()["code"]) == (403, Code.SIGN_UP_CLOSED)
        invitation = (await admin.post("/auth/invitations")).json()["invitation"]
        await visitor.sign_up("ada", invitation=invitation)
        await visitor.come_in("ada")
        assert (await visitor.post("/auth/invitations")).json()["code"] == Code.SIGN_UP_CLOSED


async def test_an_invitation_opens_the_tenant_once(visitor: Visitor, visit: Visit) -> None:
    ada = await visitor.sign_up("ada")
    await visitor.come_in("ada")
    invitation = (await visitor.post("/auth/invitations")).json()["invitation"]
    bob = await visit().sign_up("bob", invitation=invitation)
    eve = await visit().post(
        "/auth/register", json={"name": "eve", "password": PASSWORD, "invitation": invitation}
    )
    alone = await visit().sign_up("carol")
    assert bob["tenant_id"] == ada["tenant_id"] != alone["tenant_id"]
    assert eve.status_code == 422


async def test_an_invitation_is_deleted_with_its_host_and_shows_no_names(
    visitor: Visitor, visit: Visit, admin: Visitor
) -> None:
    ada = await visitor.sign_up("ada")
    await visitor.come_in("ada")
    invitation = (await visitor.post("/auth/invitations")).json()["invitation"]
    assert (await admin.post(f"/auth/users/{ada['id']}/disable")).status_code == 200
    for name in ("eve", "ada"):
        body = {"name": name, "password": PASSWORD, "invitation": invitation}
        answer = await visit().post("/auth/register", json=body)
        assert (answer.status_code, answer.json()["code"]) == (422, Code.VALIDATION)


async def test_many_password_changes_at_once_do_not_delay_others(visitor: Visitor, visit: Visit) -> None:
    await visitor.sign_up("ada")
    await visitor.come_in("ada")
    body = {"current": "not the passphrase", "new": "another long passphrase"}
    answers = asyncio.gather(*(visitor.post("/auth/password", json=body) for _ in range(30)))
    await asyncio.sleep(0.05)
    other = visit()
    await other.sign_up("bob")
    assert {answer.status_code for answer in await answers} == {401, 429}


async def test_a_refused_sign_up_does_not_use_up_the_invitation(visitor: Visitor, visit: Visit) -> None:
    await visitor.sign_up("ada")
    await visitor.come_in("ada")
    invitation = (await visitor.post("/auth/invitations")).json()["invitation"]
    again = {"name": "ada", "password": PASSWORD, "invitation": invitation}
    assert (await visit().post("/auth/register", json=again)).status_code == 409
    await visit().sign_up("bob", invitation=invitation)


async def test_changing_the_password_ends_the_other_sessions(visitor: Visitor, visit: Visit) -> None:
    await visitor.sign_up("ada")
    mine = await visitor.come_in("ada")
    other = visit()
    theirs = await other.come_in("ada")
    body = {"current": PASSWORD, "new": "another long passphrase"}
    assert (await visitor.post("/auth/password", json=body)).status_code == 204
    assert (await visitor.get("/auth/me")).status_code == 200
    assert (await other.get("/auth/me")).status_code == 401
    assert (await other.token("refresh_token", refresh_token=theirs["refresh_token"])).status_code == 400
    assert (await visitor.token("refresh_token", refresh_token=mine["refresh_token"])).status_code == 200
    assert (await visitor.token(username="ada", password=PASSWORD)).status_code == 400
    await visitor.tokens("ada", "another long passphrase")


async def test_a_wrong_current_password_changes_nothing(visitor: Visitor) -> None:
    await visitor.sign_up("ada")
    await visitor.come_in("ada")
    body = {"current": "wrong wrong wrong", "new": "another long passphrase"}
    answers = [await visitor.post("/auth/password", json=body) for _ in range(6)]
    assert [a.status_code for a in answers] == [401] * 5 + [429]
    weak = await visitor.post("/auth/password", json={"current": PASSWORD, "new": "ada"})
    assert weak.json()["code"] == Code.WEAK_PASSWORD


async def test_sessions_are_listed_and_ended(visitor: Visitor, visit: Visit) -> None:
    await visitor.sign_up("ada")
    await visitor.come_in("ada")
    page = visit(**{"User-Agent": "Firefox\x7f on ward 3"})
    await page.open_page("ada")
    listed = (await visitor.get("/auth/sessions")).json()
    assert [(s["page"], s["current"]) for s in listed] == [(True, False), (False, True)]
    assert listed[0]["user_agent"] == "Firefox on ward 3"
    assert (await visitor.delete(f"/auth/sessions/{listed[0]['id']}")).status_code == 204
    assert (await page.post("/auth/session/refresh")).status_code == 401
    assert (await page.get("/auth/me")).status_code == 401
    assert (await visitor.delete(f"/auth/sessions/{listed[0]['id']}")).status_code == 404


async def test_a_session_of_another_user_is_neither_shown_nor_ended(visitor: Visitor, visit: Visit) -> None:
    other = visit()
    for who, name in ((visitor, "ada"), (other, "eve")):
        await who.sign_up(name)
        await who.come_in(name)
    mine = (await visitor.get("/auth/sessions")).json()
    assert len(mine) == 1
    assert (await other.delete(f"/auth/sessions/{mine[0]['id']}")).status_code == 404
    assert (await visitor.get("/auth/me")).status_code == 200


async def test_a_deleted_account_is_deleted_at_once(visitor: Visitor) -> None:
    account = await visitor.sign_up("ada")
    tokens = await visitor.come_in("ada")
    client = (await visitor.post("/auth/clients", json={"name": "pacs"})).json()
    refused = await visitor.request("DELETE", "/auth/me", json={"password": "wrong wrong wrong"})
    assert refused.status_code == 401
    assert (await visitor.request("DELETE", "/auth/me", json={"password": PASSWORD})).status_code == 204
    assert (await visitor.get("/auth/me")).status_code == 401
    assert (await visitor.token(username="ada", password=PASSWORD)).status_code == 400
    assert (await visitor.token("refresh_token", refresh_token=tokens["refresh_token"])).status_code == 400
    machine = {"client_id": client["id"], "client_secret": client["secret"]}
    assert (await visitor.token("client_credentials", **machine)).status_code == 401
    again = await visitor.sign_up("ada")
    assert again["tenant_id"] != account["tenant_id"], "a new account must not inherit the old one's studies"
