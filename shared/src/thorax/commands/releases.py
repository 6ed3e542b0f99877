"""`thorax migrate`, `wait-for-schema` and `mark-restored`: what a release or a restore needs before services start."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import click

from thorax import schema
from thorax.commands.bundles import publish
from thorax.settings import Settings, load
from thorax.storage import BlobStore


@click.command()
@click.option("--bundle", "folder", type=click.Path(path_type=Path), help="Then make it the default.")
def migrate(folder: Path | None) -> None:
    """Bring the database at THORAX_DATABASE_URL to the newest schema."""
    schema.migrate(load(Settings).database_url.get_secret_value())
    click.echo("The database has the newest schema.")
    if folder is not None:
        publish(folder, activate=True)


@click.command("mark-restored")
@click.option("--days", default=7, show_default=True, help="For how long.")
def mark_restored(days: int) -> None:
    """Keep the images that a restored database does not know. Run it before the sweeper starts again.

    They are younger than the dump; the sweeper would take them for remains of broken uploads and erase them.
    """
    until = datetime.now(UTC) + timedelta(days=days)
    BlobStore(load(Settings).blobs).keep_unknown(until)
    click.echo(f"Images that the database does not know are kept until {until:%Y-%m-%d %H:%M} UTC.")


@click.command("wait-for-schema")
@click.option("--timeout", default=600, show_default=True, help="Seconds after which to give up.")
def wait_for_schema(timeout: int) -> None:
    """Wait until the database has the schema that this version needs; code 1 when the time is up."""
    settings = load(Settings)
    url, pooled = settings.database_url.get_secret_value(), settings.database_pooled
    if not schema.wait_for_schema(url, pooled=pooled, timeout_s=timeout):
        raise click.ClickException("The database does not have this version's schema. Run `thorax migrate`.")
    click.echo("The database has this version's schema.")
