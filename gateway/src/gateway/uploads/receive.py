"""Receiving an upload: its images are streamed to the blob store while they are hashed. What comes out is durable."""

import hashlib
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated
from uuid import UUID, uuid4

from anyio import to_thread
from pydantic import BaseModel, Field, ValidationError, WithJsonSchema, field_validator
from starlette.requests import Request

from gateway.config import GatewaySettings
from gateway.deliveries.addresses import HttpsUrl
from gateway.metrics import UPLOAD_BYTES
from gateway.studies import header
from gateway.studies.header import Identifiers, identified
from gateway.uploads.multipart import MultipartStream
from thorax.errors import Code, CodedError
from thorax.http.parameters import PRINTED
from thorax.image_headers import DICOM, HEAD_BYTES, sniff
from thorax.states import Priority
from thorax.storage import ORIGINAL, BlobStore

MAX_FIELD_BYTES = 1024
IMAGES = "files"


class Fields(BaseModel):
    """What a form says besides its images."""

    # An optional field without a default, or one with an example, is filled in by the form of /docs, and sent.

    title: str = Field(
        default="",
        max_length=MAX_FIELD_BYTES,
        pattern=PRINTED,
        description="Such as `PA, follow-up`; without one, the first file's name.",
    )
    priority: Priority = Priority.ROUTINE
    callback_url: Annotated[HttpsUrl | None, WithJsonSchema({"type": "string"})] = Field(
        default=None,
        json_schema_extra={"default": ""},
        description="Told when the job has ended, in place of the tenant's webhook of the same origin, such as "
        "`https://ris.example.org/thorax/4711`.",
    )

    @field_validator("callback_url", mode="before")
    @classmethod
    def _empty_is_none(cls, text: str) -> str | None:
        return text or None


@dataclass(frozen=True)
class StoredImage:
    """An image whose bytes are durable under `id`. `dicom`, `data_sha256`: of a DICOM file, where its header can be read."""

    id: UUID
    file_name: str
    media_type: str
    size_bytes: int
    sha256: str
    dicom: Identifiers | None = None
    data_sha256: str | None = None


class Digests:
    """What is recorded of a file's bytes while they come: their sha256, and that of a DICOM file's transfer syntax and data set."""

    def __init__(self, dicom: Identifiers | None) -> None:
        self.dicom, self.size, self._file = dicom, 0, hashlib.sha256()
        self._data = hashlib.sha256(dicom.transfer_syntax.encode()) if dicom else None

    def update(self, piece: bytes | memoryview) -> None:
        """Take the next bytes."""
        self._file.update(piece)
        if self.dicom and self._data:
            self._data.update(piece[max(self.dicom.data_at - self.size, 0) :])
        self.size += len(piece)

    def image(self, instance_id: UUID, file_name: str, media_type: str) -> StoredImage:
        """The image, once all bytes are stored."""
        UPLOAD_BYTES.inc(self.size)
        data = self._data.hexdigest() if self._data else None
        digest = self._file.hexdigest()
        return StoredImage(instance_id, _plain(file_name), media_type, self.size, digest, self.dicom, data)


@dataclass
class Upload:
    """What one sender brought at once: images of one study, one twice if it was sent twice.

    `force` overrules clinical refusals of them, `full` asks all backbones.
    """

    images: list[StoredImage] = field(default_factory=list)
    fields: Fields = field(default_factory=Fields)
    force: bool = False
    full: bool = False

    @property
    def fingerprint(self) -> str:
        """sha256 over all that was sent, for Idempotency-Key: fields, `force`, `full`, and each image's name and content."""
        asked = b"force" * self.force + b"full" * self.full
        digest = hashlib.sha256(self.fields.model_dump_json().encode() + asked)
        for image in self.images:
            digest.update(f"\0{image.file_name}\0{image.sha256}".encode())
        return digest.hexdigest()


