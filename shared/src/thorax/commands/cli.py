"""The `thorax` command: migrate the database; check, register, activate and compare bundles."""

import sys
from pathlib import Path

import click

from thorax import database
from thorax.commands.bundles import bundle, publish
from thorax.errors import CodedError
from thorax.settings import Settings


@click.group()
def cli() -> None:
    """Thorax: operate the platform from a shell."""


cli.add_command(bundle)


@cli.command()
@click.option("--bundle", "folder", type=click.Path(path_type=Path), help="Then make it the default.")
def migrate(folder: Path | None) -> None:
    """Bring the database at THORAX_DATABASE_URL to the newest schema."""
    database.migrate(Settings().database_url.get_secret_value())
    click.echo("The database has the newest schema.")
    if folder is not None:
        publish(folder, activate=True)


def main() -> None:
    """Run the command; coded errors are one sentence, not a traceback."""
    try:
        cli(standalone_mode=True)
    except CodedError as error:
        click.echo(f"{error.detail} {error.code.remedy}", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
