"""Answers made of blobs, streamed: nothing is held in memory but the piece on its way."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from uuid import UUID, uuid4

from fastapi import Response
from fastapi.responses import StreamingResponse

from gateway.images.endpoints import HEADERS
from thorax.errors import Code, CodedError
from thorax.forms import Part
from thorax.storage import BlobStore


@dataclass(frozen=True)
class Piece:
    """Bytes of one blob of an instance, from the first of `part` to before the second."""

    instance_id: UUID
    blob: str
    part: Part

    @property
    def size(self) -> int:
        """In bytes."""
        return self.part[1] - self.part[0]


@dataclass(frozen=True)
class Body:
    """One part of an answer: its media type, and what it is made of."""

    media_type: str
    pieces: tuple[Piece, ...]
    location: str = ""

    @property
    def size(self) -> int:
        """In bytes."""
        return sum(piece.size for piece in self.pieces)

    def head(self, boundary: str) -> bytes:
        """What stands before it in a multipart answer (RFC 2046, 5.1.1)."""
        location = f"Content-Location: {self.location}\r\n" if self.location else ""
        return f"\r\n--{boundary}\r\nContent-Type: {self.media_type}\r\n{location}\r\n".encode()


async def single(blobs: BlobStore, body: Body) -> StreamingResponse:
    """An answer of one part."""
    return await _answer(blobs, [(b"", body)], b"", body.media_type)


def held(parts: Sequence[bytes], media_type: str, *, multipart: bool = False) -> Response:
    """An answer of bytes that are in memory: one part, or multipart/related."""
    if not multipart:
        return Response(parts[0], 200, HEADERS, media_type)
    boundary = uuid4().hex
    head = f"\r\n--{boundary}\r\nContent-Type: {media_type}\r\n\r\n".encode()
    content = b"".join([*(head + part for part in parts), f"\r\n--{boundary}--\r\n".encode()])
    return Response(content, 200, HEADERS, f'multipart/related; type="{media_type}"; boundary={boundary}')


async def related(blobs: BlobStore, bodies: Sequence[Body]) -> StreamingResponse:
    """A multipart/related answer (RFC 2387)."""
    boundary = uuid4().hex
    kind = bodies[0].media_type.partition(";")[0]
    parts = [(body.head(boundary), body) for body in bodies]
    media_type = f'multipart/related; type="{kind}"; boundary={boundary}'
    return await _answer(blobs, parts, f"\r\n--{boundary}--\r\n".encode(), media_type)


async def _answer(
    blobs: BlobStore, parts: Sequence[tuple[bytes, Body]], end: bytes, media_type: str
) -> StreamingResponse:
    """The answer with its length, so that a client sees where one was cut off. Raises CodedError(NOT_FOUND) if it was erased."""
    head, first = parts[0]
    try:
        opened = await blobs.stream(*_of(first.pieces[0]))
    except FileNotFoundError:
        raise CodedError(Code.NOT_FOUND, "The image was erased.") from None

    async def stream() -> AsyncIterator[bytes]:
        yield head
        async for chunk in opened:
            yield chunk
        for text, pieces in ((b"", first.pieces[1:]), *((text, body.pieces) for text, body in parts[1:])):
            yield text
            for piece in pieces:
                async for chunk in await blobs.stream(*_of(piece)):
                    yield chunk
        yield end

    length = sum(len(text) + body.size for text, body in parts) + len(end)
    return StreamingResponse(stream(), 200, {**HEADERS, "Content-Length": str(length)}, media_type)


def _of(piece: Piece) -> tuple[UUID, str, Part]:
    return piece.instance_id, piece.blob, piece.part
