"""The blob store: a local folder or S3, through one library (obstore). What `put` returned from is durable."""

import asyncio
import errno
import os
import re
import shutil
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import BinaryIO, Final
from uuid import UUID

import obstore
from obstore.exceptions import BaseError
from obstore.store import LocalStore, ObjectStore, from_url

ORIGINAL: Final = "original"
DISPLAY: Final = "display.png"
S3_PART_BYTES: Final = 5 * 1024 * 1024  # S3 refuses smaller parts, except for the last
FILE_PART_BYTES: Final = 1024 * 1024
OWNER: Final = "platform"
RESTORED: Final = "unknown-kept-until"
RESERVE_BYTES: Final = 2**30  # or a twentieth of the disk: Postgres may write to the same disk
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def blob_key(instance_id: UUID, name: str) -> str:
    """Where a blob of an instance lies. Only ids of ours and names of ours ever become part of a key."""
    return f"instances/{instance_id}/{name}"


def input_name(key: str) -> str:
    """The name of the canonical input for `InputSpec.key`: raw uint8 [size, size]."""
    return f"input-{key}.u8"


def is_input(name: str) -> bool:
    """Whether a blob of this name is a canonical input."""
    return name.startswith("input-")


@dataclass(frozen=True)
class Entry:
    """A blob as the store lists it. `stamp` is another one when the blob has been written again."""

    key: str
    size: int
    stamp: str

    @property
    def stored(self) -> datetime:
        """When it was written, by the store's clock."""
        return datetime.fromisoformat(self.stamp.partition(" ")[0])


@contextmanager
def _as_os_errors() -> Iterator[None]:
    """obstore's own errors as the OSError they come from; ConnectionError where a remote store is at fault."""
    try:
        yield
    except BaseError as error:
        told = re.search(r"\(os error (\d+)\)", str(error))  # how Rust prints the system's error
        if told:
            raise OSError(int(told[1]), os.strerror(int(told[1]))) from error
        raise ConnectionError(f"the blob store failed: {type(error).__name__}") from error


