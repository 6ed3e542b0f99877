"""The blob store: a local folder or S3, through one library (obstore). What `put` returned from is durable."""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final
from uuid import UUID

import obstore
from obstore.store import LocalStore, ObjectStore, from_url

ORIGINAL: Final = "original"
DISPLAY: Final = "display.png"
S3_PART_BYTES: Final = 5 * 1024 * 1024  # S3 refuses smaller parts (but for the last)
FILE_PART_BYTES: Final = 512 * 1024


def blob_key(instance_id: UUID, name: str) -> str:
    """Where a blob of an instance lies. Only ids of ours and names of ours ever become part of a key."""
    return f"instances/{instance_id}/{name}"


def input_name(key: str) -> str:
    """The name of the canonical input for `InputSpec.key`: raw uint8 [size, size]."""
    return f"input-{key}.u8"


class BlobStore:
    """Blobs by instance and name. `location` is a folder, or `s3://bucket/prefix` (AWS_* variables apply)."""

    def __init__(self, location: str) -> None:
        self._folder: Path | None = None
        if location.startswith("s3://"):
            self._store: ObjectStore = from_url(location)
        else:
            self._folder = Path(location).resolve()
            self._folder.mkdir(parents=True, exist_ok=True)
            self._store = LocalStore(self._folder)

    async def put_stream(self, instance_id: UUID, name: str, chunks: AsyncIterator[bytes]) -> None:
        """Store a stream of bytes. Returns after fsync; a stream that raises leaves no blob behind."""
        key = blob_key(instance_id, name)
        part = FILE_PART_BYTES if self._folder else S3_PART_BYTES
        await obstore.put_async(self._store, key, chunks, chunk_size=part, max_concurrency=1)
        await asyncio.to_thread(self._sync, key)

    def put(self, instance_id: UUID, name: str, data: bytes) -> None:
        """Store bytes, replacing what was there. Returns after fsync."""
        key = blob_key(instance_id, name)
        obstore.put(self._store, key, data)
        self._sync(key)

    def get(self, instance_id: UUID, name: str) -> bytes:
        """The bytes of a blob; FileNotFoundError if there is none."""
        return bytes(obstore.get(self._store, blob_key(instance_id, name)).bytes())

    async def get_async(self, instance_id: UUID, name: str) -> bytes:
        """The bytes of a blob; FileNotFoundError if there is none."""
        answer = await obstore.get_async(self._store, blob_key(instance_id, name))
        return bytes(await answer.bytes_async())

    async def stream(self, instance_id: UUID, name: str) -> tuple[int, AsyncIterator[bytes]]:
        """A blob's size in bytes, and its bytes in pieces; FileNotFoundError if there is none."""
        answer = await obstore.get_async(self._store, blob_key(instance_id, name))

        async def pieces() -> AsyncIterator[bytes]:
            async for piece in answer.stream(min_chunk_size=256 * 1024):
                yield bytes(piece)

        return answer.meta["size"], pieces()

    def erase(self, instance_id: UUID) -> None:
        """Delete all blobs of an instance. Erasing what is gone already is no error."""
        prefix = f"instances/{instance_id}/"
        for batch in obstore.list(self._store, prefix):
            for item in batch:
                self._delete(item["path"])
        if self._folder:
            folder = self._folder / prefix
            if folder.is_dir():
                folder.rmdir()

    def _delete(self, key: str) -> None:
        try:
            obstore.delete(self._store, key)
        except FileNotFoundError:
            return

    def older_than(self, age: timedelta) -> Iterator[UUID]:
        """Instances that have a blob older than `age`, each once."""
        limit, last = datetime.now(UTC) - age, None
        for batch in obstore.list(self._store, "instances/"):
            for item in batch:
                owner = item["path"].split("/")[1]
                if owner != last and item["last_modified"] < limit:
                    last = owner
                    yield UUID(owner)

    def check(self) -> None:
        """Raise if the store can't be reached or, being a folder, can't be written."""
        if self._folder:
            if not os.access(self._folder, os.W_OK):
                raise PermissionError(f"{self._folder} can't be written")
        else:
            next(iter(obstore.list(self._store, "instances/", chunk_size=1)), None)

    def _sync(self, key: str) -> None:
        """fsync the file and the folders above it: obstore renames into place, but does not sync."""
        if not self._folder:
            return
        path = self._folder / key
        for target in (path, path.parent, path.parent.parent):
            descriptor = os.open(target, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
