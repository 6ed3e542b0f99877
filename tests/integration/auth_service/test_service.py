"""The service as a whole: probes, OpenAPI, what other roles see in the database, what the logs contain, the commands."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from fastapi import FastAPI
from sqlalchemy import text
from starlette.types import Message, Receive, Scope, Send

from auth_service.parts import Parts
from local_stack.server import free_port
from thorax.version import VERSION

from .conftest import PASSWORD, Visitor

COMMAND = [sys.executable, "-m", "auth_service"]


async def test_probes(visitor: Visitor, app: FastAPI, parts: Parts) -> None:
    assert (await visitor.get("/healthz")).json() == {"status": "alive", "version": VERSION}
    assert (await visitor.get("/readyz")).json() == {"ready": True, "missing": []}
    assert "thorax_http_requests_total" in (await visitor.get("/metrics")).text
    parts.keyring.load([])
    unready = await visitor.get("/readyz")
    assert (unready.status_code, unready.json()["missing"]) == (503, ["signing key"])
    app.state.keeper.cancel()
    await visitor.get("/readyz")
    assert (await visitor.get("/healthz")).status_code == 503


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
            assert kinds == {"application/json" if oauth else "application/problem+json"}, (path, status)


async def test_every_foreign_or_missing_thing_is_a_problem_document(visitor: Visitor) -> None:
    for method, path in (("GET", "/auth/nothing"), ("PUT", "/auth/me"), ("GET", "/auth/me")):
        answer = await visitor.request(method, path)
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert {"code", "title", "detail", "remedy", "instance"} <= set(answer.json())
    assert (await visitor.put("/auth/me")).headers["Allow"] == "GET, DELETE"
    assert 'route="/auth/me"' in (await visitor.get("/metrics")).text


async def test_what_is_answered_is_committed(app: FastAPI, parts: Parts) -> None:
    """FastAPI runs a dependency's exit after the answer by default; ours has to run before."""
    seen: list[int] = []

    async def watched(scope: Scope, receive: Receive, send: Send) -> None:
        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                async with parts.engine.connect() as connection:
                    seen.append(await connection.scalar(text("select count(*) from auth.users")) or 0)
            await send(message)

        await app(scope, receive, sending)

    async with Visitor(transport=httpx.ASGITransport(watched), base_url="http://thorax.test") as visitor:
        await visitor.sign_up("ada")
    assert seen == [1]


