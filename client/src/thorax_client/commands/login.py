"""`thorax login`, and what it leaves for the other commands: a machine client in a file that only its owner can read."""

import json
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from thorax_client.client import Client
from thorax_client.credentials import Credentials
from thorax_client.errors import ThoraxError

DEFAULT_URL = "http://127.0.0.1:8080"
PATIENCE_S = 10.0


@dataclass(frozen=True)
class Access:
    """Which platform, and who asks."""

    url: str
    credentials: Credentials

    def client(self) -> Client:
        """One for a person who waits: it soon gives up a platform that is away."""
        return Client(self.url, self.credentials, patience_s=PATIENCE_S)


def store() -> Path:
    """Where the login is kept."""
    return Path(click.get_app_dir("thorax")) / "login.json"


def access(url: str | None, token: str | None, anonymous: bool) -> Access:
    """What the options and the stored login say together. A login is only sent to the platform that it is for."""
    kept = _kept()
    base = (url or kept.get("url") or DEFAULT_URL).rstrip("/")
    if token:
        return Access(base, Credentials(token=token))
    if anonymous or kept.get("url") != base:
        return Access(base, Credentials())
    return Access(base, Credentials(client_id=kept["client_id"], client_secret=kept["client_secret"]))


def _kept() -> dict[str, str]:
    """The stored login; empty without one. ClickException for a file that is something else, as an interrupted login leaves it."""
    try:
        kept: dict[str, str] = json.loads(store().read_text())
        return {name: kept[name] for name in ("url", "client_id", "client_secret")}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise click.ClickException(f"{store()} is not a login. Run: thorax login") from error


def platform(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options that name a platform and who asks."""
    options: list[Callable[[Any], Any]] = [
        click.option("--url", help=f"The platform; by default that of `login`, or {DEFAULT_URL}."),
        click.option("--token", help="An access token instead of the stored login."),
        click.option("--anonymous", is_flag=True, help="Use the open API although there is a login."),
    ]
    for option in reversed(options):
        command = option(command)
    return command


@click.command()
@click.option("--url", default=DEFAULT_URL, show_default=True, help="The platform.")
@click.option("--user", prompt=True, help="Your name there.")
@click.password_option(confirmation_prompt=False, help="Asked for if left out.")
@click.option("--name", default=None, help="The machine client's name; by default this computer's.")
def login(url: str, user: str, password: str, name: str | None) -> None:
    """Make a machine client of your account, and keep its secret here for the other commands.

    The password is not kept. The account page lists the client, and ends it.
    """
    url = url.rstrip("/")
    try:
        with Access(url, Credentials(user=user, password=password)).client() as thorax:
            made = thorax.create_client(name or f"thorax on {socket.gethostname()}"[:100])
    except ThoraxError as error:
        raise click.ClickException(str(error)) from error
    path = store()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    path.touch(0o600, exist_ok=False)
    path.write_text(
        json.dumps({"url": url, "client_id": made.client_id, "client_secret": made.client_secret})
    )
    click.echo(f"Logged in to {url} as {user}. The login is kept in {path}.")
