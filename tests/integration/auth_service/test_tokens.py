"""The OAuth2 endpoint: RFC 6749's answers and ours, rotation of refresh tokens, theft detected."""

import asyncio
import base64
from typing import Any

import jwt as pyjwt
import pytest

from thorax.errors import Code

from .conftest import PASSWORD, Visit, Visitor


async def test_pyjwt_accepts_the_access_token(visitor: Visitor) -> None:
    account = await visitor.sign_up("ada")
    tokens = await visitor.tokens("ada", scope="studies:read")
    keys = (await visitor.get("/auth/.well-known/jwks.json")).json()["keys"]
    header = pyjwt.get_unverified_header(tokens["access_token"])
    assert header == {"alg": "RS256", "typ": "at+jwt", "kid": keys[0]["kid"]}
    key = pyjwt.PyJWK(keys[0]).key
    claims = pyjwt.decode(
        tokens["access_token"],
        key,
        ["RS256"],
        audience="thorax",
        issuer="http://127.0.0.1:8080/auth",
        options={"require": ["jti"]},
    )
    assert claims["exp"] - claims["iat"] <= 600
    assert (claims["sub"], claims["tenant"]) == (account["id"], account["tenant_id"])
    assert (claims["scope"], claims["kind"]) == ("studies:read", "user")
    assert "csrf" not in claims
    assert not {"d", "p", "q", "dp", "dq", "qi"} & set(keys[0])


async def test_tokens_are_not_cached(visitor: Visitor) -> None:
    await visitor.sign_up("ada")
    for answer in (
        await visitor.token(username="ada", password=PASSWORD),
        await visitor.token(username="ada", password="wrong"),
    ):
        assert answer.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize(
    ("form", "status", "error", "code"),
    [
        ({}, 400, "invalid_request", Code.VALIDATION),
        ({"grant_type": "implicit"}, 400, "unsupported_grant_type", Code.VALIDATION),
        ({"grant_type": "password"}, 400, "invalid_grant", Code.BAD_CREDENTIALS),
        (
            {"grant_type": "password", "username": "no one!", "password": "x"},
            400,
            "invalid_grant",
            Code.BAD_CREDENTIALS,
        ),
        ({"grant_type": "refresh_token"}, 400, "invalid_grant", Code.UNAUTHENTICATED),
        ({"grant_type": "refresh_token", "refresh_token": "x"}, 400, "invalid_grant", Code.UNAUTHENTICATED),
        ({"grant_type": "client_credentials"}, 401, "invalid_client", Code.UNAUTHENTICATED),
        ({"grant_type": "client_credentials", "client_id": "x"}, 401, "invalid_client", Code.UNAUTHENTICATED),
    ],
)
async def test_errors_speak_rfc_6749_and_ours(
    visitor: Visitor, form: dict[str, str], status: int, error: str, code: Code
) -> None:
    answer = await visitor.post("/auth/token", data=form)
    body = answer.json()
    assert (answer.status_code, body["status"], body["error"], body["code"]) == (status, status, error, code)
    assert body["error_description"] and body["remedy"] and body["instance"].startswith("urn:uuid:")
    assert answer.headers["Content-Type"].startswith("application/json")
    assert ("WWW-Authenticate" in answer.headers) == (status == 401)


async def test_a_json_body_or_an_upload_is_refused_not_a_500(visitor: Visitor) -> None:
    assert (await visitor.post("/auth/token", json={"grant_type": "password"})).status_code in (400, 422)
    upload = await visitor.post("/auth/token", files={"password": b"x"}, data={"grant_type": "password"})
    assert upload.status_code in (400, 422)


async def test_a_wider_scope_than_ones_own_is_refused(visitor: Visitor) -> None:
    await visitor.sign_up("ada")
    answer = await visitor.token(username="ada", password=PASSWORD, scope="studies:read admin")
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_scope")


async def test_refresh_tokens_rotate_and_keep_the_scope(visitor: Visitor) -> None:
    await visitor.sign_up("ada")
    tokens = await visitor.tokens("ada", scope="studies:read")
    for _ in range(3):
        answer = await visitor.token("refresh_token", refresh_token=tokens["refresh_token"])
        assert answer.status_code == 200
        assert answer.json()["refresh_token"] != tokens["refresh_token"]
        tokens = answer.json()
        assert tokens["scope"] == "studies:read"


