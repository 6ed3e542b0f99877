"""The `thorax` command: migrate the database; check, register, activate and compare bundles."""

import sys
from datetime import UTC, datetime, timedelta
from importlib.metadata import entry_points
from pathlib import Path

import click

from thorax import schema
from thorax.commands.admin.command import admin
from thorax.commands.backup.command import backup
from thorax.commands.bundles import bundle, publish
from thorax.errors import CodedError
from thorax.settings import Settings, load
from thorax.storage import BlobStore


class Commands(click.Group):
    """This package's own commands, and those of the packages beside it: entry points of the group `thorax.commands`."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*super().list_commands(ctx), *entry_points(group="thorax.commands").names})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        for found in entry_points(group="thorax.commands", name=cmd_name):
            command: click.Command = found.load()
            return command
        return super().get_command(ctx, cmd_name)


@click.group(cls=Commands)
def cli() -> None:
    """Thorax: operate the platform from a shell."""


cli.add_command(admin)
cli.add_command(backup)
cli.add_command(bundle)


@cli.command()
@click.option("--bundle", "folder", type=click.Path(path_type=Path), help="Then make it the default.")
def migrate(folder: Path | None) -> None:
    """Bring the database at THORAX_DATABASE_URL to the newest schema."""
    schema.migrate(load(Settings).database_url.get_secret_value())
    click.echo("The database has the newest schema.")
    if folder is not None:
        publish(folder, activate=True)


@cli.command("mark-restored")
@click.option("--days", default=7, show_default=True, help="For how long.")
def mark_restored(days: int) -> None:
    """Keep the images that a restored database does not know. Run it before the sweeper starts again.

    They are younger than the dump; the sweeper would take them for remains of broken uploads and erase them.
    """
    until = datetime.now(UTC) + timedelta(days=days)
    BlobStore(load(Settings).blobs).keep_unknown(until)
    click.echo(f"Images that the database does not know are kept until {until:%Y-%m-%d %H:%M} UTC.")


@cli.command("wait-for-schema")
@click.option("--timeout", default=600, show_default=True, help="Seconds after which to give up.")
def wait_for_schema(timeout: int) -> None:
    """Wait until the database has the schema that this version needs; code 1 when the time is up."""
    settings = load(Settings)
    url, pooled = settings.database_url.get_secret_value(), settings.database_pooled
    if not schema.wait_for_schema(url, pooled=pooled, timeout_s=timeout):
        raise click.ClickException("The database does not have this version's schema. Run `thorax migrate`.")
    click.echo("The database has this version's schema.")


def main() -> None:
    """Run the command; coded errors are one sentence, not a traceback."""
    try:
        cli(standalone_mode=True)
    except CodedError as error:
        click.echo(f"{error.detail} {error.code.remedy}", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