@pytest.mark.parametrize("role", ["thorax_gateway", "thorax_worker", "thorax_aggregator"])
def test_other_services_can_not_read_the_schema(url_as: Callable[[str], str], role: str) -> None:
    with psycopg.connect(url_as(role).replace("+psycopg", "")) as connection:
        for table in ("users", "signing_keys", "refresh_tokens"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(f"select * from auth.{table}")
            connection.rollback()


def test_auth_service_can_not_read_studies(url_as: Callable[[str], str]) -> None:
    with psycopg.connect(url_as("thorax_auth").replace("+psycopg", "")) as connection:
        for table in ("studies", "jobs", "predictions"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(f"select * from public.{table}")
            connection.rollback()


Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def environment(url_as: Callable[[str], str], secret_file: Path) -> dict[str, str]:
    own = {
        "THORAX_DATABASE_URL": url_as("thorax_auth"),
        "THORAX_AUTH_SECRET_FILE": str(secret_file),
        "THORAX_AUTH_PORT": str(free_port()),
        "THORAX_COOKIE_SECURE": "false",
    }
    return {**os.environ, **own}


@pytest.fixture
def run(environment: dict[str, str]) -> Run:
    def command(*arguments: str, **options: Any) -> "subprocess.CompletedProcess[str]":
        env = environment | options.pop("env", {})
        return subprocess.run(
            [*COMMAND, *arguments],
            env=env,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            **options,
        )

    return command


@pytest.fixture
def served(environment: dict[str, str], tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """The service as a process of its own: its URL and its log."""
    log, base = tmp_path / "log", f"http://127.0.0.1:{environment['THORAX_AUTH_PORT']}"
    with log.open("wb") as file:
        process = subprocess.Popen([*COMMAND, "serve"], env=environment, stdout=file, stderr=file)
    try:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline and process.poll() is None:
            try:
                if httpx.get(f"{base}/readyz").status_code == 200:
                    break
            except httpx.TransportError:
                time.sleep(0.1)
        yield base, log
    finally:
        process.terminate()
        assert process.wait(10) is not None


def test_over_loopback_from_the_first_admin_to_logout(served: tuple[str, Path], run: Run) -> None:
    base, log = served
    made = run("create-admin", "--name", "root", input=f"{PASSWORD}\n")
    assert (made.returncode, made.stdout) == (0, "The administrator was created.\n"), made.stderr
    with httpx.Client(
        base_url=base, headers={"X-Request-Id": "0e0f8f3e-5a0e-4d0e-9d67-3b0c7f2b6a11"}
    ) as client:
        signed_up = client.post("/auth/register", json={"name": "ada@x.example", "password": PASSWORD})
        assert signed_up.status_code == 201, signed_up.text
        form = {"grant_type": "password", "username": "root", "password": PASSWORD}
        tokens = client.post("/auth/token", data=form).json()
        client.headers["Authorization"] = f"Bearer {tokens['access_token']}"
        names = [user["name"] for user in client.get("/auth/users").json()["items"]]
        assert names == ["ada@x.example", "root"]
        secret = client.post("/auth/clients", json={"name": "PACS"}).json()["secret"]
        assert run("rotate-keys").returncode == 0
        wrong = form | {"password": "a wrong passphrase"}
        assert client.post("/auth/token", data=wrong).status_code == 400
        client.get("/auth/users", params={"cursor": "planted-in-the-query"})
        assert client.post("/auth/logout").status_code == 204
    told = log.read_text()
    assert "login_failed" in told
    planted = (PASSWORD, "a wrong passphrase", secret, tokens["access_token"], tokens["refresh_token"])
    for hidden in (*planted, "ada@x.example", "planted-in-the-query", "PRIVATE KEY"):
        assert hidden not in told


def test_create_admin_is_idempotent_and_keeps_the_password(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text(f"{PASSWORD}\n")
    env = {"THORAX_ADMIN_PASSWORD_FILE": str(file)}
    answers = [run("create-admin", "--name", "Root", env=env) for _ in range(2)]
    assert [a.returncode for a in answers] == [0, 0]
    assert answers[1].stdout == "The administrator exists.\n"
    assert not any(PASSWORD in a.stdout + a.stderr for a in answers)


def test_create_admin_does_not_promote_a_stranger(served: tuple[str, Path], run: Run) -> None:
    base, _ = served
    for name in ("squatter", "friend"):
        account = {"name": name, "password": PASSWORD}
        assert httpx.post(f"{base}/auth/register", json=account, timeout=30).status_code == 201
    refused = run("create-admin", "--name", "squatter", input="quite another passphrase\n")
    assert refused.returncode == 1
    assert "--promote" in refused.stderr
    assert run("create-admin", "--name", "friend", input=f"{PASSWORD}\n").returncode == 0
    assert run("create-admin", "--name", "squatter", "--promote", input="any passphrase\n").returncode == 0


def test_what_an_operator_can_mend_is_one_sentence(run: Run, tmp_path: Path) -> None:
    weak = run("create-admin", "--name", "root", input="short\n")
    missing = run("rotate-keys", env={"THORAX_AUTH_SECRET_FILE": str(tmp_path / "none")})
    proxies = run("rotate-keys", env={"THORAX_TRUSTED_PROXIES": "everyone"})
    away = run(
        "rotate-keys", env={"THORAX_DATABASE_URL": f"postgresql+psycopg://u:hidden@127.0.0.1:{free_port()}/x"}
    )
    for answer, word in (
        (weak, "12"),
        (missing, "SECRET_FILE"),
        (proxies, "TRUSTED_PROXIES"),
        (away, "database"),
    ):
        assert answer.returncode == 1
        assert re.search(word, answer.stderr), answer.stderr
        assert "Traceback" not in answer.stderr
        assert "hidden" not in answer.stderr
