"""Machine clients: secret shown once, rotated with an overlap, never more than their owner may."""

from typing import Any
from unittest.mock import patch

from sqlalchemy import text

from auth_service.clients import service as clients
from auth_service.context import AppContext
from thorax.errors import Code

from .conftest import Visit, Visitor


async def machine_status(visitor: Visitor, client: dict[str, Any], secret: str | None = None) -> int:
    form = {"client_id": client["id"], "client_secret": secret or client["secret"]}
    return (await visitor.token("client_credentials", **form)).status_code


async def with_client(visitor: Visitor, name: str = "ada") -> dict[str, Any]:
    await visitor.sign_up(name)
    await visitor.come_in(name)
    answer = await visitor.post("/auth/clients", json={"name": "PACS of ward 3"})
    assert answer.status_code == 201
    return answer.json()  # type: ignore[no-any-return]


async def test_the_secret_is_shown_once_and_stored_as_a_digest(visitor: Visitor, context: AppContext) -> None:
    client = await with_client(visitor)
    assert client["secret"].startswith("thorax_")
    listed = (await visitor.get("/auth/clients")).json()
    assert [c["name"] for c in listed] == ["PACS of ward 3"]
    assert "secret" not in listed[0]
    async with context.open_session() as session:
        stored = await session.scalar(text("select row_to_json(c)::text from auth.clients c"))
    assert client["secret"] not in str(stored)
    assert await machine_status(visitor, client) == 200
    assert (await visitor.get("/auth/clients")).json()[0]["last_used_at"] is not None


async def test_after_a_rotation_both_secrets_work_for_a_day(visitor: Visitor) -> None:
    client = await with_client(visitor)
    fresh = (await visitor.post(f"/auth/clients/{client['id']}/rotate")).json()
    assert fresh["old_secret_until"] is not None
    assert [await machine_status(visitor, c) for c in (client, fresh)] == [200, 200]
    newest = (await visitor.post(f"/auth/clients/{client['id']}/rotate")).json()
    assert [await machine_status(visitor, c) for c in (client, fresh, newest)] == [401, 200, 200]


async def test_the_old_secret_ends_after_the_overlap(visitor: Visitor) -> None:
    client = await with_client(visitor)
    with patch.object(clients, "OVERLAP", clients.OVERLAP * 0):
        fresh = (await visitor.post(f"/auth/clients/{client['id']}/rotate")).json()
    assert [await machine_status(visitor, c) for c in (client, fresh)] == [401, 200]


async def test_a_leaked_secret_ends_at_once(visitor: Visitor) -> None:
    client = await with_client(visitor)
    fresh = (await visitor.post(f"/auth/clients/{client['id']}/rotate", json={"at_once": True})).json()
    assert fresh["old_secret_until"] is None
    assert [await machine_status(visitor, c) for c in (client, fresh)] == [401, 200]


async def test_a_revoked_client_is_out(visitor: Visitor) -> None:
    client = await with_client(visitor)
    assert (await visitor.delete(f"/auth/clients/{client['id']}")).status_code == 204
    assert await machine_status(visitor, client) == 401
    assert (await visitor.get("/auth/clients")).json() == []


async def test_a_client_of_another_account_is_not_found(visitor: Visitor, visit: Visit) -> None:
    client = await with_client(visitor)
    eve = visit()
    await with_client(eve, "eve")
    path = f"/auth/clients/{client['id']}"
    answers = [await eve.post(f"{path}/rotate"), await eve.delete(path)]
    assert [a.status_code for a in answers] == [404, 404]
    assert len((await eve.get("/auth/clients")).json()) == 1
    assert await machine_status(visitor, client) == 200


async def test_a_colleague_of_the_same_tenant_can_not_take_over_a_client(
    visitor: Visitor, visit: Visit
) -> None:
    client = await with_client(visitor)
    invitation = (await visitor.post("/auth/invitations")).json()["invitation"]
    bob = visit()
    await bob.sign_up("bob", invitation=invitation)
    await bob.come_in("bob")
    assert (await bob.post(f"/auth/clients/{client['id']}/rotate")).status_code == 404


async def test_a_client_does_not_get_a_scope_that_its_owner_lacks(visitor: Visitor) -> None:
    await with_client(visitor)
    answer = await visitor.post("/auth/clients", json={"name": "pacs", "scopes": ["admin"]})
    assert (answer.status_code, answer.json()["code"]) == (403, Code.FORBIDDEN)


async def test_a_demoted_owners_client_is_demoted_too(visitor: Visitor, visit: Visit, admin: Visitor) -> None:
    user = await visitor.sign_up("ada")
    await admin.post(f"/auth/users/{user['id']}/promote")
    await visitor.come_in("ada")
    scopes = ["models:write", "studies:read"]
    client = (await visitor.post("/auth/clients", json={"name": "ci", "scopes": scopes})).json()
    form = {"client_id": client["id"], "client_secret": client["secret"]}
    before = (await visit().token("client_credentials", **form)).json()["scope"]
    await admin.post(f"/auth/users/{user['id']}/demote")
    after = (await visit().token("client_credentials", **form)).json()["scope"]
    assert (before, after) == ("models:write studies:read", "studies:read")


async def test_odd_names_and_ids_are_refused(visitor: Visitor) -> None:
    await with_client(visitor)
    for name in ("", "x" * 101, "a\nb", "a\x00b", None):
        assert (await visitor.post("/auth/clients", json={"name": name})).status_code == 422
    for odd in ("1", "..%2f..", "%00"):
        assert (await visitor.delete(f"/auth/clients/{odd}")).status_code in (404, 422)
