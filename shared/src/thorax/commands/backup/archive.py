"""A folder of backups: each blob once, by its SHA-256, and a snapshot for each backup."""

import hashlib
import os
import shutil
from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path
from uuid import UUID

import click
from pydantic import BaseModel, ConfigDict

DUMP = "database.dump"
_MANIFEST, _LIST = "manifest.json", "blobs.jsonl"
_PIECE = 1024 * 1024


class Kept(BaseModel):
    """A blob in a snapshot: its key and stamp in the blob store, and its content."""

    model_config = ConfigDict(frozen=True)
    key: str
    size: int
    stamp: str
    sha256: str


class Manifest(BaseModel):
    """What a snapshot says of itself. All that was committed before `as_of` is in it."""

    model_config = ConfigDict(frozen=True)
    as_of: datetime
    platform: UUID
    schema_version: str
    thorax_version: str
    dump_sha256: str
    list_sha256: str
    blobs: int
    bytes: int


class Snapshot:
    """One backup."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.name, self.dump = folder, folder.name, folder / DUMP
        self.manifest = Manifest.model_validate_json((folder / _MANIFEST).read_bytes())

    def kept(self) -> Iterator[Kept]:
        """All its blobs."""
        with (self.folder / _LIST).open("rb") as lines:
            yield from map(Kept.model_validate_json, lines)

    def faults(self) -> Iterator[str]:
        """Which of its own files are not as they were written."""
        for name, digest in ((DUMP, self.manifest.dump_sha256), (_LIST, self.manifest.list_sha256)):
            if _digest_of(self.folder / name) != digest:
                yield f"{self.name}/{name} is altered or missing"


class Archive:
    """All backups in a folder."""

    def __init__(self, folder: Path) -> None:
        self._blobs, self._snapshots = folder / "blobs", folder / "snapshots"

    def snapshots(self) -> list[Snapshot]:
        """The complete ones, the oldest first."""
        found = sorted(self._snapshots.glob("*Z")) if self._snapshots.is_dir() else []
        return [Snapshot(folder) for folder in found]

    def snapshot(self, name: str | None) -> Snapshot:
        """One by its name, or the newest."""
        for found in reversed(self.snapshots()):
            if name in (None, found.name):
                return found
        raise click.ClickException(f"{name or 'A backup'} was not found in {self._snapshots.parent}.")

    def begin(self) -> Path:
        """A folder for a snapshot that becomes one by `finish`. What an interrupted backup left is removed."""
        half = self._snapshots / "unfinished"
        shutil.rmtree(half, ignore_errors=True)
        half.mkdir(parents=True, mode=0o700)
        return half

    def finish(self, half: Path, kept: list[Kept], **told: object) -> Snapshot:
        """Make a snapshot of a folder that has a dump, after all its blobs are durable here."""
        (half / _LIST).write_text("".join(f"{blob.model_dump_json()}\n" for blob in kept), "utf-8")
        manifest = Manifest.model_validate(
            {
                **told,
                "dump_sha256": _digest_of(half / DUMP),
                "list_sha256": _digest_of(half / _LIST),
                "blobs": len(kept),
                "bytes": sum(blob.size for blob in kept),
            }
        )
        (half / _MANIFEST).write_text(manifest.model_dump_json(indent=1), "utf-8")
        for path in (*half.iterdir(), half):
            _sync(path)
        done = self._snapshots / f"{manifest.as_of:%Y%m%dT%H%M%S.%fZ}"
        half.rename(done)
        _sync(self._snapshots)
        return Snapshot(done)

    def path(self, digest: str) -> Path:
        """Where the content with this digest lies."""
        return self._blobs / digest[:2] / digest

    def add(self, pieces: Iterable[bytes]) -> str:
        """Keep a content, once; its digest. Durable on return."""
        self._blobs.mkdir(parents=True, exist_ok=True, mode=0o700)
        digest = hashlib.sha256()
        half = self._blobs / f"half-{os.getpid()}"
        try:
            with half.open("wb") as file:
                for piece in pieces:
                    digest.update(piece)
                    file.write(piece)
            target = self.path(digest.hexdigest())
            if not target.exists():
                target.parent.mkdir(exist_ok=True)
                _sync(half)
                half.rename(target)
                _sync(target.parent)
        finally:
            half.unlink(missing_ok=True)
        return target.name

    def damaged(self, kept: Iterable[Kept]) -> Iterator[Kept]:
        """Those of the blobs whose content is missing here or is another; each content is read once."""
        sound: dict[str, bool] = {}
        for blob in kept:
            if blob.sha256 not in sound:
                sound[blob.sha256] = _digest_of(self.path(blob.sha256)) == blob.sha256
            if not sound[blob.sha256]:
                yield blob

    def keep(self, most: int) -> int:
        """Remove all but the newest snapshots, and contents that none of these has; how many snapshots were removed."""
        every = self.snapshots()
        removed, left = every[:-most], every[-most:]
        for old in removed:
            shutil.rmtree(old.folder)
        wanted = {blob.sha256 for snapshot in left for blob in snapshot.kept()} if removed else set()
        for file in self._blobs.glob("??/*") if removed else ():
            if file.name not in wanted:
                file.unlink()
        return len(removed)


def _digest_of(file: Path) -> str:
    try:
        with file.open("rb") as opened:
            return hashlib.file_digest(opened, "sha256").hexdigest()
    except FileNotFoundError:
        return ""


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
