"""What an RLE frame (PS3.5, annex G) holds, counted before it is decoded."""

import struct

from thorax.image_headers import MIN_EDGE, unreadable


def refuse_other_size(frame: bytes, rows: int, columns: int) -> None:
    """Raise UNREADABLE_IMAGE unless the frame's first segment has a byte for each pixel.

    pydicom 3.0.2 cuts off what is too much, and would show a part of the picture, or a skewed one. With one row or column
    more or less the lengths differ by `MIN_EDGE` at least, so that less than this is padding.
    """
    segments, first, second = struct.unpack_from("<3I", frame.ljust(64, b"\0"))
    surplus = _length(frame[first : second if segments > 1 else None]) - rows * columns
    if not 0 <= surplus < MIN_EDGE:
        has = rows * columns + surplus
        raise unreadable(f"The RLE frame has {has} pixels; the header says {columns}×{rows}.")


def _length(segment: bytes) -> int:
    """How many bytes a segment is decoded to (G.3.2)."""
    at = length = 0
    while at + 1 < len(segment):
        control = segment[at]
        if control < 128:
            length += min(control + 1, len(segment) - at - 1)
            at += control + 2
        else:
            length += 257 - control if control > 128 else 0
            at += 2 if control > 128 else 1
    return length
