"""The file that a data set is written to while it is received."""

import tempfile
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import IO, Any

from pynetdicom import _config, dimse_messages

from thorax.errors import Code, CodedError


class SpoolFile:
    """A temporary file as pynetdicom uses it, which swallows what can't be written, or is more than `most` bytes.

    With an error of the disk pynetdicom 3.0.4 would end the association's thread, without an answer. So the rest of the
    data set is read and dropped, what was written is erased, and `failed` tells why, for an answer after the last byte.
    """

    def __init__(self, most: int, **how: Any) -> None:
        self.failed: OSError | CodedError | None = None
        self._most = most
        self.name, self.file, self._size = str(Path(tempfile.gettempdir(), "none.dcm")), self, 0
        self._file: IO[bytes] | None = None
        try:
            self._file = tempfile.NamedTemporaryFile(**how)  # noqa: SIM115 - closed by pynetdicom
            self.name = self._file.name
        except OSError as error:
            self.failed = error

    def write(self, data: bytes) -> None:
        """Append, as long as nothing has failed."""
        self._size += len(data)
        if self._file is not None and self._size > self._most:
            self._fail(CodedError(Code.BODY_TOO_LARGE, f"The data set has more than {self._most} bytes."))
        elif self._file is not None:
            self._trying(self._file.write, data)

    def flush(self) -> None:
        """Let those who open the file by its name see what was written."""
        if self._file is not None:
            self._trying(self._file.flush)

    def tell(self) -> int:
        """How many bytes the sender has sent, swallowed ones too."""
        return self._size

    def close(self) -> None:
        """Close; the file stays."""
        if self._file is not None:
            self._trying(self._file.close)

    def _trying(self, write: Any, *data: bytes) -> None:
        try:
            write(*data)
        except OSError as error:
            self._fail(error)

    def _fail(self, error: OSError | CodedError) -> None:
        self.failed, file, self._file = error, self._file, None
        with suppress(OSError):  # it would flush again
            if file is not None:
                file.close()
        Path(self.name).unlink(missing_ok=True)


def use_spool_files(folder: Path, most: int) -> None:
    """Let pynetdicom write each data set that it receives to a `SpoolFile` in `folder`, never to memory."""
    tempfile.tempdir = str(folder)
    _config.STORE_RECV_CHUNKED_DATASET = True
    vars(dimse_messages)["NamedTemporaryFile"] = partial(
        SpoolFile, most
    )  # pynetdicom has no other way to name the file
