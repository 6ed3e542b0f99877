"""Two replicas over one database are as strict as one, and a stopping one finishes what it has begun."""

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
import pytest_asyncio
from sqlalchemy import func, select
from tests.factories.forked import Forked
from tests.factories.patience import PATIENCE_S

from auth_service.accounts import queries
from auth_service.context import AppContext
from auth_service.models import LoginFailure
from local_stack.server import free_port

from .conftest import PASSWORD, Visitor, running

pytestmark = pytest.mark.slow


@pytest_asyncio.fixture(loop_scope="session")
async def pair(settings: dict[str, Any], visitor: Visitor) -> AsyncIterator[tuple[Visitor, Visitor]]:
    """Two visitors from one address, one at each replica."""
    async with running(settings) as replica:
        transport = httpx.ASGITransport(replica, client=("10.0.0.1", 40_000))
        async with Visitor(transport=transport, base_url="http://thorax.test") as other:
            yield visitor, other


async def test_thirty_guesses_at_two_replicas_are_five(pair: tuple[Visitor, Visitor]) -> None:
    one, _ = pair
    await one.sign_up("ada")
    guesses = (v.token(username="ada", password="wrong wrong wrong") for _ in range(15) for v in pair)
    answers = await asyncio.gather(*guesses)
    assert sorted(answer.status_code for answer in answers) == [400] * 5 + [429] * 25


async def test_a_name_is_taken_once_at_two_replicas(pair: tuple[Visitor, Visitor]) -> None:
    body = {"name": "ada", "password": PASSWORD}
    answers = await asyncio.gather(*(v.post("/auth/register", json=body) for _ in range(5) for v in pair))
    assert sorted(answer.status_code for answer in answers) == [201] + [409] * 9


async def test_a_refresh_token_works_once_at_two_replicas(pair: tuple[Visitor, Visitor]) -> None:
    one, _ = pair
    await one.sign_up("ada")
    token = (await one.tokens("ada"))["refresh_token"]
    uses = (v.token("refresh_token", refresh_token=token) for _ in range(5) for v in pair)
    answers = await asyncio.gather(*uses)
    assert sorted(answer.status_code for answer in answers) == [200] + [400] * 9


async def test_a_session_ends_at_both_replicas(pair: tuple[Visitor, Visitor]) -> None:
    one, other = pair
    await one.sign_up("ada")
    await one.come_in("ada")
    other.headers["Authorization"] = one.headers["Authorization"]
    assert (await other.get("/auth/me")).status_code == 200
    assert (await one.post("/auth/logout")).status_code == 204
    assert (await other.get("/auth/me")).status_code == 401


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not await condition():
            await asyncio.sleep(0.05)


async def test_a_login_that_has_begun_is_finished_after_sigterm(
    settings: dict[str, Any], visitor: Visitor, context: AppContext, tmp_path: Path
) -> None:
    account = await visitor.sign_up("ada")
    port, metrics = free_port(), free_port()
    own = {f"THORAX_{name.upper()}": str(value) for name, value in settings.items()}
    env = {**os.environ, **own, "THORAX_AUTH_PORT": str(port), "THORAX_GRACE_S": str(PATIENCE_S)}
    env["THORAX_METRICS_PORT"] = str(metrics)
    process = Forked("auth_service", env=env, stdout=tmp_path / "log")

    async def ready() -> bool:
        assert process.poll() is None, (tmp_path / "log").read_text()
        with suppress(httpx.TransportError):
            return (await client.get("/readyz")).status_code == 200
        return False

    async def attempted() -> bool:
        async with context.open_session() as session:
            return bool(await session.scalar(select(func.count()).select_from(LoginFailure)))

    async def closed() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) != 0

    try:
        async with Visitor(base_url=f"http://127.0.0.1:{port}") as client:
            await until(ready)
            assert (await client.get("/metrics")).status_code == 404
            counted = (await client.get(f"http://127.0.0.1:{metrics}/metrics")).text
            assert 'thorax_refusals_total{code="not_found"} 1.0' in counted
            async with context.transaction() as tx:  # the login has to wait for this row
                await queries.user(tx.db, UUID(account["id"]), lock=True)
                login = asyncio.create_task(client.token(username="ada", password=PASSWORD))
                await until(attempted)
                process.send_signal(signal.SIGTERM)
                await until(closed)
                assert not login.done()
            assert (await login).status_code == 200
        assert await asyncio.to_thread(process.wait, PATIENCE_S) in (0, -signal.SIGTERM)
    finally:
        process.kill()
        process.wait()
