"""The one door: streams an upload to the blob store while hashing it, then hands over what is durable."""

import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from uuid import UUID, uuid4

from anyio import to_thread
from starlette.requests import Request

from gateway.config import GatewaySettings
from gateway.jobs.schemas import Priority
from gateway.uploads.multipart import MultipartStream
from thorax.errors import Code, CodedError
from thorax.image_headers import HEAD_BYTES, sniff
from thorax.storage import ORIGINAL, BlobStore

MAX_FIELD_BYTES = 1024
FIELDS = ("title", "priority", "callback_url")


@dataclass(frozen=True)
class StoredImage:
    """An image whose bytes are durable under `id`."""

    id: UUID
    file_name: str
    media_type: str
    size_bytes: int
    sha256: str


@dataclass
class Upload:
    """What one request brought."""

    images: list[StoredImage] = field(default_factory=list)
    fields: dict[str, str] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """The study's title, or nothing."""
        return self.fields.get("title", "")

    @property
    def priority(self) -> Priority:
        """Routine unless said otherwise."""
        return Priority(self.fields.get("priority", Priority.ROUTINE))

    @property
    def fingerprint(self) -> str:
        """sha256 over all that was sent, for Idempotency-Key: fields, and name and content of each image."""
        digest = hashlib.sha256(repr(sorted(self.fields.items())).encode())
        for image in self.images:
            digest.update(f"\0{image.file_name}\0{image.sha256}".encode())
        return digest.hexdigest()


class Intake:
    """Receives uploads. Whatever it stored for a request that then fails, it erases."""

    def __init__(self, settings: GatewaySettings, blobs: BlobStore) -> None:
        self._settings, self._blobs = settings, blobs

    async def receive(self, request: Request) -> Upload:
        """Store every image of a multipart request.

        Raises CodedError for anything that is not 1 to `max_files` images and known, short fields.
        """
        upload = Upload()
        try:
            await self._receive(request, upload)
        except BaseException:
            await self.discard(upload)
            raise
        return upload

    async def _receive(self, request: Request, upload: Upload) -> None:
        stream = MultipartStream(request)
        async for part in stream.parts():
            if part.name == "files" and part.file_name is not None:
                if len(upload.images) >= self._settings.max_files:
                    raise CodedError(
                        Code.TOO_MANY_FILES, f"More than {self._settings.max_files} images came."
                    )
                await self._store(upload, part.file_name, stream.chunks())
            elif part.name in FIELDS and part.file_name is None and part.name not in upload.fields:
                upload.fields[part.name] = await _text(part.name, stream.chunks())
            else:
                raise CodedError(
                    Code.UNEXPECTED_FIELD, "A part is neither an image in `files` nor a known field, once."
                )
        if not upload.images:
            raise CodedError(Code.NO_FILES, "The body had no image in a part named `files`.")
        if upload.fields.get("priority", "routine") not in set(Priority):
            raise CodedError(Code.VALIDATION, "`priority` is neither stat nor routine.")

    async def _store(self, upload: Upload, file_name: str, chunks: AsyncIterator[bytes]) -> None:
        head = b""
        async for chunk in chunks:
            head += chunk
            if len(head) >= HEAD_BYTES:
                break
        try:
            media_type = sniff(head)
        except CodedError as error:
            error.context["file"] = len(upload.images)  # its place in the request, not its name
            raise
        digest, size, instance_id = hashlib.sha256(), 0, uuid4()

        async def hashed() -> AsyncIterator[bytes]:
            nonlocal size
            piece: bytes = head
            while piece:
                digest.update(piece)
                size += len(piece)
                yield piece
                piece = await anext(chunks, b"")

        await self._blobs.put_stream(instance_id, ORIGINAL, hashed())
        upload.images.append(
            StoredImage(instance_id, _plain(file_name), media_type, size, digest.hexdigest())
        )

    async def discard(self, upload: Upload) -> None:
        """Erase what was stored for an upload that came to nothing."""
        for image in upload.images:
            await to_thread.run_sync(self._blobs.erase, image.id)


async def _text(name: str, chunks: AsyncIterator[bytes]) -> str:
    value = b""
    async for chunk in chunks:
        value += chunk
        if len(value) > MAX_FIELD_BYTES:
            raise CodedError(Code.VALIDATION, f"`{name}` is longer than {MAX_FIELD_BYTES} bytes.")
    try:
        text = value.decode("utf-8").strip()
    except UnicodeDecodeError as error:
        raise CodedError(Code.VALIDATION, f"`{name}` is not UTF-8.") from error
    return "".join(c for c in text if c.isprintable())


def _plain(file_name: str) -> str:
    """The last component of a client's file name, printable, at most 200 characters. It is only ever shown."""
    last = file_name.replace("\\", "/").rsplit("/", 1)[-1]
    return "".join(c for c in last if c.isprintable())[:200]
