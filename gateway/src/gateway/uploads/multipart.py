"""A multipart body, part by part, as a stream: no part is ever held in memory as a whole."""

from collections.abc import AsyncIterator

from multipart import MultipartError, MultipartSegment, PushMultipartParser, parse_options_header
from starlette.requests import Request

from thorax.errors import Code, CodedError

MAX_HEADER_LINE_BYTES = 8 * 1024
MAX_BOUNDARY = 200


FORM, RELATED = "multipart/form-data", "multipart/related"


class _RelatedParser(PushMultipartParser):  # type: ignore[misc]  # the package is typed, yet does not say so
    """For `multipart/related` (RFC 2387), whose parts have no names."""

    def _create_segment(self, headerlist: list[tuple[str, str]]) -> MultipartSegment:
        return MultipartSegment(headerlist)


class MultipartStream:
    """`async for part in stream.parts()`, and inside the loop `stream.chunks()` for that part's bytes.

    `kind` is FORM or RELATED. Raises CodedError(MALFORMED_MULTIPART), also when the body ends before its last boundary.
    """

    def __init__(self, request: Request, kind: str = FORM) -> None:
        sent, options = parse_options_header(request.headers.get("content-type", ""))
        boundary = options.get("boundary", "")
        if sent != kind or not 0 < len(boundary) <= MAX_BOUNDARY:
            raise _malformed(f"The Content-Type is not `{kind}` with a boundary.")
        self.options: dict[str, str] = options
        self._named = kind == FORM
        made = PushMultipartParser if self._named else _RelatedParser
        parser = made(boundary, max_header_size=MAX_HEADER_LINE_BYTES, header_charset="latin-1")
        self._events = _events(parser, request.stream())

    async def parts(self) -> AsyncIterator[MultipartSegment]:
        """Each part's head, names as the client sent them. What the loop's body leaves unread is skipped."""
        async for event in self._events:
            if isinstance(event, MultipartSegment):
                if self._named and not event.name:
                    raise _malformed("A part has no name.")
                yield event

    async def chunks(self) -> AsyncIterator[bytes]:
        """The bytes of the current part."""
        async for event in self._events:
            if not isinstance(event, bytes):
                return
            yield event


async def _events(
    parser: PushMultipartParser, body: AsyncIterator[bytes]
) -> AsyncIterator[MultipartSegment | bytes | None]:
    try:
        with parser:
            async for chunk in body:
                for event in parser.parse(chunk) if chunk else ():
                    yield bytes(event) if isinstance(event, bytearray) else event
    except MultipartError as error:
        raise _malformed("The body is not valid multipart, or ends before its last boundary.") from error


def _malformed(detail: str) -> CodedError:
    return CodedError(Code.MALFORMED_MULTIPART, detail)
