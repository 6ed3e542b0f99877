"""What a child answers: plain bytes, checked here, since a child that a file took over could send anything."""

import json
import re
import socket
import struct
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray
from pydantic import TypeAdapter

from model_worker.decoding.attributes import DicomAttributes, iso_date, short_string, uid
from model_worker.decoding.decoded import DISPLAY_EDGE
from model_worker.decoding.orientation import AS_STORED, UNDO
from model_worker.decoding.png import png
from thorax.bundle import InputSpec
from thorax.errors import Code, CodedError
from thorax.forms import EXPLICIT, METADATA, PICTURES, Forms, Part
from thorax.image_warnings import ImageWarning, WarningCode

CODES = frozenset(
    {
        Code.UNREADABLE_IMAGE,
        Code.DECODE_LIMIT,
        Code.IMAGE_TOO_LARGE,
        Code.IMAGE_SIZE,
        Code.NOT_A_CHEST,
        Code.NOT_FRONTAL,
    }
)
MAX_HEADER = 64 * 2**10
MAX_FORMS, MAX_METADATA, MAX_EXPLICIT = 2**18, 4 * 2**20, 160 * 2**20
MAX_WARNINGS = 20
_FORMS = TypeAdapter(Forms)
_DIGEST = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True)
class Decoded:
    """A decoded file. `inputs`: uint8 `[size, size]` by `InputSpec.key`; `rows` and `columns`: native size.

    `display`: uint8 `[rows, columns]`, bone light, upright, longest side at most 1024. `orientation`: how stored pixels were
    turned, as EXIF numbers it (see `decoding.orientation`). `dicom_attributes`: of a DICOM file only.
    """

    inputs: dict[str, NDArray[np.uint8]]
    display: NDArray[np.uint8]
    rows: int
    columns: int
    dicom_attributes: DicomAttributes | None
    orientation: int = AS_STORED
    warnings: tuple[ImageWarning, ...] = ()

    @property
    def display_png(self) -> bytes:
        """The picture for display as it is stored. It is made here, since all memory that a child needs is new for each file."""
        return png(self.display)


class Answer:
    """The child's answer, read to a deadline."""

    def __init__(self, connection: socket.socket, deadline: float) -> None:
        self._connection, self._deadline = connection, deadline

    def read(self, size: int) -> bytearray:
        """Exactly `size` bytes; EOFError if the child ended before, TimeoutError past the deadline."""
        buffer = bytearray(size)
        view = memoryview(buffer)
        while view:
            self._connection.settimeout(max(0.001, self._deadline - time.monotonic()))
            try:
                count = self._connection.recv_into(view)
            except ConnectionResetError:
                count = 0
            if not count:
                raise EOFError
            view = view[count:]
        return buffer

    def read_sized(self, most: int) -> bytearray:
        """Bytes that follow their length; our code never sends more than `most`."""
        (size,) = struct.unpack(">I", self.read(4))
        if size > most:
            raise EOFError
        return self.read(size)


def read_digest(answer: Answer) -> str:
    """A digest, or the JSON of a refusal."""
    text = answer.read_sized(MAX_HEADER).decode()
    if _DIGEST.fullmatch(text):
        return text
    raise CodedError(Code.UNREADABLE_IMAGE, str(json.loads(text)["detail"])[:300])


def read_forms(answer: Answer, stored_size: int) -> tuple[Forms, dict[str, bytes]]:
    """The forms and their blobs, checked: the metadata is JSON, and each part lies within its file."""
    header = json.loads(answer.read_sized(MAX_FORMS))
    if "code" in header:
        raise _refusal(header)
    forms = _FORMS.validate_python(header)
    blobs = {METADATA: bytes(answer.read_sized(MAX_METADATA))}
    if not isinstance(orjson.loads(blobs[METADATA]), dict):
        raise ValueError("no data set")
    for name, size in zip(PICTURES, forms.pictures, strict=False):
        blobs[name] = bytes(answer.read_sized(size))
    if forms.explicit_size is not None:
        if forms.explicit_size > MAX_EXPLICIT:
            raise EOFError
        blobs[EXPLICIT] = bytes(answer.read(forms.explicit_size))
    explicit_size = stored_size if forms.explicit_size is None else forms.explicit_size
    _check_within(explicit_size, (*forms.frames, *forms.bulk.values()))
    _check_within(stored_size, [part for frame in forms.stored_frames for part in frame])
    return forms, blobs


def _check_within(size: int, parts: Iterable[Part]) -> None:
    if not all(0 <= start <= end <= size for start, end in parts):
        raise ValueError("a part outside of its file")


def _refusal(header: dict[str, Any]) -> CodedError:
    code = Code(header["code"])
    return CodedError(code if code in CODES else Code.UNREADABLE_IMAGE, str(header["detail"])[:300])


def read_decoded(answer: Answer, specs: Sequence[InputSpec]) -> Decoded:
    header: dict[str, Any] = json.loads(answer.read_sized(MAX_HEADER))
    if "code" in header:
        raise _refusal(header)
    rows, columns = header["display"]
    if not (0 < rows <= DISPLAY_EDGE and 0 < columns <= DISPLAY_EDGE):
        raise ValueError("not a picture for display")
    display = _read_grey(answer, rows, columns)
    inputs = {spec.key: _read_grey(answer, spec.size, spec.size) for spec in specs}
    attributes = header["dicom_attributes"]
    if header["orientation"] not in UNDO:
        raise ValueError("not an orientation")
    warnings = [ImageWarning(WarningCode(code), str(detail)[:300]) for code, detail in header["warnings"]]
    return Decoded(
        inputs,
        display,
        int(header["rows"]),
        int(header["columns"]),
        attributes and _attributes(attributes),
        int(header["orientation"]),
        tuple(warnings[:MAX_WARNINGS]),
    )


def _read_grey(answer: Answer, rows: int, columns: int) -> NDArray[np.uint8]:
    return np.frombuffer(answer.read(rows * columns), np.uint8).reshape(rows, columns)


def _attributes(fields: dict[str, Any]) -> DicomAttributes:
    fields |= {name: uid(value) for name, value in fields.items() if name.endswith("_uid")}
    fields["study_date"] = iso_date(fields["study_date"])
    fields["accession"] = short_string(fields["accession"])
    if fields["patient"] is not None and not _DIGEST.fullmatch(fields["patient"]):
        raise ValueError("no digest")
    return DicomAttributes(**fields)