class BlobStore:
    """Blobs by instance and name. `location` is a folder, or `s3://bucket/prefix` (AWS_* variables apply).

    Every method raises OSError when the store fails: ENOSPC when it is full, ConnectionError when S3 is away.
    """

    def __init__(self, location: str) -> None:
        self._folder: Path | None = None
        if location.startswith("s3://"):
            # No `client_options`: they would replace AWS_ALLOW_HTTP and its like.
            self._store: ObjectStore = from_url(
                location, retry_config={"max_retries": 3, "retry_timeout": timedelta(seconds=10)}
            )
        else:
            self._folder = Path(location).resolve()
            (self._folder / "instances").mkdir(parents=True, exist_ok=True)
            self._store = LocalStore(self._folder)

    async def put_stream(self, instance_id: UUID, name: str, chunks: AsyncIterator[bytes]) -> None:
        """Store a stream of bytes. Returns after fsync; a stream that raises leaves no blob behind.

        Takes nothing once the disk is nearly full (ENOSPC), so that what has been taken can still be worked on.
        """
        key = blob_key(instance_id, name)
        part = FILE_PART_BYTES if self._folder else S3_PART_BYTES
        head = [await _first(chunks, part)]
        try:
            if len(head[0]) < part:  # true for most images: a stream would switch threads twice per chunk
                await asyncio.to_thread(self._put, key, head[0], folders=2, keep_reserve=True)
                return
            await asyncio.to_thread(self._check_room)
            with _as_os_errors():
                whole = _chain(head, chunks)
                await obstore.put_async(self._store, key, whole, chunk_size=part, max_concurrency=1)
            await asyncio.to_thread(self._sync, key, folders=2)
        except BaseException:
            if self._folder:  # obstore removes its half-written file, but not the folder around it
                with suppress(OSError):
                    (self._folder / key).parent.rmdir()
            raise

    def adopt(self, instance_id: UUID, name: str, file: Path) -> None:
        """Store a file: it is moved if it lies in the same file system, and copied if not. Returns after fsync.

        Takes nothing once the disk is nearly full, as `put_stream`.
        """
        self._check_room()
        key = blob_key(instance_id, name)
        try:
            if self._folder is None or not _moved(file, self._folder / key):
                with _as_os_errors():
                    obstore.put(self._store, key, file, chunk_size=S3_PART_BYTES, max_concurrency=1)
            self._sync(key, folders=2)
        except BaseException:
            if self._folder:
                self.erase(instance_id)
            raise

    def put(self, instance_id: UUID, name: str, data: bytes) -> None:
        """Store bytes beside an instance's original, replacing what was there. Returns after fsync."""
        self._put(blob_key(instance_id, name), data, folders=1)

    def _put(self, key: str, data: bytes, *, folders: int, keep_reserve: bool = False) -> None:
        if keep_reserve:
            self._check_room()
        with _as_os_errors():
            obstore.put(self._store, key, data)
        self._sync(key, folders=folders)

    def get(self, instance_id: UUID, name: str) -> bytes:
        """The bytes of a blob; FileNotFoundError if there is none."""
        with _as_os_errors():
            return bytes(obstore.get(self._store, blob_key(instance_id, name)).bytes())

    async def get_async(self, instance_id: UUID, name: str) -> bytes:
        """The bytes of a blob; FileNotFoundError if there is none."""
        with _as_os_errors():
            answer = await obstore.get_async(self._store, blob_key(instance_id, name))
            return bytes(await answer.bytes_async())

    async def stream(
        self, instance_id: UUID, name: str, part: tuple[int, int] | None = None
    ) -> AsyncIterator[bytes]:
        """A blob's bytes in pieces, all or from the first of `part` to before the second; FileNotFoundError if there is none."""
        key = blob_key(instance_id, name)
        if self._folder:  # obstore would read 8 kB at a time, each in another thread
            file = await asyncio.to_thread(open, self._folder / key, "rb")
            return _read(file, *(part or (0, sys.maxsize)))
        with _as_os_errors():
            answer = await obstore.get_async(self._store, key, options={"range": part} if part else None)

        async def pieces() -> AsyncIterator[bytes]:
            with _as_os_errors():
                async for piece in answer.stream(min_chunk_size=256 * 1024):
                    yield bytes(piece)

        return pieces()

    def erase(self, instance_id: UUID, only: Callable[[str], bool] | None = None) -> None:
        """Delete all blobs of an instance, or those whose name `only` is true of. Erasing twice is not an error."""
        prefix = f"instances/{instance_id}/"
        if (
            self._folder and only is None
        ):  # includes what a killed process left half written, which obstore does not list
            with suppress(FileNotFoundError):
                shutil.rmtree(self._folder / prefix)
            return
        with _as_os_errors():
            for batch in obstore.list(self._store, prefix):
                for item in batch:
                    if only is None or only(item["path"].removeprefix(prefix)):
                        with suppress(FileNotFoundError):
                            obstore.delete(self._store, item["path"])

    def older_than(self, age: timedelta) -> Iterator[UUID]:
        """Instances that have a blob older than `age` (in a folder: to which none was added since), each once.

        A name that is not an instance's id belongs to somebody else and is left alone.
        """
        limit, last = datetime.now(UTC) - age, None
        if self._folder:
            for entry in os.scandir(self._folder / "instances"):
                with suppress(FileNotFoundError):  # erased in the meantime
                    if _UUID.fullmatch(entry.name) and entry.stat().st_mtime < limit.timestamp():
                        yield UUID(entry.name)
            return
        with _as_os_errors():
            for batch in obstore.list(self._store, "instances/"):
                for item in batch:
                    owner = item["path"].removeprefix("instances/").split("/")[0]
                    if owner != last and item["last_modified"] < limit and _UUID.fullmatch(owner):
                        last = owner
                        yield UUID(owner)

    def entries(self) -> Iterator[Entry]:
        """All blobs of all instances."""
        with _as_os_errors():
            for batch in obstore.list(self._store, "instances/"):
                for item in batch:
                    stamp = f"{item['last_modified'].isoformat()} {item['e_tag']}"
                    yield Entry(item["path"], item["size"], stamp)

    def read(self, key: str) -> Iterator[bytes]:
        """The bytes of one of `entries`, in pieces; FileNotFoundError if it has been erased since."""
        with _as_os_errors():
            for piece in obstore.get(self._store, key).stream(min_chunk_size=FILE_PART_BYTES):
                yield bytes(piece)

    def write(self, key: str, file: Path) -> None:
        """Store a file as one of `entries`. Returns after fsync."""
        with _as_os_errors():
            obstore.put(self._store, key, file)
        self._sync(key, folders=2)

    def owner(self) -> UUID | None:
        """The platform that these blobs belong to, if one has asked."""
        with _as_os_errors(), suppress(FileNotFoundError):
            return UUID(bytes=bytes(obstore.get(self._store, OWNER).bytes()))
        return None

    def belong_to(self, platform: UUID) -> bool:
        """Whether these blobs belong to the platform with this id. The first platform that asks becomes their owner.

        A database that is new, or another platform's, knows none of them, and must not take them for orphans.
        """
        owner = self.owner()
        if owner is None:
            with _as_os_errors():
                obstore.put(self._store, OWNER, platform.bytes)
        return owner in (None, platform)

    def keep_unknown(self, until: datetime) -> None:
        """Note, beside the blobs, that those without an instance are kept until then."""
        with _as_os_errors():
            obstore.put(self._store, RESTORED, until.isoformat().encode())

    def unknown_kept_until(self) -> datetime | None:
        """Until when blobs without an instance are kept, if that was noted."""
        with _as_os_errors(), suppress(FileNotFoundError):
            return datetime.fromisoformat(bytes(obstore.get(self._store, RESTORED).bytes()).decode())
        return None

    def check(self) -> None:
        """Raise if an upload could not be stored: the store cannot be reached or, if it is a folder, is full or cannot be written."""
        if self._folder:
            self._check_room()
            if not os.access(self._folder, os.W_OK):
                raise PermissionError(f"{self._folder} can't be written")
        else:
            with _as_os_errors():
                next(iter(obstore.list(self._store, "instances/", chunk_size=1)), None)

    def room(self) -> tuple[int, int] | None:
        """Free and all bytes of the disk; None for an object store, which has no end that we know of."""
        if not self._folder:
            return None
        disk = os.statvfs(self._folder)
        return disk.f_bavail * disk.f_frsize, disk.f_blocks * disk.f_frsize

    def _check_room(self) -> None:
        if room := self.room():
            free, total = room
            if free < min(RESERVE_BYTES, total // 20):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def _sync(self, key: str, *, folders: int) -> None:
        """fsync the file and so many folders above it (two, where the instance's own may be new): obstore renames
        into place, but does not sync."""
        if not self._folder:
            return
        path = self._folder / key
        for target in (path, *list(path.parents)[:folders]):
            descriptor = os.open(target, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)


def _moved(file: Path, place: Path) -> bool:
    """Move a file into a new folder; false if it lies in another file system."""
    place.parent.mkdir(exist_ok=True)
    try:
        file.rename(place)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        return False
    return True


async def _read(file: BinaryIO, first: int, end: int) -> AsyncIterator[bytes]:
    """A file's bytes from `first` to before `end`; it is closed then."""
    with file:
        file.seek(first)
        while piece := await asyncio.to_thread(file.read, min(FILE_PART_BYTES, end - first)):
            yield piece
            first += len(piece)


async def _first(chunks: AsyncIterator[bytes], size: int) -> bytes:
    """What the chunks begin with: at least `size` bytes, or less if that is all."""
    taken, length = [], 0
    async for chunk in chunks:
        taken.append(chunk)
        length += len(chunk)
        if length >= size:
            break
    return b"".join(taken)


async def _chain(head: list[bytes], rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield head.pop()  # no reference is kept here
    async for chunk in rest:
        yield chunk
