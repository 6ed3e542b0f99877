"""`thorax backup`: create, verify, restore, and name what is lost."""

import errno
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic
from typing import Any

import click

from thorax.commands.backup import work
from thorax.commands.backup.archive import Archive
from thorax.commands.connection import engine
from thorax.settings import Settings, load
from thorax.storage import BlobStore

_folder = click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
_snapshot: Callable[[Any], Any] = click.option("--snapshot", help="Its name; the newest without it.")


class _Backups(click.Group):
    """Says a file that can't be read or written in one sentence."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except OSError as error:
            if error.errno == errno.EPIPE:  # nobody reads the output; click ends quietly
                raise
            where, why = error.filename or "The backup stopped", error.strerror or type(error).__name__
            remedy = "Name a folder with enough room that this user may read and write."
            raise click.ClickException(f"{where}: {why}. {remedy}") from error


@click.group(cls=_Backups)
def backup() -> None:
    """Back the platform up into FOLDER, check that, and come back from it."""


@backup.command()
@_folder
@click.option("--keep", type=click.IntRange(min=1), help="Remove older backups than the newest so many.")
def create(folder: Path, keep: int | None) -> None:
    """Dump the database and copy what is new in the blob store. The platform may run."""
    began, settings = monotonic(), load(Settings)
    url, archive = settings.database_url.get_secret_value(), Archive(folder)
    made, read = work.create(engine(settings), url, BlobStore(settings.blobs), archive)
    size = made.manifest.bytes / 2**20
    click.echo(
        f"{made.name}: {made.manifest.blobs} blobs ({size:.1f} MiB), {read} of them new, {monotonic() - began:.1f} s."
    )
    if keep and (removed := archive.keep(keep)):
        click.echo(f"{removed} older backups were removed.")


@backup.command()
@_folder
@_snapshot
def verify(folder: Path, snapshot: str | None) -> None:
    """Read a backup whole and name all that is missing or altered; code 1 if there is any."""
    archive = Archive(folder)
    found = archive.snapshot(snapshot)
    faults = [
        *found.faults(),
        *(f"{blob.key} is altered or missing" for blob in archive.damaged(found.kept())),
    ]
    if faults:
        raise click.ClickException("\n".join([f"{found.name} can't be restored whole.", *faults]))
    age = datetime.now(UTC) - found.manifest.as_of
    click.echo(f"{found.name}: {found.manifest.blobs} blobs and the dump are whole; {age} old.")


@backup.command()
@_folder
@_snapshot
def restore(folder: Path, snapshot: str | None) -> None:
    """Fill an empty database and blob store. Run it before any service starts; it marks the store as restored."""
    began, settings = monotonic(), load(Settings)
    url, archive = settings.database_url.get_secret_value(), Archive(folder)
    found = archive.snapshot(snapshot)
    done = work.restore(engine(settings), url, BlobStore(settings.blobs), archive, found)
    click.echo(f"Restored as platform {done.platform}, as of {found.manifest.as_of.isoformat()}.")
    for instance_id in done.missing:
        click.echo(f"missing: the file of image {instance_id}")
    for instance_id, what in done.unknown:
        click.echo(f"unknown: image {instance_id} {what}")
    click.echo(
        f"{monotonic() - began:.1f} s. `thorax backup lost` names the jobs acknowledged after the dump."
    )


@backup.command()
@_folder
@click.argument("logs", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True, dir_okay=False))
@_snapshot
def lost(folder: Path, logs: tuple[Path, ...], snapshot: str | None) -> None:
    """Name the jobs that LOGS of gateways say were accepted after a dump, and that the database does not know."""
    jobs = work.lost(engine(), Archive(folder).snapshot(snapshot), logs)
    for job in jobs:
        click.echo(f"{job.at.isoformat()} job {job.id} tenant {job.tenant}")
    click.echo(f"{len(jobs)} jobs are lost. Ask their senders to send them again.", err=True)
