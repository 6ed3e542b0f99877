"""The `thorax` command: migrate the database, check, register and activate bundles."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import click
import orjson
from pydantic import Field, SecretStr
from sqlalchemy import Connection, text

from thorax import database
from thorax.bundle import Bundle, load_bundle
from thorax.errors import CodedError
from thorax.settings import Settings


class CommandSettings(Settings):
    """The commands connect as the owner of the schema."""

    database_url: SecretStr = Field(description="postgresql+psycopg://owner:password@host:port/database")


@click.group()
def cli() -> None:
    """Thorax: operate the platform from a shell."""


@cli.command()
@click.option("--bundle", "folder", type=click.Path(path_type=Path), help="Then register and activate it.")
def migrate(folder: Path | None) -> None:
    """Bring the database at THORAX_DATABASE_URL to the newest schema."""
    database.migrate(CommandSettings().database_url.get_secret_value())
    click.echo("The database has the newest schema.")
    if folder is not None:
        _publish(folder, activate=True)


@cli.group()
def bundle() -> None:
    """Model bundles: check, register, activate."""


@bundle.command()
@click.argument("folder", type=click.Path(path_type=Path))
def check(folder: Path) -> None:
    """Read FOLDER's manifest and compare every graph with its sha256."""
    found = load_bundle(folder)
    for spec in found.manifest.backbones:
        found.graph(spec)
    click.echo(
        f"{found.manifest.name} {found.manifest.version}: {', '.join(found.names)}; digest {found.digest}"
    )


@bundle.command("import", context_settings={"ignore_unknown_options": True})
@click.argument("words", nargs=-1, type=click.UNPROCESSED)
def import_command(words: tuple[str, ...]) -> None:
    """Make a bundle of weights that exist (keras, torchxrayvision, described); needs the training package."""
    if importlib.util.find_spec("training") is None:
        raise click.ClickException("The training package is not installed here; docs/bundles.md says how.")
    sys.exit(subprocess.call([sys.executable, "-m", "training.importers", *words]))


@bundle.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--activate", is_flag=True, help="New jobs use it from now on.")
def register(folder: Path, activate: bool) -> None:
    """Make FOLDER's bundle known to the platform."""
    _publish(folder, activate=activate)


def _publish(folder: Path, *, activate: bool) -> None:
    found = load_bundle(folder)
    for spec in found.manifest.backbones:
        found.graph(spec)
    with database.engine(CommandSettings().database_url.get_secret_value()).begin() as connection:
        _register(connection, found)
        if activate:
            _activate(connection, found.digest)
    click.echo(f"Registered {found.manifest.name} {found.manifest.version} ({found.digest[:12]}).")


@bundle.command("activate")
@click.argument("digest")
def activate_command(digest: str) -> None:
    """Let new jobs use the registered bundle whose digest begins with DIGEST."""
    with database.engine(CommandSettings().database_url.get_secret_value()).begin() as connection:
        rows = connection.execute(
            text("select digest, name from bundles where starts_with(digest, :start)"), {"start": digest}
        ).all()
        if len(rows) != 1:
            raise click.ClickException(f"{len(rows)} registered bundles have a digest that begins so.")
        _activate(connection, rows[0].digest)
    click.echo(f"{rows[0].name} ({rows[0].digest[:12]}) is active.")


def _register(connection: Connection, found: Bundle) -> None:
    connection.execute(
        text("""insert into bundles (digest, name, version, manifest, card)
            values (:digest, :name, :version, cast(:manifest as jsonb), :card)
            on conflict (digest) do update set card = excluded.card"""),
        {
            "digest": found.digest,
            "name": found.manifest.name,
            "version": found.manifest.version,
            "manifest": orjson.dumps(found.manifest.model_dump(mode="json")).decode(),
            "card": found.card,
        },
    )


def _activate(connection: Connection, digest: str) -> None:
    connection.execute(text("lock table bundles in share row exclusive mode"))
    connection.execute(text("update bundles set active = false where active and digest <> :d"), {"d": digest})
    connection.execute(text("update bundles set active = true where digest = :d"), {"d": digest})


def main() -> None:
    """Run the command; coded errors are one sentence, not a traceback."""
    try:
        cli(standalone_mode=True)
    except CodedError as error:
        click.echo(f"{error.detail} {error.spec.remedy}", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
