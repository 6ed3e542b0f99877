"""One auth-service and one database for all tests of this folder, emptied before each; clients from addresses that the test chooses.

What a test or a fixture here awaits runs in one event loop, as the shared app's connections belong to it.
"""

import itertools
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
import pytest_asyncio
from cryptography.hazmat.primitives.asymmetric import rsa
from fastapi import FastAPI
from sqlalchemy import insert, select
from tests.factories.stores import Postgres, login

from auth_service.accounts.service import create_admin
from auth_service.app import create_app
from auth_service.config import AuthSettings
from auth_service.context import AppContext, build
from auth_service.keys.service import load_keys
from auth_service.models import Base, SigningKey

PASSWORD = "correct horse battery"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent) and pytest_asyncio.is_async_test(item):
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


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


@pytest.fixture(scope="session", autouse=True)
def _quick_keys() -> Iterator[None]:
    """A few real keys, over and over: making one takes a tenth of a second or more."""
    keys = itertools.cycle([rsa.generate_private_key(public_exponent=65537, key_size=2048) for _ in range(4)])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rsa, "generate_private_key", lambda **_: next(keys))
        yield


@pytest.fixture(scope="session")
def auth_url_as(postgres: Postgres, _template: str) -> Callable[[str], str]:
    """`auth_url_as("thorax_auth")`: the database of this folder, seen with the rights of one service's role."""
    with psycopg.connect(postgres.dsn("postgres"), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE auth_tests TEMPLATE {_template} STRATEGY file_copy")
    return lambda role: login(postgres, "auth_tests", role)


@pytest.fixture(scope="session")
def secret_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("auth") / "auth-secret"
    file.write_text("a secret of at least thirty-two characters\n")
    return file


@pytest.fixture(scope="session")
def settings(auth_url_as: Callable[[str], str], secret_file: Path) -> dict[str, Any]:
    """What the service runs with here: each password is hashed at the least cost."""
    return {
        "database_url": auth_url_as("thorax_auth"),
        "auth_secret_file": secret_file,
        "cookie_secure": False,
        "password_memory_kib": 8,
        "password_time_cost": 1,
    }


@asynccontextmanager
async def running(settings: dict[str, Any]) -> AsyncIterator[FastAPI]:
    app = create_app(build(AuthSettings.model_validate(settings)))
    async with app.router.lifespan_context(app):
        yield app


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def _shared_app(settings: dict[str, Any]) -> AsyncIterator[FastAPI]:
    async with running(settings) as app:
        app.state.refresher.cancel()  # or it might load keys in the middle of a test
        yield app


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def _first_key(_shared_app: FastAPI) -> dict[str, Any]:
    """The signing key that the service made when it started, as its row."""
    context: AppContext = _shared_app.state.context
    async with context.engine.connect() as connection:
        return dict((await connection.execute(select(SigningKey.__table__))).mappings().one())


@pytest_asyncio.fixture(loop_scope="session")
async def empty_database(_shared_app: FastAPI, _first_key: dict[str, Any]) -> None:
    """Nothing left of the tests before but the signing key: reading another one's PEM costs as much as ten requests."""
    context: AppContext = _shared_app.state.context
    tables = [table.fullname for table in reversed(Base.metadata.sorted_tables)]
    async with context.transaction() as tx:
        connection = await tx.db.connection()
        await connection.exec_driver_sql("; ".join(f"delete from {table}" for table in tables))
        await connection.execute(insert(SigningKey.__table__).values(_first_key))
        await load_keys(tx)


@pytest.fixture
def change() -> dict[str, Any]:
    """Override it to run with other settings, in an app of the test's own."""
    return {}


@pytest_asyncio.fixture(loop_scope="session")
async def app(
    _shared_app: FastAPI, empty_database: None, settings: dict[str, Any], change: dict[str, Any]
) -> AsyncIterator[FastAPI]:
    if not change:
        yield _shared_app
        return
    async with running(settings | change) as own:
        yield own


@pytest.fixture
def context(app: FastAPI) -> AppContext:
    found: AppContext = app.state.context
    return found


Visit = Callable[..., Visitor]
Audit = Callable[[str], list[str]]


@pytest.fixture
def audit(postgres: Postgres, app: FastAPI) -> Audit:
    """`audit(id)`: what the audit says was done to something, the first first."""

    def actions(subject: str) -> list[str]:
        with psycopg.connect(postgres.dsn("auth_tests")) as connection:
            rows = connection.execute("select action from audit where subject = %s order by id", [subject])
            return [action for (action,) in rows]

    return actions


@pytest_asyncio.fixture(loop_scope="session")
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


@pytest_asyncio.fixture(loop_scope="session")
async def admin(context: AppContext, visit: Visit) -> Visitor:
    """An administrator called `root`, logged in."""
    async with context.transaction() as tx:
        assert await create_admin(tx, "root", PASSWORD)
    visitor = visit("10.0.0.99")
    await visitor.come_in("root")
    return visitor
