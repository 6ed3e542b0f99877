"""The `auth-service` command: serve, rotate the signing keys, create the first administrator."""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TypeVar

import click
from sqlalchemy.exc import SQLAlchemyError

from auth_service.accounts.service import create_admin
from auth_service.app import SERVICE, create_app
from auth_service.config import AuthSettings
from auth_service.context import AppContext, Transaction, build
from auth_service.keys.service import load_keys, rotate_keys
from thorax import metrics
from thorax.database import require_usable
from thorax.errors import CodedError
from thorax.http.server import serve as run_server
from thorax.leaving import leave
from thorax.settings import load
from thorax.telemetry import configure

T = TypeVar("T")


@click.group(invoke_without_command=True)
@click.pass_context
def cli(context: click.Context) -> None:
    """Accounts, sessions, machine clients and signing keys. Without a command it serves."""
    if context.invoked_subcommand is None:
        context.invoke(serve)


@cli.command()
def serve() -> None:
    """Serve /auth at THORAX_AUTH_HOST and THORAX_AUTH_PORT."""
    settings = load(AuthSettings)
    configure(SERVICE, level=settings.log_level, form=settings.log_format)
    metrics.serve(settings)
    require_usable(settings.database_url.get_secret_value(), pooled=settings.database_pooled)
    context = build(settings)
    with suppress(SQLAlchemyError):  # it waits for a database that is away, but not for the right secret
        _in_transaction(context, load_keys)
    run_server(create_app(context), settings.auth_host, settings.auth_port, grace_s=settings.grace_s)
    leave()


@cli.command("rotate-keys")
@click.option("--compromised", is_flag=True, help="End the old keys and all access tokens within minutes.")
def rotate_command(compromised: bool) -> None:
    """Publish a new signing key now, sign with it in ten minutes, retire the old one after its last token."""
    starts = _in_transaction(build(load(AuthSettings)), lambda tx: rotate_keys(tx, compromised=compromised))
    click.echo(f"The new key signs from {starts:%Y-%m-%d %H:%M:%S} UTC on.")


@cli.command("create-admin")
@click.option("--name", required=True, help="an e-mail address or a simple name")
@click.option("--promote", is_flag=True, help="Make the existing account of this name an administrator.")
def create_admin_command(name: str, promote: bool) -> None:
    """Make sure that NAME is an administrator.

    A new account gets the password from THORAX_ADMIN_PASSWORD_FILE or stdin. An administrator keeps the old one. Any
    other account of that name is refused unless the password is its own.
    """
    settings = load(AuthSettings)
    file = settings.admin_password_file
    password = (file.read_text() if file else sys.stdin.read()).rstrip("\r\n")
    created = _in_transaction(build(settings), lambda tx: create_admin(tx, name, password, promote=promote))
    click.echo("The administrator was created." if created else "The administrator exists.")


def _in_transaction(context: AppContext, work: Callable[[Transaction], Awaitable[T]]) -> T:
    async def run() -> T:
        try:
            async with context.transaction() as tx:
                return await work(tx)
        finally:
            await context.engine.dispose()

    return asyncio.run(run())


def main() -> None:
    """Run the command. An error that an operator can correct is one sentence, not a traceback."""
    try:
        cli()
    except CodedError as error:
        sys.exit(f"{error.detail} {error.code.remedy}")
    except (ValueError, OSError) as error:
        sys.exit(str(error))
    except SQLAlchemyError as error:
        sys.exit(f"The database did not answer: {type(error).__name__}.")


if __name__ == "__main__":
    main()
