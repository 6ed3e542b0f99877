"""A multipart/form-data body, part by part, as a stream: no part is ever held in memory as a whole."""

from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import Request

from thorax.errors import Code, CodedError

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

MAX_PART_HEADER_BYTES = 8 * 1024
_Event = tuple[Literal["begin", "data", "end"], bytes]


@dataclass(frozen=True)
class Part:
    """A part's head. `file_name` is what the client said, unchecked; None for a plain field."""

    name: str
    file_name: str | None


class MultipartStream:
    """`async for part in stream.parts()`, and inside the loop `stream.chunks()` for that part's bytes.

    Raises CodedError(MALFORMED_MULTIPART), also when the body ends before its last boundary.
    """

    def __init__(self, request: Request) -> None:
        kind, options = parse_options_header(request.headers.get("content-type", ""))
        boundary = options.get(b"boundary", b"")
        if kind != b"multipart/form-data" or not boundary or len(boundary) > 200:
            raise CodedError(Code.MALFORMED_MULTIPART, "The Content-Type is not multipart/form-data.")
        self._events: deque[_Event] = deque()
        self._header = [b"", b""]
        self._headers: dict[bytes, bytes] = {}
        self._header_bytes, self._complete = 0, False
        self._body = request.stream()
        self._parser = MultipartParser(boundary, self._callbacks())

    def _callbacks(self) -> "MultipartCallbacks":
        def text(which: int, data: bytes, start: int, end: int) -> None:
            self._header[which] += data[start:end]
            self._header_bytes += end - start
            if self._header_bytes > MAX_PART_HEADER_BYTES:
                raise CodedError(Code.MALFORMED_MULTIPART, "A part's header is too long.")

        def header_end() -> None:
            self._headers[self._header[0].lower()] = self._header[1]
            self._header = [b"", b""]

        def begin() -> None:
            self._headers, self._header_bytes = {}, 0

        def headers_finished() -> None:
            self._events.append(("begin", self._headers.get(b"content-disposition", b"")))

        def data(chunk: bytes, start: int, end: int) -> None:
            self._events.append(("data", chunk[start:end]))

        def finish() -> None:
            self._complete = True

        return {
            "on_part_begin": begin,
            "on_header_field": lambda d, s, e: text(0, d, s, e),
            "on_header_value": lambda d, s, e: text(1, d, s, e),
            "on_header_end": header_end,
            "on_headers_finished": headers_finished,
            "on_part_data": data,
            "on_part_end": lambda: self._events.append(("end", b"")),
            "on_end": finish,
        }

    async def _next(self) -> _Event | None:
        while not self._events:
            chunk = await anext(self._body, None)
            if not chunk:
                if chunk is None and not self._complete:
                    raise CodedError(Code.MALFORMED_MULTIPART, "The body ends before its last boundary.")
                if chunk is None:
                    return None
                continue
            try:
                self._parser.write(chunk)
            except FormParserError as error:
                raise CodedError(Code.MALFORMED_MULTIPART, "The body is no valid multipart.") from error
        return self._events.popleft()

    async def parts(self) -> AsyncIterator[Part]:
        """Each part's head. What the loop's body leaves unread is skipped."""
        while (event := await self._next()) is not None:
            if event[0] != "begin":
                continue
            kind, options = parse_options_header(event[1])
            if kind != b"form-data" or b"name" not in options:
                raise CodedError(Code.MALFORMED_MULTIPART, "A part has no name.")
            file_name = options.get(b"filename")
            yield Part(
                options[b"name"].decode("utf-8", "replace"),
                None if file_name is None else file_name.decode("utf-8", "replace"),
            )

    async def chunks(self) -> AsyncIterator[bytes]:
        """The bytes of the current part."""
        while (event := await self._next()) is not None and event[0] == "data":
            yield event[1]
