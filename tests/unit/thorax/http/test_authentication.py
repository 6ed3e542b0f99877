"""Bearer, cookie and CSRF as a caller sends them; the tokens themselves are test_identity's matter."""

import threading
import time
from collections.abc import AsyncIterator, Mapping
from typing import Any
from uuid import uuid4

import httpx
import jwt as pyjwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

from thorax.errors import CodedError
from thorax.http.authentication import Admin, Authenticator, Caller, Writer, csrf_digest
from thorax.identity import AUDIENCE, JwksCache, TokenVerifier

ISSUER = "https://thorax.test/auth"
KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
JWK: Mapping[str, Any] = {**pyjwt.algorithms.RSAAlgorithm.to_jwk(KEY.public_key(), as_dict=True), "kid": "k1"}


def token(scope: str = "studies:write", kid: str = "k1", **more: Any) -> str:
    now = int(time.time())
    body = {"iss": ISSUER, "aud": AUDIENCE, "sub": "u1", "jti": uuid4().hex, "iat": now, "exp": now + 60}
    body |= {"tenant": str(uuid4()), "scope": scope, "kind": "user"} | more
    return pyjwt.encode(body, KEY, "RS256", {"kid": kid, "typ": "at+jwt"})


def session(csrf: str = "page-secret") -> dict[str, str]:
    return {"Cookie": f"thorax_access={token(csrf=csrf_digest(csrf))}; thorax_csrf={csrf}"}


def application(authenticator: Authenticator) -> FastAPI:
    app = FastAPI()
    app.state.authenticator = authenticator

    @app.exception_handler(CodedError)
    async def render(_: Request, error: CodedError) -> JSONResponse:
        return JSONResponse({"code": error.code}, error.code.status)

    @app.get("/me")
    async def me(caller: Caller) -> str:
        return caller.subject

    @app.post("/write")
    async def write(caller: Writer) -> str:
        return caller.subject

    @app.post("/admin")
    async def admin(caller: Admin) -> str:
        return caller.subject

    return app


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    app = application(Authenticator(TokenVerifier(ISSUER, AUDIENCE, {"k1": JWK}.get)))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://thorax.test") as client:
        yield client


async def code(client: httpx.AsyncClient, method: str, path: str, headers: dict[str, str]) -> tuple[int, str]:
    answer = await client.request(method, path, headers=headers)
    body = answer.json()
    return answer.status_code, body["code"] if isinstance(body, dict) else body


async def test_bearer_tokens_need_no_csrf(client: httpx.AsyncClient) -> None:
    bearer = {"Authorization": f"bearer {token()}"}
    assert await code(client, "GET", "/me", bearer) == (200, "u1")
    assert await code(client, "POST", "/write", bearer) == (200, "u1")
    assert await code(client, "POST", "/admin", bearer) == (403, "forbidden")


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer ", "Basic dTpw", "Bearer a b", "Bearer é"])
async def test_a_bad_authorization_header_is_refused(client: httpx.AsyncClient, header: str) -> None:
    answer = await client.get("/me", headers=[(b"Authorization", header.encode())])
    assert answer.status_code == 401


async def test_a_bad_header_is_not_saved_by_a_good_cookie(client: httpx.AsyncClient) -> None:
    assert await code(client, "GET", "/me", session() | {"Authorization": "Bearer x"}) == (
        401,
        "unauthenticated",
    )


async def test_a_request_without_credentials_is_401(client: httpx.AsyncClient) -> None:
    assert await code(client, "GET", "/me", {}) == (401, "unauthenticated")


async def test_the_cookie_may_read_and_with_csrf_write(client: httpx.AsyncClient) -> None:
    assert await code(client, "GET", "/me", session()) == (200, "u1")
    right = session() | {"X-CSRF-Token": "page-secret"}
    assert await code(client, "POST", "/write", right) == (200, "u1")


@pytest.mark.parametrize(
    "sent", [None, "", "other", csrf_digest("page-secret"), "page-secret2", "PAGE-SECRET"]
)
async def test_a_wrong_csrf_token_is_refused(client: httpx.AsyncClient, sent: str | None) -> None:
    headers = session() | ({} if sent is None else {"X-CSRF-Token": sent})
    assert await code(client, "POST", "/write", headers) == (403, "csrf_failed")


async def test_a_planted_csrf_cookie_is_refused(client: httpx.AsyncClient) -> None:
    planted = session()["Cookie"].replace("thorax_csrf=page-secret", "thorax_csrf=mine")
    headers = {"Cookie": planted, "X-CSRF-Token": "mine"}
    assert await code(client, "POST", "/write", headers) == (403, "csrf_failed")


async def test_an_api_token_is_not_a_session(client: httpx.AsyncClient) -> None:
    headers = {"Cookie": f"thorax_access={token()}"}
    assert await code(client, "GET", "/me", headers) == (401, "unauthenticated")


async def test_fetching_keys_does_not_hold_the_event_loop() -> None:
    threads: list[str] = []

    def fetch() -> Mapping[str, Any]:
        threads.append(threading.current_thread().name)
        return {"keys": [JWK]}

    cache = JwksCache(fetch)
    app = application(Authenticator(TokenVerifier(ISSUER, AUDIENCE, cache), cache))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://thorax.test") as client:
        for _ in range(2):
            assert await code(client, "GET", "/me", {"Authorization": f"Bearer {token()}"}) == (200, "u1")
        guess = {"Authorization": f"Bearer {token(kid='guess')}"}
        assert await code(client, "GET", "/me", guess) == (401, "unauthenticated")
    assert len(threads) == 1
    assert threads != [threading.main_thread().name]


def test_openapi_shows_both_ways_in() -> None:
    document = application(Authenticator(TokenVerifier(ISSUER, AUDIENCE, lambda _: None))).openapi()
    assert set(document["components"]["securitySchemes"]) == {"token", "session"}
    assert {"token": ["studies:write"]} in document["paths"]["/write"]["post"]["security"]
