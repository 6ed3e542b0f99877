"""What a file claims to be, from its first bytes alone. Real decoding happens in the worker's sandbox.

Pixel counts are checked here too where the header tells them, so that an absurd image is refused at once.
"""

import struct

from thorax.errors import Code, CodedError

HEAD_BYTES = 64 * 1024
MIN_EDGE, MAX_PIXELS = 32, 64_000_000
DICOM, PNG, JPEG = "application/dicom", "image/png", "image/jpeg"

# Start-of-frame markers that carry a size (ITU-T T.81, table B.1); C4, C8 and CC are not frames.
_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}


def sniff(head: bytes) -> str:
    """The media type of a file by its first `HEAD_BYTES`: DICOM, PNG or JPEG.

    Raises CodedError: EMPTY_FILE, UNSUPPORTED_MEDIA, IMAGE_SIZE, IMAGE_TOO_LARGE.
    """
    if not head:
        raise CodedError(Code.EMPTY_FILE, "The file has no bytes.")
    if head[128:132] == b"DICM":  # PS3.10, 7.1
        return DICOM
    size: tuple[int, int] | None
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        media_type, size = PNG, _png_size(head)
    elif head.startswith(b"\xff\xd8\xff"):
        media_type, size = JPEG, _jpeg_size(head)
    else:
        raise CodedError(Code.UNSUPPORTED_MEDIA, "The file's first bytes are of no DICOM, PNG or JPEG file.")
    if size:
        _check(*size)
    return media_type


def _check(width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise CodedError(Code.IMAGE_TOO_LARGE, f"The image claims {width} x {height} pixels.")
    if min(width, height) < MIN_EDGE or max(width, height) > 8 * min(width, height):
        raise CodedError(Code.IMAGE_SIZE, f"The image claims {width} x {height} pixels.")


def _png_size(head: bytes) -> tuple[int, int]:
    if len(head) < 33 or head[12:16] != b"IHDR":
        raise CodedError(Code.UNREADABLE_IMAGE, "The PNG ends before its header does.")
    width, height = struct.unpack(">II", head[16:24])
    return width, height


def _jpeg_size(head: bytes) -> tuple[int, int] | None:
    """Walk the segments up to the first frame; None if it lies beyond the head (long EXIF or ICC data)."""
    at = 2
    while at + 9 <= len(head):
        if head[at] != 0xFF:
            raise CodedError(Code.UNREADABLE_IMAGE, "The JPEG's segments are broken.")
        marker = head[at + 1]
        if marker == 0xFF:  # fill byte
            at += 1
        elif marker in _FRAMES:
            height, width = struct.unpack(">HH", head[at + 5 : at + 9])
            return width, height
        elif marker == 0xDA:
            raise CodedError(Code.UNREADABLE_IMAGE, "The JPEG has a scan before its frame.")
        else:
            at += 2 + struct.unpack(">H", head[at + 2 : at + 4])[0]
    if len(head) < HEAD_BYTES:
        raise CodedError(Code.UNREADABLE_IMAGE, "The JPEG ends before its frame.")
    return None
