"""The one way to a process's settings: mistakes named, values never shown, misspelt names found."""

import importlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import ValidationError
from pydantic_settings import BaseSettings

from auth_service.config import AuthSettings
from gateway.config import GatewaySettings
from local_stack.settings import LocalSettings
from thorax.settings import SECRETS_DIR, VARIABLES, Settings, load, variables

ROOT = Path(__file__).parents[3]
URL = "postgresql+psycopg://user:p%40ss@host:5432/thorax"
OF_TESTS = {
    "TEST_DATA",
    "CHAOS",
    "PAGE_BUNDLE",
    "PAGE_STATE",
    "POOLER_REQUESTS",
    "TEST_RELEASE",
}


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.upper().startswith("THORAX_") or name == "PORT":
            monkeypatch.delenv(name)


@pytest.fixture
def mistakes(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """`mistakes(GatewaySettings, THORAX_PORT="x")`: the lines that end a process with these variables."""

    def found(settings: type[BaseSettings], **env: str) -> list[str]:
        for name, value in env.items():
            monkeypatch.setenv(name, value)
        with pytest.raises(SystemExit) as caught:
            load(settings)
        return str(caught.value.code).splitlines()

    return found


Mistakes = Callable[..., list[str]]


def classes(base: type[BaseSettings]) -> set[type[BaseSettings]]:
    return {base} | {found for each in base.__subclasses__() for found in classes(each)}


def test_the_list_of_variables_is_that_of_all_processes() -> None:
    for config in ROOT.glob("*/src/*/**/config.py"):
        importlib.import_module(".".join(config.relative_to(ROOT).with_suffix("").parts[2:]))
    found = {SECRETS_DIR, *(f"THORAX_{name}" for name in OF_TESTS)}
    for settings in classes(Settings) | {LocalSettings}:
        for field in settings.model_fields:
            found |= {name for name in variables(settings, field) if name.startswith("THORAX_")}
    assert found == VARIABLES, "list each variable in thorax/settings.py"


def test_good_settings_are_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "thorax_database_url").write_text(f"{URL}\n")
    (tmp_path / "auth_secret").write_text("of another kind")
    monkeypatch.setenv(SECRETS_DIR, str(tmp_path))
    monkeypatch.setenv("THORAX_LOG_LEVEL", "warning")
    monkeypatch.setenv("THORAX_SIGN_UP", "closed")  # auth-service's, in a ConfigMap of all
    settings = load(GatewaySettings)
    assert (settings.database_url.get_secret_value(), settings.log_level) == (URL, "WARNING")


@pytest.mark.parametrize(
    "url",
    [
        "",
        "hidden",
        "postgresql://user:hidden@host/thorax",
        "postgresql+psycopg://user:pw@host:hid/den",
        "postgresql+psycopg://user:hid@den@host:hidden/thorax",
    ],
)
def test_a_wrong_database_url_is_not_shown(mistakes: Mistakes, url: str) -> None:
    (line,) = mistakes(Settings, THORAX_DATABASE_URL=url)
    assert line.startswith("THORAX_DATABASE_URL is not valid. Expected: a URL")
    assert "hid" not in line


@pytest.mark.parametrize(
    "url",
    [
        "",
        "hidden",
        "amqp://:hidden@host/0",
        "redis://:hid/den@host:6379/0",
        "redis://user:1/hidden@host:6379/0",
        "redis://:hid#den@host:6379/0",
        "redis://:hid?den@host:6379/0",
        "redis://host:6379/hidden",
    ],
)
def test_a_wrong_broker_url_is_not_shown(mistakes: Mistakes, url: str) -> None:
    (line,) = mistakes(Settings, THORAX_DATABASE_URL=URL, THORAX_REDIS_URL=url)
    assert line.startswith("THORAX_REDIS_URL is not valid. Expected: a URL")
    assert "hid" not in line


