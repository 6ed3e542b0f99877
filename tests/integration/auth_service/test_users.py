"""Administration: list, disable, enable, promote, demote; nobody locks the last administrator out."""

import asyncio

import pytest

from thorax.errors import Code

from .conftest import PASSWORD, Visit, Visitor


async def test_users_are_paged_newest_first(visitor: Visitor, admin: Visitor) -> None:
    for number in range(5):
        await visitor.sign_up(f"user{number}")
    seen, cursor = [], None
    while True:
        page = (
            await admin.get("/auth/users", params={"limit": 2} | ({"cursor": cursor} if cursor else {}))
        ).json()
        seen += [user["name"] for user in page["items"]]
        if (cursor := page["next"]) is None:
            break
    assert seen == ["user4", "user3", "user2", "user1", "user0", "root"]


@pytest.mark.parametrize("cursor", ["x", "é", "AAAA", "MjAyNi0wMS0wMQ==", "%00", "b" * 201])
async def test_a_bad_cursor_is_a_422(admin: Visitor, cursor: str) -> None:
    answer = await admin.get("/auth/users", params={"cursor": cursor})
    assert (answer.status_code, answer.json()["code"]) == (422, Code.VALIDATION)


async def test_only_administrators_may_administer(visitor: Visitor, admin: Visitor) -> None:
    user = await visitor.sign_up("ada")
    await visitor.come_in("ada")
    answers = [await visitor.get("/auth/users")]
    for verb in ("disable", "enable", "promote", "demote"):
        answers.append(await visitor.post(f"/auth/users/{user['id']}/{verb}"))
    assert {(a.status_code, a.json()["code"]) for a in answers} == {(403, Code.FORBIDDEN)}
    missing = await admin.post("/auth/users/00000000-0000-0000-0000-000000000000/disable")
    assert missing.status_code == 404


async def test_a_disabled_user_is_out_with_his_machines(
    visitor: Visitor, visit: Visit, admin: Visitor
) -> None:
    user = await visitor.sign_up("ada")
    tokens = await visitor.come_in("ada")
    client = (await visitor.post("/auth/clients", json={"name": "pacs"})).json()
    machine = {"client_id": client["id"], "client_secret": client["secret"]}
    machine_token = (await visit().token("client_credentials", **machine)).json()["access_token"]
    assert (await admin.post(f"/auth/users/{user['id']}/disable")).json()["disabled"] is True
    assert (await visitor.get("/auth/me")).status_code == 401
    assert (await visitor.token("refresh_token", refresh_token=tokens["refresh_token"])).status_code == 400
    right, wrong = [await visitor.token(username="ada", password=p) for p in (PASSWORD, "wrong wrong wrong")]
    assert right.json()["error_description"] == wrong.json()["error_description"], "tells nothing"
    assert (await visitor.token("client_credentials", **machine)).status_code == 401
    bearer = {"Authorization": f"Bearer {machine_token}"}
    assert (await visit().get("/auth/me", headers=bearer)).status_code == 401
    assert (await admin.post(f"/auth/users/{user['id']}/enable")).json()["disabled"] is False
    await visitor.tokens("ada")


async def test_promoted_from_the_next_login_on(visitor: Visitor, admin: Visitor) -> None:
    user = await visitor.sign_up("ada")
    tokens = await visitor.come_in("ada")
    promoted = (await admin.post(f"/auth/users/{user['id']}/promote")).json()
    assert "admin" in promoted["scopes"]
    assert (await visitor.get("/auth/users")).status_code == 403
    old = (await visitor.token("refresh_token", refresh_token=tokens["refresh_token"])).json()
    assert "admin" not in old["scope"]
    await visitor.come_in("ada")
    assert (await visitor.get("/auth/users")).status_code == 200
    await admin.post(f"/auth/users/{user['id']}/demote")
    demoted = await visitor.get("/auth/users")
    assert demoted.status_code == 403, "at once, whatever the token says"


async def test_the_last_administrator_stays(visitor: Visitor, admin: Visitor) -> None:
    root = (await admin.get("/auth/me")).json()["id"]
    answers = [
        await admin.post(f"/auth/users/{root}/disable"),
        await admin.post(f"/auth/users/{root}/demote"),
        await admin.request("DELETE", "/auth/me", json={"password": PASSWORD}),
    ]
    assert {(a.status_code, a.json()["code"]) for a in answers} == {(409, Code.CONFLICT)}
    user = await visitor.sign_up("ada")
    await admin.post(f"/auth/users/{user['id']}/promote")
    await admin.post(f"/auth/users/{user['id']}/disable")
    assert (await admin.post(f"/auth/users/{root}/demote")).status_code == 409, (
        "a disabled one does not count"
    )


async def test_of_two_who_demote_each_other_at_once_one_fails(visitor: Visitor, admin: Visitor) -> None:
    root = (await admin.get("/auth/me")).json()["id"]
    for number in range(3):
        ada = await visitor.sign_up(f"ada{number}")
        await admin.post(f"/auth/users/{ada['id']}/promote")
        await visitor.come_in(f"ada{number}")
        answers = await asyncio.gather(
            admin.post(f"/auth/users/{ada['id']}/demote"), visitor.post(f"/auth/users/{root}/demote")
        )
        assert sorted(a.status_code for a in answers)[0] == 200
        assert sorted(a.status_code for a in answers)[1] in (403, 409)
        if answers[1].status_code == 200:  # ada won, so she gives it back
            await visitor.post(f"/auth/users/{root}/promote")
            await visitor.post(f"/auth/users/{ada['id']}/demote")
            await visitor.post(f"/auth/users/{root}/demote")
            await admin.come_in("root")


async def test_tenants_are_called_by_their_oldest_member(
    visitor: Visitor, visit: Visit, admin: Visitor
) -> None:
    ada = await visitor.sign_up("ada")
    await visitor.come_in("ada")
    invitation = (await visitor.post("/auth/invitations")).json()["invitation"]
    eve = await visit().sign_up("eve", invitation=invitation)
    bob = await visit().sign_up("bob")
    ids = [ada["tenant_id"], bob["tenant_id"], "00000000-0000-0000-0000-000000000000"]
    found = (await admin.get("/auth/tenants", params={"id": ids})).json()
    assert eve["tenant_id"] == ada["tenant_id"]
    assert {(one["name"], one["members"]) for one in found} == {("ada", 2), ("bob", 1)}
    assert (await visitor.get("/auth/tenants", params={"id": ids})).json()["code"] == Code.FORBIDDEN
