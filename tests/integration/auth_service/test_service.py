"""The service as a whole: probes, OpenAPI, commits, and what the database lets each service see."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import httpx
import psycopg
import pytest
from fastapi import FastAPI
from prometheus_client import generate_latest
from sqlalchemy import text
from starlette.types import Message, Receive, Scope, Send

from auth_service.app import create_app
from auth_service.config import AuthSettings
from auth_service.context import AppContext, build
from thorax.version import VERSION

from .conftest import PASSWORD, Visitor

NOWHERE = "postgresql+psycopg://thorax@127.0.0.1:1/thorax"


class TestProbes:
    """In an app of its own, since its refreshing task dies."""

    @pytest.fixture
    def change(self) -> dict[str, Any]:
        return {"cookie_secure": True}

    async def test_probes(self, visitor: Visitor, app: FastAPI, context: AppContext) -> None:
        assert (await visitor.get("/healthz")).json() == {"status": "alive", "version": VERSION}
        assert (await visitor.get("/readyz")).json() == {"ready": True, "missing": []}
        assert (await visitor.get("/metrics")).status_code == 404
        context.keyring.load([])
        unready = await visitor.get("/readyz")
        assert (unready.status_code, unready.json()["missing"]) == (503, ["signing key"])
        assert unready.headers["Retry-After"] == "2"
        app.state.refresher.cancel()
        await asyncio.wait([app.state.refresher])
        assert (await visitor.get("/healthz")).status_code == 503


async def test_a_replica_whose_database_is_away_stays_ready(
    visitor: Visitor, context: AppContext, settings: dict[str, Any]
) -> None:
    """Else all replicas would leave their load balancer at once, and its own page would answer."""
    away = build(AuthSettings.model_validate({**settings, "database_url": NOWHERE}))
    app = create_app(replace(away, keyring=context.keyring))
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        Visitor(transport=transport, base_url="http://thorax.test") as other,
    ):
        assert (await other.get("/readyz")).json() == {"ready": True, "missing": []}
        keys = [await each.get("/auth/.well-known/jwks.json") for each in (visitor, other)]
        assert (keys[1].status_code, keys[1].json()) == (200, keys[0].json())
        login = await other.token(username="ada", password=PASSWORD)
        assert (login.status_code, login.headers["Retry-After"]) == (503, "2")


async def test_every_endpoint_is_documented_with_its_errors(visitor: Visitor) -> None:
    document = (await visitor.get("/auth/openapi.json")).json()
    operations = [(p, m, o) for p, ms in document["paths"].items() for m, o in ms.items()]
    assert len(operations) >= 20
    for path, method, operation in operations:
        assert operation.get("description"), (path, method)
        errors = [status for status in operation["responses"] if status.startswith(("4", "5"))]
        assert errors, (path, method)
        for status in errors:
            kinds = set(operation["responses"][status]["content"])
            oauth = path == "/auth/token" and status != "422"  # RFC 6749 has its own form
            expected = {"application/json" if oauth else "application/problem+json"}
            expected |= {"application/problem+json"} if status == "400" else set()
            assert kinds == expected, (path, status)


async def test_a_foreign_or_missing_id_is_a_problem_document(visitor: Visitor) -> None:
    for method, path in (("GET", "/auth/nothing"), ("PUT", "/auth/me"), ("GET", "/auth/me")):
        answer = await visitor.request(method, path)
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert {"code", "title", "detail", "remedy", "instance"} <= set(answer.json())
    assert (await visitor.put("/auth/me")).headers["Allow"] == "GET, DELETE, HEAD, OPTIONS"
    assert 'route="/auth/me"' in generate_latest().decode()


async def test_what_is_answered_is_committed(app: FastAPI, context: AppContext) -> None:
    """FastAPI runs a dependency's exit after the answer by default; ours has to run before."""
    seen: list[int] = []

    async def watched(scope: Scope, receive: Receive, send: Send) -> None:
        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                async with context.engine.connect() as connection:
                    seen.append(await connection.scalar(text("select count(*) from auth.users")) or 0)
            await send(message)

        await app(scope, receive, sending)

    async with Visitor(transport=httpx.ASGITransport(watched), base_url="http://thorax.test") as visitor:
        await visitor.sign_up("ada")
    assert seen == [1]


@pytest.mark.parametrize("role", ["thorax_gateway", "thorax_worker", "thorax_aggregator"])
def test_other_services_can_not_read_the_schema(auth_url_as: Callable[[str], str], role: str) -> None:
    with psycopg.connect(auth_url_as(role).replace("+psycopg", "")) as connection:
        for table in ("users", "signing_keys", "refresh_tokens"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(f"select * from auth.{table}")
            connection.rollback()


def test_auth_service_can_not_read_studies(auth_url_as: Callable[[str], str]) -> None:
    with psycopg.connect(auth_url_as("thorax_auth").replace("+psycopg", "")) as connection:
        for table in ("studies", "jobs", "predictions"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(f"select * from public.{table}")
            connection.rollback()
