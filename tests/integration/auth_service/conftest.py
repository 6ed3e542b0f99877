"""A whole auth-service per test: its own database, its own keys, and clients from addresses that the test chooses."""

import itertools
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from fastapi import FastAPI

from auth_service.app import create_app
from auth_service.config import AuthSettings
from auth_service.parts import Parts, build
from auth_service.passwords import Passwords
from auth_service.repository import Repository
from auth_service.service.accounts import create_admin

PASSWORD = "correct horse battery"


class Visitor(httpx.AsyncClient):
    """An HTTP client that can sign up, log in and speak with a bearer token."""

    async def sign_up(self, name: str, password: str = PASSWORD, **more: Any) -> dict[str, Any]:
        answer = await self.post("/auth/register", json={"name": name, "password": password, **more})
        assert answer.status_code == 201, answer.text
        return answer.json()  # type: ignore[no-any-return]

    async def token(self, grant: str = "password", **form: str) -> httpx.Response:
        return await self.post("/auth/token", data={"grant_type": grant, **form})

    async def token_from(self, headers: dict[str, str]) -> httpx.Response:
        """A wrong guess at one account, with these headers."""
        form = {"grant_type": "password", "username": "ada", "password": "wrong wrong wrong"}
        return await self.post("/auth/token", data=form, headers=headers)

    async def tokens(self, name: str, password: str = PASSWORD, **form: str) -> dict[str, Any]:
        answer = await self.token(username=name, password=password, **form)
        assert answer.status_code == 200, answer.text
        return answer.json()  # type: ignore[no-any-return]

    async def come_in(self, name: str, password: str = PASSWORD) -> dict[str, Any]:
        """Log in, and send the access token with every request from now on."""
        tokens = await self.tokens(name, password)
        self.headers["Authorization"] = f"Bearer {tokens['access_token']}"
        return tokens

    async def open_page(self, name: str, password: str = PASSWORD) -> httpx.Response:
        """Log in as the page does; the cookies stay in this client, the CSRF token is sent with every request."""
        answer = await self.post("/auth/session", json={"name": name, "password": password})
        assert answer.status_code == 200, answer.text
        self.headers["X-CSRF-Token"] = self.cookies["thorax_csrf"]
        return answer


@pytest.fixture(scope="session")
def rsa_keys() -> Iterator[rsa.RSAPrivateKey]:
    """A few real keys, over and over: making one takes a tenth of a second or more."""
    return itertools.cycle([rsa.generate_private_key(public_exponent=65537, key_size=2048) for _ in range(4)])


@pytest.fixture(autouse=True)
def _quick_keys(rsa_keys: Iterator[rsa.RSAPrivateKey], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rsa, "generate_private_key", lambda **_: next(rsa_keys))


@pytest.fixture
def secret_file(tmp_path: Path) -> Path:
    file = tmp_path / "auth-secret"
    file.write_text("a secret of at least thirty-two characters\n")
    return file


@pytest.fixture
def change() -> dict[str, Any]:
    """Override it to run with other settings."""
    return {}


@pytest.fixture
async def parts(url_as: Callable[[str], str], secret_file: Path, change: dict[str, Any]) -> Parts:
    settings = {
        "database_url": url_as("thorax_auth"),
        "auth_secret_file": secret_file,
        "cookie_secure": False,
    }
    settings |= change
    return build(AuthSettings.model_validate(settings), Passwords(time_cost=1, memory_kib=64))


@pytest.fixture
async def app(parts: Parts) -> AsyncIterator[FastAPI]:
    app = create_app(parts)
    async with app.router.lifespan_context(app):
        yield app


Visit = Callable[..., Visitor]


@pytest.fixture
async def visit(app: FastAPI) -> AsyncIterator[Visit]:
    """`visit("10.0.0.7")`: a client from that address, without cookies of others."""
    async with AsyncExitStack() as stack:

        def new(address: str = "10.0.0.1", **headers: str) -> Visitor:
            transport = httpx.ASGITransport(app, client=(address, 40_000))
            visitor = Visitor(transport=transport, base_url="http://thorax.test", headers=headers)
            stack.push_async_callback(visitor.aclose)
            return visitor

        yield new


@pytest.fixture
def visitor(visit: Visit) -> Visitor:
    return visit()


@pytest.fixture
async def admin(parts: Parts, visit: Visit) -> Visitor:
    """An administrator called `root`, logged in."""
    async with parts.database() as session:
        assert await create_admin(parts, Repository(session), "root", PASSWORD)
        await session.commit()
    visitor = visit("10.0.0.99")
    await visitor.come_in("root")
    return visitor