async def test_a_reused_refresh_token_ends_the_whole_family(visitor: Visitor, visit: Visit) -> None:
    await visitor.sign_up("ada")
    stolen = (await visitor.tokens("ada"))["refresh_token"]
    bystander = (await visitor.tokens("ada"))["refresh_token"]
    fresh = (await visitor.token("refresh_token", refresh_token=stolen)).json()
    thief = await visit("10.6.6.6").token("refresh_token", refresh_token=stolen)
    assert (thief.status_code, thief.json()["error"]) == (400, "invalid_grant")
    victim = await visitor.token("refresh_token", refresh_token=fresh["refresh_token"])
    assert victim.status_code == 400
    headers = {"Authorization": f"Bearer {fresh['access_token']}"}
    assert (await visitor.get("/auth/me", headers=headers)).status_code == 401
    assert (await visitor.token("refresh_token", refresh_token=bystander)).status_code == 200


async def test_of_twenty_simultaneous_refreshes_at_most_one_succeeds_and_the_family_ends(
    visitor: Visitor,
) -> None:
    await visitor.sign_up("ada")
    token = (await visitor.tokens("ada"))["refresh_token"]
    answers = await asyncio.gather(*(visitor.token("refresh_token", refresh_token=token) for _ in range(20)))
    won = [answer for answer in answers if answer.status_code == 200]
    assert len(won) == 1
    assert {a.status_code for a in answers} == {200, 400}
    late = await visitor.token("refresh_token", refresh_token=won[0].json()["refresh_token"])
    assert late.status_code == 400


class TestShortLives:
    """Sessions that end by themselves."""

    @pytest.fixture
    def change(self) -> dict[str, Any]:
        return {"session_idle_days": 0.5 / 86_400}

    async def test_an_idle_session_ends(self, visitor: Visitor) -> None:
        await visitor.sign_up("ada")
        token = (await visitor.tokens("ada"))["refresh_token"]
        await asyncio.sleep(0.7)
        assert (await visitor.token("refresh_token", refresh_token=token)).status_code == 400


async def test_logout_by_either_token_ends_the_family(visitor: Visitor) -> None:
    await visitor.sign_up("ada")
    first, second = await visitor.tokens("ada"), await visitor.tokens("ada")
    by_bearer = await visitor.post(
        "/auth/logout", headers={"Authorization": f"Bearer {first['access_token']}"}
    )
    by_refresh = await visitor.post("/auth/logout", json={"refresh_token": second["refresh_token"]})
    unknown = await visitor.post("/auth/logout", json={"refresh_token": "nothing"})
    assert [a.status_code for a in (by_bearer, by_refresh, unknown)] == [204] * 3
    for tokens in (first, second):
        assert (
            await visitor.token("refresh_token", refresh_token=tokens["refresh_token"])
        ).status_code == 400
    assert (await visitor.post("/auth/logout")).status_code == 401


async def test_machine_clients_get_tokens_by_basic_or_form(visitor: Visitor) -> None:
    await visitor.sign_up("ada")
    await visitor.come_in("ada")
    client = (await visitor.post("/auth/clients", json={"name": "PACS", "scopes": ["studies:write"]})).json()
    del visitor.headers["Authorization"]
    basic = base64.b64encode(f"{client['id']}:{client['secret']}".encode()).decode()
    by_basic = await visitor.post(
        "/auth/token", data={"grant_type": "client_credentials"}, headers={"Authorization": f"Basic {basic}"}
    )
    by_form = await visitor.token(
        "client_credentials", client_id=client["id"], client_secret=client["secret"]
    )
    for answer in (by_basic, by_form):
        assert answer.status_code == 200, answer.text
        assert answer.json()["scope"] == "studies:write"
        assert "refresh_token" not in answer.json()
    visitor.headers["Authorization"] = f"Bearer {by_form.json()['access_token']}"
    me = (await visitor.get("/auth/me")).json()
    assert (me["kind"], me["name"], me["session"]) == ("client", "PACS", None)
    for method, path in (("GET", "/auth/clients"), ("GET", "/auth/sessions"), ("POST", "/auth/invitations")):
        assert (await visitor.request(method, path)).status_code == 403
    wider = await visitor.token(
        "client_credentials", client_id=client["id"], client_secret=client["secret"], scope="studies:read"
    )
    assert wider.json()["error"] == "invalid_scope"


@pytest.mark.parametrize("header", ["Basic !!!", "Basic ", "Basic Og==", "Basic dTpw", "Basic /////w=="])
async def test_a_broken_basic_header_is_invalid_client(visitor: Visitor, header: str) -> None:
    answer = await visitor.post(
        "/auth/token", data={"grant_type": "client_credentials"}, headers={"Authorization": header}
    )
    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")