@pytest.mark.parametrize(
    "url", ["redis://host", "redis://:p%2Fss@host:6379/0", "rediss://user:pw@[::1]:6380/3?ssl_cert_reqs=none"]
)
def test_a_good_broker_url_is_taken(url: str) -> None:
    settings = Settings.model_validate({"database_url": URL, "redis_url": url})
    assert settings.redis_url.get_secret_value() == url


def test_a_url_of_auth_service_is_http() -> None:
    with pytest.raises(ValidationError):
        GatewaySettings.model_validate({"database_url": URL, "auth_url": "auth-service:8001"})


def test_the_name_is_the_one_that_was_typed(mistakes: Mistakes) -> None:
    assert mistakes(LocalSettings, PORT="99999") == [
        "PORT is not valid. Expected: less than or equal to 65535."
    ]


def test_a_list_has_one_line(mistakes: Mistakes) -> None:
    (line,) = mistakes(GatewaySettings, THORAX_DATABASE_URL=URL, THORAX_TRUSTED_PROXIES="any,where")
    assert line.startswith("THORAX_TRUSTED_PROXIES is not valid. Expected: comma-separated networks")


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("THORAX_SIGN_UPS", "THORAX_SIGN_UP"),
        ("THORAX_MAX_FILE", "THORAX_MAX_FILES"),
        ("thorax_isuer", "THORAX_ISSUER"),
    ],
)
def test_a_misspelt_name_is_reported_with_the_nearest(mistakes: Mistakes, typed: str, meant: str) -> None:
    (line,) = mistakes(Settings, THORAX_DATABASE_URL=URL, **{typed: "hidden"})
    assert line == f"{typed} is not a setting. Did you mean {meant}?"


def test_a_misspelt_secret_is_reported_too(mistakes: Mistakes, tmp_path: Path) -> None:
    (tmp_path / "thorax_databse_url").write_text(URL)
    lines = mistakes(Settings, THORAX_SECRETS_DIR=str(tmp_path))
    assert "thorax_databse_url is not a setting. Did you mean THORAX_DATABASE_URL?" in lines


def test_service_variables_of_kubernetes_are_not_misspelt_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THORAX_DATABASE_URL", URL)
    for name in (
        "SERVICE_HOST",
        "SERVICE_PORT",
        "SERVICE_PORT_HTTP",
        "PORT",
        "PORT_80_TCP",
        "PORT_80_TCP_ADDR",
    ):
        monkeypatch.setenv(f"THORAX_GATEWAY_{name}", "tcp://10.0.0.1:80")
    load(Settings)


@pytest.mark.parametrize("place", ["missing", "file"])
def test_a_missing_secrets_folder_is_reported_in_one_line(
    mistakes: Mistakes, tmp_path: Path, place: str
) -> None:
    (tmp_path / "file").touch()
    (line,) = mistakes(Settings, THORAX_SECRETS_DIR=str(tmp_path / place))
    assert line.startswith("THORAX_SECRETS_DIR cannot be read: ")


@pytest.mark.skipif(os.getuid() == 0, reason="root may read everything")
def test_a_secrets_folder_of_somebody_else_is_one_line(mistakes: Mistakes, tmp_path: Path) -> None:
    tmp_path.chmod(0)
    (line,) = mistakes(Settings, THORAX_SECRETS_DIR=str(tmp_path))
    assert line == "THORAX_SECRETS_DIR cannot be read: Permission denied."


@pytest.mark.parametrize("text", [None, "too short"])
def test_the_signing_secret_has_to_be_one(mistakes: Mistakes, tmp_path: Path, text: str | None) -> None:
    file = tmp_path / "secret"
    if text is not None:
        file.write_text(text)
    (line,) = mistakes(AuthSettings, THORAX_DATABASE_URL=URL, THORAX_AUTH_SECRET_FILE=str(file))
    assert line.startswith("THORAX_AUTH_SECRET_FILE is not valid. Expected: a ")
    assert text is None or text not in line
