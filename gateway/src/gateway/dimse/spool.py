"""The file that a data set is written to while it is received."""

from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import IO, Any
from uuid import uuid4

from pynetdicom import _config, dimse_messages

from gateway.studies.header import HEAD_BYTES, Identifiers, identify
from gateway.uploads.receive import Digests
from thorax.errors import Code, CodedError

_MOST_SWALLOWED = 10  # times the largest data set: what sends more does not wait for an answer


class SpoolFile:
    """A file as pynetdicom uses it, hashed while it is written, which swallows what can't be written or is too much.

    With an error of the disk pynetdicom 3.0.4 would end the association's thread, without an answer. So the rest of the
    data set is read and dropped, what was written is erased, and `received` tells why, for an answer after the last byte.
    """

    def __init__(self, folder: Path, most: int, **_: Any) -> None:
        self.path = folder / f"{uuid4()}.dcm"
        self.name, self.file = str(self.path), self
        self._most, self._size, self._head = most, 0, bytearray()
        self._found: Identifiers | None = None
        self._digests: Digests | None = None
        self._failed: OSError | CodedError | None = None
        self._file: IO[bytes] | None = None
        try:
            self._file = self.path.open("xb")
        except OSError as error:
            self._failed = error

    def write(self, data: bytes | memoryview) -> None:
        """Append, as long as nothing has failed. Raises CodedError, to end the association, if the data set does not end."""
        self._size += len(data)
        if self._size > _MOST_SWALLOWED * self._most:
            raise self._too_large()
        if self._file is not None and self._size > self._most:
            self._fail(self._too_large())
        elif self._file is not None:
            self._trying(self._file.write, data)
            self._hash(data)

    def _too_large(self) -> CodedError:
        return CodedError(Code.BODY_TOO_LARGE, f"The data set has more than {self._most} bytes.")

    def flush(self) -> None:
        """Nothing: a data set that has not ended is read by nobody."""

    def received(self) -> tuple[Identifiers, Digests]:
        """What the whole file is, closed. Raises OSError if it could not be written, CodedError if it is refused."""
        self.close()
        if self._digests is None and self._failed is None:
            self._identify()
        if self._failed is not None:
            raise self._failed
        assert self._found and self._digests
        return self._found, self._digests

    def close(self) -> None:
        """Close; the file stays."""
        if self._file is not None:
            self._trying(self._file.close)

    def _hash(self, data: bytes | memoryview) -> None:
        if self._digests is not None:
            self._digests.update(data)
            return
        self._head += data
        if len(self._head) >= HEAD_BYTES:
            self._identify()

    def _identify(self) -> None:
        head, self._head = bytes(self._head), bytearray()
        try:
            self._found = identify(head)
            self._digests = Digests(self._found)
            self._digests.update(head)
        except CodedError as error:
            self._fail(error)

    def _trying(self, write: Any, *data: bytes | memoryview) -> None:
        try:
            write(*data)
        except OSError as error:
            self._fail(error)

    def _fail(self, error: OSError | CodedError) -> None:
        self._failed, file, self._file = self._failed or error, self._file, None
        with suppress(OSError):  # it would flush again
            if file is not None:
                file.close()
        self.path.unlink(missing_ok=True)


def use_spool_files(folder: Path, most: int) -> None:
    """Let pynetdicom write each data set that it receives to a `SpoolFile` in `folder`, never to memory."""
    _config.STORE_RECV_CHUNKED_DATASET = True
    _config.LOG_HANDLER_LEVEL = "none"  # its messages are not logged: they may quote data sets
    # pynetdicom has no other way to name the file
    vars(dimse_messages)["NamedTemporaryFile"] = partial(SpoolFile, folder, most)
