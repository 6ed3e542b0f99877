"""What a file's own header claims, read by us before any decoder allocates memory for it."""

import struct
from dataclasses import dataclass

from thorax.errors import Code, CodedError

MAX_PIXELS = 64_000_000
MAX_ASPECT = 8
MIN_EDGE = 32
MAX_TILES = 4096
MAX_SCANS = 100

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
JPEG_SOI = b"\xff\xd8"
J2K_SOC_SIZ = b"\xff\x4f\xff\x51"

# Start-of-frame markers: JPEG's (ITU-T T.81 table B.1, without DHT, JPG and DAC) and JPEG-LS's (T.87).
_SOF = frozenset({0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF, 0xF7})
_SOS = 0xDA


@dataclass(frozen=True)
class Header:
    """Size in pixels and number of components; `adobe`: a JPEG has Adobe's marker."""

    rows: int
    columns: int
    components: int = 1
    adobe: bool = False


def unreadable(detail: str) -> CodedError:
    """UNREADABLE_IMAGE with this sentence."""
    return CodedError(Code.UNREADABLE_IMAGE, detail)


def check_size(rows: int, columns: int) -> None:
    """Raise IMAGE_TOO_LARGE or IMAGE_SIZE for dimensions that no radiograph has."""
    if rows * columns > MAX_PIXELS:
        raise CodedError(
            Code.IMAGE_TOO_LARGE, f"The image has {columns}×{rows} pixels; 64 megapixels at most."
        )
    shorter, longer = sorted((rows, columns))
    if shorter < MIN_EDGE:
        raise CodedError(
            Code.IMAGE_SIZE, f"The image has {columns}×{rows} pixels; at least 32×32 are needed."
        )
    if longer > MAX_ASPECT * shorter:
        raise CodedError(
            Code.IMAGE_SIZE, f"The image has {columns}×{rows} pixels; no edge may be 8 times the other."
        )


def png_header(data: bytes) -> Header:
    """The IHDR chunk, which must come first (PNG specification, 5.6 and 11.2.1)."""
    if not data.startswith(PNG_SIGNATURE) or data[12:16] != b"IHDR" or len(data) < 33:
        raise unreadable("The file is not a PNG image, whatever its name says.")
    columns, rows = struct.unpack(">II", data[16:24])
    return Header(rows, columns)


def jpeg_header(data: bytes) -> Header:
    """Walk the marker segments to the start of frame (T.81 B.1 and B.2); for JPEG-LS too."""
    if not data.startswith(JPEG_SOI):
        raise unreadable("The file is not a JPEG image, whatever its name says.")
    if data.count(b"\xff\xda") > MAX_SCANS:  # in entropy-coded data 0xFF is always followed by 0 or RSTn
        raise CodedError(Code.DECODE_LIMIT, f"The JPEG image has more than {MAX_SCANS} scans.")
    at, adobe, found = 2, False, None
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF:  # a fill byte
            at += 1
            continue
        (length,) = struct.unpack(">H", data[at + 2 : at + 4])
        if marker in _SOF and at + 10 <= len(data):
            rows, columns, components = struct.unpack(">HHB", data[at + 5 : at + 10])
            found = (rows, columns, components)
        adobe = adobe or (marker == 0xEE and data[at + 4 : at + 9] == b"Adobe")
        if marker == _SOS:
            break
        at += 2 + length
    if found is None:
        raise unreadable("The JPEG image ends before its frame starts.")
    return Header(*found, adobe=adobe)


def j2k_header(data: bytes) -> Header:
    """The SIZ segment of a JPEG 2000 codestream (ITU-T T.800 A.5.1), bare or inside a JP2 file.

    Raises DECODE_LIMIT for more tiles than any radiograph has: a decoder allocates for each of them first.
    """
    start = data.find(J2K_SOC_SIZ, 0, 4096)
    if start < 0 or len(data) < start + 42:
        raise unreadable("The JPEG 2000 codestream has no header.")
    x1, y1, x0, y0, tile_x, tile_y, tile_x0, tile_y0, components = struct.unpack_from(">8IH", data, start + 8)
    if not (tile_x and tile_y and x1 > x0 >= tile_x0 and y1 > y0 >= tile_y0):
        raise unreadable("The JPEG 2000 codestream's header contradicts itself.")
    tiles = -(-(x1 - tile_x0) // tile_x) * -(-(y1 - tile_y0) // tile_y)
    if tiles > MAX_TILES:
        raise CodedError(Code.DECODE_LIMIT, f"The JPEG 2000 codestream claims {tiles} tiles.")
    return Header(y1 - y0, x1 - x0, components)
