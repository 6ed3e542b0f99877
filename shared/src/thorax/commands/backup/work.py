"""Making backups, and coming back from them."""

import hashlib
from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from uuid import UUID

import click
import orjson
from sqlalchemy import Engine

from thorax import queries, schema
from thorax.commands.backup import dumps
from thorax.commands.backup.archive import DUMP, Archive, Kept, Snapshot
from thorax.storage import ORIGINAL, BlobStore, Entry, blob_key
from thorax.version import VERSION

KEEP_UNKNOWN = timedelta(days=7)
_SQL = queries.load(__file__)


class Unknown(StrEnum):
    """What an image is that the database does not know, as the end of a sentence."""

    ERASED = "was erased before the dump; a sweeper removes its files"
    UNACKNOWLEDGED = "was stored before the dump, which had no job for it yet; it is kept for a week"
    LATER = "came after the dump; it is kept for a week"


@dataclass(frozen=True)
class Restored:
    """What a restore found. `missing`: images whose file is not in the store or is another. `unknown`: images in the store
    that the database does not know, and what each is."""

    platform: UUID
    missing: tuple[UUID, ...]
    unknown: tuple[tuple[UUID, Unknown], ...]


def create(engine: Engine, url: str, blobs: BlobStore, archive: Archive) -> tuple[Snapshot, int]:
    """Back the platform up while it runs; the snapshot, and how many blobs were read.

    The database comes first: a blob without a row does no harm, a row without its blob would. A blob that the last snapshot
    has with the same stamp is not read again.
    """
    with engine.connect() as connection:
        state = connection.execute(_SQL["state"]).one()
    half = archive.begin()
    dumps.dump(url, half / DUMP)
    before = {blob.key: blob for snapshot in archive.snapshots()[-1:] for blob in snapshot.kept()}
    kept, read = [], 0
    for entry in blobs.entries():
        same = before.get(entry.key)
        if (
            same
            and (same.size, same.stamp) == (entry.size, entry.stamp)
            and archive.path(same.sha256).exists()
        ):
            kept.append(same)
        elif new := _keep(blobs, archive, entry):
            kept.append(new)
            read += 1
    return archive.finish(half, kept, thorax_version=VERSION, **state._mapping), read


def _keep(blobs: BlobStore, archive: Archive, entry: Entry) -> Kept | None:
    try:
        digest = archive.add(blobs.read(entry.key))
    except FileNotFoundError:  # erased since it was listed
        return None
    return Kept(key=entry.key, size=archive.path(digest).stat().st_size, stamp=entry.stamp, sha256=digest)


def restore(engine: Engine, url: str, blobs: BlobStore, archive: Archive, snapshot: Snapshot) -> Restored:
    """Fill an empty database, and a blob store that is empty or is still the dumped platform's own.

    An empty store gets the blobs, and the platform a new id; in its own store it keeps its id, and gets the blobs that are
    missing. Sweepers keep what the database does not know for a week, so that it can be looked through.
    """
    if snapshot.manifest.schema_version > schema.NEWEST:
        raise click.ClickException("A newer version made this backup. Restore it with that one.")
    with engine.connect() as connection:
        if connection.execute(_SQL["tables"]).scalar_one():
            raise click.ClickException("The database is not empty. Create a new one and restore into that.")
    there = {entry.key: entry for entry in blobs.entries()}
    owner = blobs.owner()
    if owner != snapshot.manifest.platform and (owner or there):
        raise click.ClickException("The blob store is not empty, and is not the one that was backed up.")
    if faults := [*snapshot.faults()]:
        raise click.ClickException(f"{'. '.join(faults)}. Restore another backup.")
    blobs.keep_unknown(
        datetime.now(UTC) + KEEP_UNKNOWN
    )  # before there is a database that a sweeper could work for
    for blob in snapshot.kept():
        if blob.key not in there:
            blobs.write(blob.key, archive.path(blob.sha256))
            there[blob.key] = Entry(blob.key, blob.size, blob.stamp)
    schema.create_roles(url)
    dumps.restore(url, snapshot.dump)
    with engine.begin() as connection:
        own = owner or connection.execute(_SQL["rename"]).scalar_one()
        originals = {row.id: row.sha256 for row in connection.execute(_SQL["originals"])}
        erased = set(connection.execute(_SQL["erased"]).scalars())
    blobs.belong_to(own)
    as_of, strangers = snapshot.manifest.as_of, _unknown(there.values(), originals)
    unknown = tuple((image, _what(image, stored, erased, as_of)) for image, stored in strangers)
    return Restored(own, tuple(_missing(blobs, originals)), unknown)


def _missing(blobs: BlobStore, originals: dict[UUID, str]) -> Iterator[UUID]:
    for instance_id, sha256 in originals.items():
        digest = hashlib.sha256()
        try:
            for piece in blobs.read(blob_key(instance_id, ORIGINAL)):
                digest.update(piece)
        except FileNotFoundError:
            yield instance_id
            continue
        if digest.hexdigest() != sha256:
            yield instance_id


def _unknown(there: Iterable[Entry], originals: Container[UUID]) -> Iterator[tuple[UUID, datetime]]:
    """Images without a row, and when each was stored."""
    for entry in there:
        _, instance_id, name = entry.key.split("/")
        if name == ORIGINAL and UUID(instance_id) not in originals:
            yield UUID(instance_id), entry.stored


def _what(image: UUID, stored: datetime, erased: Container[UUID], as_of: datetime) -> Unknown:
    if image in erased:
        return Unknown.ERASED
    return Unknown.UNACKNOWLEDGED if stored < as_of else Unknown.LATER


@dataclass(frozen=True)
class Accepted:
    """A job that a log says was accepted."""

    id: UUID
    tenant: UUID
    at: datetime


def lost(engine: Engine, snapshot: Snapshot, logs: Iterable[Path]) -> list[Accepted]:
    """Jobs that were acknowledged after the dump, by the logs' lines `job_accepted`, and that the database does not know."""
    told = {job.id: job for log in logs for job in _accepted(log) if job.at >= snapshot.manifest.as_of}
    with engine.connect() as connection:
        known = set(connection.execute(_SQL["jobs"], {"ids": list(told)}).scalars())
    return sorted((job for job in told.values() if job.id not in known), key=lambda job: job.at)


def _accepted(log: Path) -> Iterator[Accepted]:
    with log.open("rb") as lines:
        for line in lines:
            if b" job_accepted " in line:
                raise click.ClickException(
                    f"{log} is written for people. THORAX_LOG_FORMAT=json writes what can be read here."
                )
            if b'"job_accepted"' in line:
                told = orjson.loads(line[line.index(b"{") :])
                at = datetime.fromisoformat(told["timestamp"])
                yield Accepted(UUID(told["job"]), UUID(told["tenant"]), at)