class Receiver:
    """Stores what is sent."""

    def __init__(self, settings: GatewaySettings, blobs: BlobStore) -> None:
        self.settings, self._blobs = settings, blobs

    async def receive(self, request: Request) -> Upload:
        """Store every image of a multipart/form-data request.

        Raises CodedError for anything that is not 1 to `max_files` images and known, short fields; then nothing
        stays stored.
        """
        upload = Upload()
        try:
            await self._read(MultipartStream(request), upload)
        except BaseException:
            await discard(self._blobs, upload.images)
            raise
        return upload

    async def _read(self, stream: MultipartStream, upload: Upload) -> None:
        texts: dict[str, str] = {}
        unchosen = 0
        async for part in stream.parts():
            name = str(part.name)
            if name == IMAGES and part.filename is not None:
                if len(upload.images) + unchosen >= self.settings.max_files:
                    raise CodedError(Code.TOO_MANY_FILES)
                try:
                    image = await self._image(part.filename, stream.chunks(), len(upload.images))
                except CodedError as error:
                    if part.filename or error.code is not Code.EMPTY_FILE:
                        raise
                    unchosen += 1  # what a browser sends for a field in which no file was chosen
                    continue
                upload.images.append(await self._once(image, upload.images))
                _refuse_several_patients(upload.images)
            elif name in Fields.model_fields and part.filename is None and name not in texts:
                texts[name] = await _text(name, stream.chunks())
            else:
                raise CodedError(
                    Code.UNEXPECTED_FIELD,
                    "A part is neither an image in `files` nor a known field, sent once.",
                )
        if not upload.images:
            raise CodedError(Code.NO_FILES)
        try:
            upload.fields = Fields.model_validate(texts)
        except ValidationError as error:
            wrong = error.errors()[0]["loc"][0]
            raise CodedError(
                Code.VALIDATION, f"The field `{wrong}` has a value that is not allowed."
            ) from None

    async def _once(self, image: StoredImage, others: Sequence[StoredImage]) -> StoredImage:
        """The image, or the same that was sent before: with its SOP Instance UID and its data set."""
        for other in others:
            if image.dicom and (image.dicom, image.data_sha256) == (other.dicom, other.data_sha256):
                await discard(self._blobs, [image])
                return other
        return image

    async def _image(self, name: str, chunks: AsyncIterator[bytes], place: int) -> StoredImage:
        try:
            return await self.store(name.encode("latin-1").decode("utf-8", "replace"), chunks)
        except CodedError as error:
            error.context.setdefault("file", place)  # its place in the request, not its name
            raise

    async def store(self, file_name: str, chunks: AsyncIterator[bytes]) -> StoredImage:
        """Store one image; durable on return. Raises CodedError for what `sniff` refuses, and then stores nothing."""
        head = await read_head(chunks, HEAD_BYTES)
        media_type, dicom = sniff(head), None
        if media_type == DICOM:
            head += await read_head(chunks, header.HEAD_BYTES - len(head))
            dicom = identified(head)
        return await self.keep(file_name, media_type, head, chunks, dicom)

    async def keep(
        self,
        file_name: str,
        media_type: str,
        head: bytes,
        chunks: AsyncIterator[bytes],
        dicom: Identifiers | None = None,
    ) -> StoredImage:
        """Store one image whose head was looked at; durable on return."""
        digests, instance_id = Digests(dicom), uuid4()

        async def hashed() -> AsyncIterator[bytes]:
            piece: bytes = head
            while piece:
                digests.update(piece)
                yield piece
                piece = await anext(chunks, b"")

        await self._blobs.put_stream(instance_id, ORIGINAL, hashed())
        return digests.image(instance_id, file_name, media_type)

    async def adopt(self, file: Path, digests: Digests) -> StoredImage:
        """Store a DICOM file that was hashed while it was written; durable on return."""
        instance_id = uuid4()
        await to_thread.run_sync(self._blobs.adopt, instance_id, ORIGINAL, file)
        return digests.image(instance_id, "", DICOM)


async def read_head(chunks: AsyncIterator[bytes], enough: int) -> bytes:
    """The first chunks, until they are `enough` bytes."""
    head = bytearray()
    async for chunk in chunks:
        head += chunk
        if len(head) >= enough:
            break
    return bytes(head)


async def discard(blobs: BlobStore, images: Iterable[StoredImage]) -> None:
    """Erase what was stored and is not needed."""
    for image in images:
        await to_thread.run_sync(blobs.erase, image.id)


def _refuse_several_patients(images: Sequence[StoredImage]) -> None:
    """Images of one job are one study's, whose findings are the highest of all: they have to be of one patient."""
    patients = [image.dicom.patient for image in images if image.dicom and image.dicom.patient]
    if patients and patients[-1] != patients[0]:
        detail = f"Image {len(images)} is of another patient than an image before it."
        raise CodedError(Code.SEVERAL_PATIENTS, detail, file=len(images) - 1)


async def _text(name: str, chunks: AsyncIterator[bytes]) -> str:
    value = b""
    async for chunk in chunks:
        value += chunk
        if len(value) > MAX_FIELD_BYTES:
            raise CodedError(Code.VALIDATION, f"The field `{name}` is longer than {MAX_FIELD_BYTES} bytes.")
    try:
        return value.decode("utf-8").strip()
    except UnicodeDecodeError as error:
        raise CodedError(Code.VALIDATION, f"The field `{name}` is not UTF-8 text.") from error


def _plain(file_name: str) -> str:
    """The last component of a client's file name, printable, at most 200 characters. It is only ever shown."""
    last = file_name.replace("\\", "/").rsplit("/", 1)[-1]
    return "".join(c for c in last if c.isprintable())[:200]
