"""DICOM files (PS3.10) that libraries misread, since their File Meta Information misleads. No DICOM library is used here."""

import struct
import zlib
from contextlib import suppress

from thorax.errors import Code, CodedError
from thorax.image_headers import unreadable

MAX_INFLATED = 140_000_000  # 64 Mpx of 16 bits are 128 MB
DEFLATED, EXPLICIT_BIG = "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.2"
NOT_DEFLATED = "The data set is not deflated as claimed."
BIG_ENDIAN_GROUP_8 = b"\0\x08"
LONG_VRS = frozenset(
    {b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"}
)
"""Those whose length has four bytes (PS3.5, 7.1.2)."""


def data_set_at(file: bytes) -> int:
    """Where the data set begins: where another group than 0002 does, as the group's own length (PS3.10, 7.1) is often wrong."""
    at = 132 if file[128:132] == b"DICM" else 0
    while file.startswith(b"\2\0", at) and at + 12 <= len(file):
        vr = file[at + 4 : at + 6]
        if vr in LONG_VRS:
            at += 12 + struct.unpack_from("<I", file, at + 8)[0]
        elif b"AA" <= vr <= b"ZZ":
            at += 8 + struct.unpack_from("<H", file, at + 6)[0]
        else:
            at += 8 + struct.unpack_from("<I", file, at + 4)[0]
    return at


def bare_data_set(file: bytes) -> tuple[bytes, str] | None:
    """The data set alone, inflated, where the file is deflated, or big endian against what it says; and what is wrong with
    it, in a sentence, or nothing. None for all other files. Raises UNREADABLE_IMAGE, DECODE_LIMIT."""
    at = data_set_at(file)
    if DEFLATED.encode() in file[:at]:
        return inflated(file[at:])
    if file.startswith(BIG_ENDIAN_GROUP_8, at) and EXPLICIT_BIG.encode() not in file[:at]:
        return file[at:], ""  # a reader guesses the encoding, and says so
    return None


def inflated(data: bytes) -> tuple[bytes, str]:
    """A deflated data set (PS3.5, A.5) of no more bytes than a radiograph needs, and what is wrong with it."""
    plain, more, wrong = inflated_head(data, MAX_INFLATED)
    if more:
        raise CodedError(Code.DECODE_LIMIT, f"The file unpacks to more than {MAX_INFLATED // 10**6} MB.")
    if wrong == NOT_DEFLATED and data[:2] != b"\x08\0":
        raise unreadable("The DICOM file's deflated data set is damaged.")
    return plain, wrong


def inflated_head(data: bytes, most: int) -> tuple[bytes, bool, str]:
    """What a deflated data set begins with, whether it has more than `most` bytes, and what is wrong with it.

    Some are in zlib's format (RFC 1950), as dcmtk once wrote it, and some are not deflated at all: these are left as they are.
    """
    for bits, wrong in ((-zlib.MAX_WBITS, ""), (zlib.MAX_WBITS, "The data set is in zlib's format.")):
        inflater = zlib.decompressobj(bits)
        with suppress(zlib.error):
            return inflater.decompress(data, most), bool(inflater.unconsumed_tail), wrong
    return data, False, NOT_DEFLATED
