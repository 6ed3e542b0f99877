"""From a file's bytes to what the platform keeps: canonical inputs and a display image. Runs in the child."""

import struct
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from model_worker.decoding.attributes import DicomAttributes
from model_worker.decoding.raster import Grey, decode_raster, halvings
from thorax.image_headers import DICOM, JPEG, PNG, PNG_SIGNATURE, unreadable

if TYPE_CHECKING:
    from thorax.bundle import InputSpec

DISPLAY_EDGE = 1024
BLANK_BELOW = 4  # grey levels of 255


@dataclass(frozen=True)
class Image:
    """A decoded image, halved while its longest side keeps 1024 pixels: all that is made of it starts here.

    `rows` and `columns` are its native size.
    """

    grey: Grey
    rows: int
    columns: int
    dicom_attributes: DicomAttributes | None


def read_image(data: bytes, media_type: str) -> Image:
    """Decode a file. Polarity is always the display's: bone light, air dark."""
    if media_type == DICOM:
        # Only here: pictures are decoded where pydicom is not loaded.
        from model_worker.decoding.dicom import decode_dicom

        grey, attributes = decode_dicom(data)
        rows, columns = grey.shape
    elif media_type in (PNG, JPEG):
        grey, (rows, columns) = decode_raster(data, media_type, DISPLAY_EDGE)
        attributes = None
    else:
        raise unreadable("The file is not a DICOM, PNG or JPEG image.")
    return Image(halved(grey), rows, columns, attributes)


def is_blank(grey: Grey) -> bool:
    """Whether all of it is one grey, as after a failed exposure: networks would answer with findings."""
    low, high = np.percentile(grey[::8, ::8], [1, 99])
    return bool(high - low < BLANK_BELOW)


def canonical(grey: Grey, spec: "InputSpec") -> Grey:
    """The input that a backbone was trained on: equalised or cropped if it says so, then squashed.

    `grey` uint8 `[rows, columns]` of any size to uint8 `[size, size]`, averaged by area (no aliasing).
    """
    if spec.equalise:
        grey = np.asarray(cv2.equalizeHist(grey))
    if spec.crop:
        rows, columns = (max(1, round(edge * spec.crop)) for edge in grey.shape)
        top, left = (grey.shape[0] - rows) // 2, (grey.shape[1] - columns) // 2
        grey = grey[top : top + rows, left : left + columns]
    return np.asarray(cv2.resize(grey, (spec.size, spec.size), interpolation=cv2.INTER_AREA))


def halved(grey: Grey) -> Grey:
    """The image at a half, a quarter, ... as long as its longest side keeps 1024 pixels: averages of 2×2.

    An odd last row or column is left out, as with it OpenCV would take the slow way, which costs ten times as much.
    """
    for _ in range(halvings(max(grey.shape), DISPLAY_EDGE)):
        even = grey[: grey.shape[0] & ~1, : grey.shape[1] & ~1]
        grey = np.asarray(cv2.resize(even, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA))
    return grey


def shown(grey: Grey) -> Grey:
    """A halved image with its longest side at most 1024. Less than halving it needs no more than bilinear."""
    shrink = DISPLAY_EDGE / max(grey.shape)
    if shrink >= 1:
        return grey
    rows, columns = (max(1, round(edge * shrink)) for edge in grey.shape)
    return np.asarray(cv2.resize(grey, (columns, rows), interpolation=cv2.INTER_LINEAR))


def png(grey: Grey) -> bytes:
    """An 8-bit grey PNG, stored and not deflated: 0.8 CPU-ms for a megapixel, of which OpenCV makes 7."""
    rows, columns = grey.shape
    lines = np.zeros((rows, columns + 1), np.uint8)  # each begins with its filter: none
    lines[:, 1:] = grey
    chunks = {
        b"IHDR": struct.pack(">IIBBBBB", columns, rows, 8, 0, 0, 0, 0),
        b"IDAT": zlib.compress(lines.data, 0),
        b"IEND": b"",
    }
    parts = [PNG_SIGNATURE]
    for kind, data in chunks.items():
        parts += [struct.pack(">I", len(data)), kind, data]
        parts.append(struct.pack(">I", zlib.crc32(data, zlib.crc32(kind))))
    return b"".join(parts)
