"""The commands: a served process from the first administrator to logout, and what an operator is told."""

import asyncio
import io
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
from tests.factories.forked import Forked, ended
from tests.factories.patience import PATIENCE_S, until

from auth_service.__main__ import main
from local_stack.server import free_port

from .conftest import PASSWORD, Visitor

COMMAND = [sys.executable, "-m", "auth_service"]


class Outcome(NamedTuple):
    returncode: int
    stdout: str
    stderr: str


Run = Callable[..., Outcome]


@pytest.fixture
def environment(settings: dict[str, Any], empty_database: None) -> dict[str, str]:
    return {f"THORAX_{name.upper()}": str(value) for name, value in settings.items()}


@pytest.fixture
def run(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Run:
    """Runs a command in this process: starting a new one costs more than all that it does."""

    def command(*arguments: str, input: str = "", env: dict[str, str] | None = None) -> Outcome:
        with monkeypatch.context() as patch:
            for name, value in (environment | (env or {})).items():
                patch.setenv(name, value)
            patch.setattr(sys, "argv", ["auth-service", *arguments])
            patch.setattr(sys, "stdin", io.StringIO(input))
            with pytest.raises(SystemExit) as caught:
                main()
        said, code = capsys.readouterr(), caught.value.code
        if isinstance(code, str):  # which Python would print
            return Outcome(1, said.out, said.err + code)
        return Outcome(code or 0, said.out, said.err)

    return command


@pytest.fixture
def served(environment: dict[str, str], tmp_path: Path) -> Iterator[tuple[str, Path, dict[str, str]]]:
    """The service as a process of its own: its URL, its log, its environment."""
    port = str(free_port())
    env, log, base = (
        {**os.environ, **environment, "THORAX_AUTH_PORT": port},
        tmp_path / "log",
        f"http://127.0.0.1:{port}",
    )
    process = Forked("auth_service", "serve", env=env, stdout=log)
    try:
        with httpx.Client(base_url=base, verify=False) as client:

            def ready() -> bool:
                assert process.poll() is None, log.read_text()
                with suppress(httpx.TransportError):
                    return client.get("/readyz").status_code == 200
                return False

            until(ready, log.read_text)
        yield base, log, env
    finally:
        process.terminate()
        assert process.wait(PATIENCE_S) is not None


@pytest.mark.slow
def test_over_loopback_from_the_first_admin_to_logout(served: tuple[str, Path, dict[str, str]]) -> None:
    base, log, env = served

    def command(*arguments: str, **options: Any) -> "subprocess.CompletedProcess[str]":
        line = [*COMMAND, *arguments]
        return subprocess.run(
            line, env=env, capture_output=True, text=True, timeout=PATIENCE_S, check=False, **options
        )

    made = command("create-admin", "--name", "root", input=f"{PASSWORD}\n")
    assert (made.returncode, made.stdout) == (0, "The administrator was created.\n"), made.stderr
    request_id = {"X-Request-Id": "0e0f8f3e-5a0e-4d0e-9d67-3b0c7f2b6a11"}
    with httpx.Client(base_url=base, headers=request_id, verify=False) as client:
        signed_up = client.post("/auth/register", json={"name": "ada@x.example", "password": PASSWORD})
        assert signed_up.status_code == 201, signed_up.text
        form = {"grant_type": "password", "username": "root", "password": PASSWORD}
        tokens = client.post("/auth/token", data=form).json()
        client.headers["Authorization"] = f"Bearer {tokens['access_token']}"
        names = [user["name"] for user in client.get("/auth/users").json()["items"]]
        assert names == ["ada@x.example", "root"]
        secret = client.post("/auth/clients", json={"name": "PACS"}).json()["secret"]
        assert command("rotate-keys").returncode == 0
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


async def test_create_admin_does_not_promote_another_account(visitor: Visitor, run: Run) -> None:
    async def create(*arguments: str, **options: str) -> Outcome:
        return await asyncio.to_thread(run, "create-admin", "--name", *arguments, **options)

    for name in ("squatter", "friend"):
        await visitor.sign_up(name)
    refused = await create("squatter", input="quite another passphrase\n")
    assert refused.returncode == 1
    assert "--promote" in refused.stderr
    assert (await create("friend", input=f"{PASSWORD}\n")).returncode == 0
    assert (await create("squatter", "--promote", input="any passphrase\n")).returncode == 0


def test_an_error_that_an_operator_can_correct_is_one_sentence(run: Run, tmp_path: Path) -> None:
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


def test_another_secret_ends_the_service_with_one_sentence(
    environment: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "other").write_text("another secret of thirty-two characters")
    env = {**os.environ, **environment, "THORAX_AUTH_SECRET_FILE": str(tmp_path / "other")}
    said = ended("auth_service", "serve", env=env)
    sentence = "The signing keys were encrypted with another secret. Restore THORAX_AUTH_SECRET_FILE.\n"
    assert (said.returncode, said.stderr) == (1, sentence)
