"""What the header of a PNG, JPEG or JPEG 2000 image claims, read before any decoder allocates memory for it.

The gateway looks at a file's head and decodes nothing; the workers' sandboxed child looks at the whole file first.
"""

import struct
from dataclasses import dataclass
from typing import Literal

from thorax.errors import Code, CodedError

MediaType = Literal["application/dicom", "image/png", "image/jpeg"]
DICOM: MediaType = "application/dicom"
PNG: MediaType = "image/png"
JPEG: MediaType = "image/jpeg"
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
JPEG_SIGNATURE = b"\xff\xd8\xff"
J2K_SOC_SIZ = b"\xff\x4f\xff\x51"
HEAD_BYTES = 64 * 1024

MAX_PIXELS = 64_000_000
MAX_ASPECT = 8
MIN_EDGE = 32
MAX_TILES = 4096
MAX_SCANS = 100

# Start-of-frame markers: JPEG's (ITU-T T.81 table B.1, without DHT, JPG and DAC) and JPEG-LS's (T.87).
_SOF = frozenset({0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF, 0xF7})
_SOS = 0xDA
_PNG_COMPONENTS = {
    0: 1,
    2: 3,
    3: 3,
    4: 2,
    6: 4,
}  # by colour type (PNG specification, 11.2.1); a palette has colours


@dataclass(frozen=True)
class Header:
    """Size in pixels, number of components, bits of each; `adobe`: a JPEG has Adobe's marker.

    `frame`: the second byte of a JPEG's start-of-frame marker, which names its process (T.81 table B.1); 0 otherwise.
    `signed`: what a JPEG 2000 codestream says of its numbers; no other format says it.
    """

    rows: int
    columns: int
    components: int
    bits: int
    adobe: bool = False
    frame: int = 0
    signed: bool | None = None


def unreadable(detail: str) -> CodedError:
    """UNREADABLE_IMAGE with this sentence."""
    return CodedError(Code.UNREADABLE_IMAGE, detail)


def sniff(head: bytes) -> MediaType:
    """The media type of a file by its first `HEAD_BYTES`; of an image whose header lies within, the size is checked.

    Raises CodedError: EMPTY_FILE, UNSUPPORTED_MEDIA, UNREADABLE_IMAGE, IMAGE_SIZE, IMAGE_TOO_LARGE.
    """
    if not head:
        raise CodedError(Code.EMPTY_FILE, "The file is empty.")
    if head[128:132] == b"DICM" or _is_data_set(head):  # PS3.10, 7.1
        return DICOM
    media_type: MediaType
    header: Header | None
    if head.startswith(PNG_SIGNATURE):
        media_type, header = PNG, png_header(head)
    elif head.startswith(JPEG_SIGNATURE):
        media_type, header = JPEG, _jpeg_frame(head)
    else:
        raise CodedError(Code.UNSUPPORTED_MEDIA, "The file is not a DICOM, PNG or JPEG file.")
    if header:
        check_size(header.rows, header.columns)
    elif len(head) < HEAD_BYTES:  # else the frame may follow long EXIF or ICC data
        raise unreadable("The JPEG image ends before its frame starts.")
    return media_type


def _is_data_set(head: bytes) -> bool:
    """Whether a file begins with a DICOM element of group 0002 or 0008, without PS3.10's preamble, as old files do."""
    group, first, length = int.from_bytes(head[:2], "little"), head[4:6], int.from_bytes(head[4:8], "little")
    explicit = first in (b"UL", b"CS", b"UI", b"DA", b"TM")
    return group in (2, 8) and len(head) > 132 and (explicit or (0 < length <= 64 and length % 2 == 0))


def check_size(rows: int, columns: int) -> None:
    """Raise IMAGE_TOO_LARGE or IMAGE_SIZE for dimensions that no radiograph has."""
    shorter, longer = sorted((rows, columns))
    has = f"The image has {columns}×{rows} pixels"
    if rows * columns > MAX_PIXELS:
        raise CodedError(Code.IMAGE_TOO_LARGE, f"{has}; the limit is {MAX_PIXELS // 1_000_000} megapixels.")
    if shorter < MIN_EDGE:
        raise CodedError(Code.IMAGE_SIZE, f"{has}; at least {MIN_EDGE}×{MIN_EDGE} are needed.")
    if longer > MAX_ASPECT * shorter:
        raise CodedError(Code.IMAGE_SIZE, f"{has}; one side is more than {MAX_ASPECT} times the other.")


def png_header(data: bytes) -> Header:
    """The IHDR chunk, which must come first (PNG specification, 5.6 and 11.2.1)."""
    if not data.startswith(PNG_SIGNATURE) or data[12:16] != b"IHDR" or len(data) < 33:
        raise unreadable("The PNG image has no header.")
    columns, rows, bits, colour_type = struct.unpack_from(">IIBB", data, 16)
    return Header(rows, columns, _PNG_COMPONENTS.get(colour_type, 0), bits)


def jpeg_header(data: bytes) -> Header:
    """The frame header of a whole JPEG or JPEG-LS image. Raises DECODE_LIMIT for a hundred scans and more."""
    if data.count(b"\xff\xda") > MAX_SCANS:  # in entropy-coded data 0xFF is always followed by 0 or RSTn
        raise CodedError(Code.DECODE_LIMIT, f"The JPEG image has more than {MAX_SCANS} scans.")
    if data.startswith(JPEG_SIGNATURE) and (header := _jpeg_frame(data)):
        return header
    raise unreadable("The JPEG image ends before its frame starts.")


def _jpeg_frame(data: bytes) -> Header | None:
    """Walk the marker segments to the first scan (T.81, B.1 and B.2); None if `data` ends before a frame starts."""
    at, adobe, frame, process = 2, False, None, 0
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF:  # a fill byte
            at += 1
            continue
        if marker in _SOF and at + 10 <= len(data):
            frame, process = struct.unpack_from(">BHHB", data, at + 4), marker
        adobe = adobe or (marker == 0xEE and data[at + 4 : at + 9] == b"Adobe")
        if marker == _SOS:
            break
        at += 2 + int.from_bytes(data[at + 2 : at + 4])
    if frame:
        bits, rows, columns, components = frame
        return Header(rows, columns, components, bits, adobe, process)
    if at + 10 > len(data):
        return None
    raise unreadable("The JPEG image is damaged before its frame starts.")


def j2k_header(data: bytes) -> Header:
    """The SIZ segment of a JPEG 2000 codestream (ITU-T T.800 A.5.1), bare or inside a JP2 file.

    Raises DECODE_LIMIT for more tiles than any radiograph has: a decoder allocates for each of them first.
    """
    start = data.find(J2K_SOC_SIZ, 0, 4096)
    if start < 0 or len(data) < start + 45:
        raise unreadable("The JPEG 2000 codestream has no header.")
    x1, y1, x0, y0, tile_x, tile_y, tile_x0, tile_y0, components, depth = struct.unpack_from(
        ">8IHB", data, start + 8
    )
    if not (tile_x and tile_y and x1 > x0 >= tile_x0 and y1 > y0 >= tile_y0):
        raise unreadable("The JPEG 2000 codestream's header contradicts itself.")
    tiles = -(-(x1 - tile_x0) // tile_x) * -(-(y1 - tile_y0) // tile_y)
    if tiles > MAX_TILES:
        raise CodedError(Code.DECODE_LIMIT, f"The JPEG 2000 codestream claims {tiles} tiles.")
    return Header(y1 - y0, x1 - x0, components, (depth & 0x7F) + 1, signed=bool(depth & 0x80))
