"""Each process, really started, says each mistake in its settings in one line, and never shows a value."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import click
import pytest

from tests.factories.forked import ended
from thorax.commands import cli

PROCESSES = {
    "gateway": ["gateway"],
    "auth-service": ["auth_service"],
    "model-worker": ["model_worker"],
    "aggregator": ["aggregator"],
    "sweeper": ["aggregator.sweeper"],
    "thorax": ["thorax.commands.cli", "migrate"],
    "thorax-local": ["local_stack", "run"],
}
OPTIONAL = "redis://:password@host:port/0"
BROKER = (
    "THORAX_REDIS_URL is not valid. Expected: a URL, with special characters of the password written as %XX"
)


def start(name: str, cwd: Path, **settings: str) -> "subprocess.CompletedProcess[str]":
    kept = {name: value for name, value in os.environ.items() if not name.startswith("THORAX_")}
    return ended(*PROCESSES[name], env=kept | settings, cwd=cwd, timeout=120)


@pytest.mark.parametrize("name", PROCESSES)
def test_each_mistake_is_one_line_without_values(name: str, tmp_path: Path) -> None:
    said = start(
        name,
        tmp_path,
        THORAX_REDIS_URL="redis://:hid/den@broker:6379/0",
        THORAX_DATABSE_URL="postgresql+psycopg://user:hidden@host/thorax",
        THORAX_LOG_LEVEL="hidden",
        THORAX_PORT="hidden",
    )
    expected = {
        BROKER + (f" ({OPTIONAL})." if name != "thorax-local" else "."),
        "THORAX_DATABSE_URL is not a setting. Did you mean THORAX_DATABASE_URL?",
    }
    if name != "thorax-local":  # it brings a database, and its processes' levels are their own
        expected |= {
            "THORAX_DATABASE_URL is missing. Expected: postgresql+psycopg://user:password@host:port/database.",
            "THORAX_LOG_LEVEL is not valid. Expected: 'DEBUG', 'INFO', 'WARNING', 'ERROR' or 'CRITICAL'.",
        }
    if name in ("gateway", "thorax-local"):
        expected.add("THORAX_PORT is not valid. Expected: a valid integer.")
    if name == "auth-service":
        expected.add(
            "THORAX_AUTH_SECRET_FILE is missing. Expected: a file with the secret that encrypts the signing keys."
        )
    assert (said.returncode, said.stdout) == (1, "")
    assert set(said.stderr.splitlines()) == expected
    assert "hid" not in said.stderr


def test_a_secret_that_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "thorax_redis_url").mkdir()  # as a bind mount of a missing file makes it
    said = start("aggregator", tmp_path, THORAX_SECRETS_DIR=str(tmp_path))
    line = "The file thorax_redis_url in THORAX_SECRETS_DIR cannot be read: Is a directory.\n"
    assert (said.returncode, said.stdout, said.stderr) == (1, "", line)


@pytest.mark.parametrize("words", [("backup", "create", "there"), ("bundle", "list"), ("migrate",)])
def test_a_database_that_is_away_is_one_line(words: tuple[str, ...], tmp_path: Path) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"postgresql+psycopg://thorax:hidden@127.0.0.1:{closed.getsockname()[1]}/thorax"
        env = {**os.environ, "THORAX_DATABASE_URL": url, "THORAX_BLOBS": str(tmp_path)}
        said = ended("thorax.commands.cli", *words, env=env, cwd=tmp_path)
    [line] = said.stderr.splitlines()
    assert (said.returncode, said.stdout) == (1, "")
    assert line.startswith("The database did not answer:") and "hidden" not in line


def test_help_and_analyze_wait_for_no_database_library() -> None:
    code = """if True:
    import sys
    from thorax.commands.cli import cli
    for words in (["--help"], ["analyze", "--help"]):
        cli(words, standalone_mode=False)
    assert not {"psycopg", "sqlalchemy"} & sys.modules.keys()
    """
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_help_says_of_each_command_what_it_says_itself() -> None:
    commands, context = cli.Commands(), click.Context(cli.cli)
    for name, (_, said) in cli.OWN.items():
        command = commands.get_command(context, name)
        assert command and command.name == name
        assert said.removesuffix(".") in (command.help or ""), name
