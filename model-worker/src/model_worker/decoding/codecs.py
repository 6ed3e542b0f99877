"""One decoder for each kind of compressed frame, and what may be mended where a frame's end is missing."""

import struct
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import cv2
import gdcm
import jpeg_ls
import numpy as np
from numpy.typing import NDArray
from openjpeg.utils import decode as decode_jpeg_2000

from model_worker.decoding.decoded import Notes
from thorax.image_headers import Header, j2k_header, jpeg_header, unreadable
from thorax.image_warnings import WarningCode

Words = NDArray[Any]  # uint8 or uint16
JPEG_SOI, JPEG_EOI, J2K_EOC = b"\xff\xd8", b"\xff\xd9", b"\xff\xd9"
J2K_STARTS = (b"\xff\x4f\xff\x51", b"\0\0\0\x0cjP  ")  # a codestream; a JP2 file, against PS3.5 A.4.4
FOLLOWING = bytes(range(1, 250)) * 4
LOSSLESS, LS = 0xC3, 0xF7  # JPEG's start-of-frame markers of process 14, and of JPEG-LS

Decoder = Callable[[bytes, Header, Notes], Words | None]


def codec_of(frame: bytes) -> tuple[Header, str, Decoder]:
    """The frame's own header, what it is, and what decodes it."""
    if frame.startswith(J2K_STARTS):
        return j2k_header(frame), "JPEG 2000", _jpeg_2000
    if not frame.startswith(JPEG_SOI):
        raise unreadable("The compressed frame is neither JPEG, JPEG-LS nor JPEG 2000.")
    header = jpeg_header(frame)
    if header.frame == LS:
        return header, "JPEG-LS", _jpeg_ls
    return header, "JPEG", _jpeg_8 if header.bits == 8 and header.frame != LOSSLESS else _jpeg_deep


def _jpeg_2000(frame: bytes, header: Header, notes: Notes) -> Words | None:
    """OpenJPEG takes 110 CPU-ms for 3.6 Mpx, gdcm's old copy of it 190. HTJ2K too."""
    try:
        values = decode_jpeg_2000(frame)
    except RuntimeError:
        end = _end_of_tiles(frame)
        if end > len(frame):
            raise unreadable("The JPEG 2000 codestream is truncated.") from None
        try:
            values = decode_jpeg_2000(frame[:end] + J2K_EOC)
        except RuntimeError:
            return None
        notes.warn(WarningCode.RESCUED, "The JPEG 2000 codestream's end is missing.")
    return np.asarray(values.view(values.dtype.str.replace("i", "u")))


def _end_of_tiles(frame: bytes) -> int:
    """Where the last tile-part ends by its own length (Psot, T.800 A.4.2; 0 means with the codestream)."""
    at = frame.find(b"\xff\x90\0\x0a")
    while 0 <= at <= len(frame) - 12 and frame[at : at + 2] == b"\xff\x90":
        (length,) = struct.unpack_from(">I", frame, at + 6)
        if not length:
            return len(frame)
        at += length
    return at if at > 0 else len(frame)


def _jpeg_ls(frame: bytes, header: Header, notes: Notes) -> Words | None:
    ended = frame.rstrip(b"\0").endswith(JPEG_EOI)
    # Without its end, a last zero may be the padding to an even length (PS3.5, A.4) or the picture's.
    for whole in (frame,) if ended else (frame + JPEG_EOI, frame.removesuffix(b"\0") + JPEG_EOI):
        with suppress(RuntimeError, ValueError):
            decoded, _ = jpeg_ls.decode_buffer(whole)
            break
    else:
        return None
    if not ended:
        notes.warn(WarningCode.RESCUED, "The JPEG-LS frame's end is missing.")
    return np.frombuffer(decoded, "<u2" if header.bits > 8 else np.uint8).reshape(header.rows, header.columns)


def _jpeg_8(frame: bytes, header: Header, notes: Notes) -> Words | None:
    """Baseline, extended and progressive JPEG of 8 bits."""
    if frame.rstrip(b"\0").endswith(JPEG_EOI):
        return _by_libjpeg(frame)
    words = _by_libjpeg(frame + JPEG_EOI)
    # What follows a whole picture is passed over; what follows a truncated one is decoded to some part of it.
    followed = _by_libjpeg(frame + FOLLOWING + JPEG_EOI)
    if words is None or followed is None or not np.array_equal(words, followed):
        raise unreadable("The JPEG frame is truncated.")
    notes.warn(WarningCode.RESCUED, "The JPEG frame's end is missing.")
    return words


def _by_libjpeg(frame: bytes) -> Words | None:
    words: Words | None = cv2.imdecode(np.frombuffer(frame, np.uint8), cv2.IMREAD_UNCHANGED)
    return words


def _jpeg_deep(frame: bytes, header: Header, notes: Notes) -> Words | None:
    """Extended JPEG of 12 bits, which pydicom hands to no decoder but a GPL one, and lossless JPEG.

    gdcm decodes them well if told the codestream's precision. Told Bits Stored, as pydicom would tell it, it
    lets what the lossy coding carried above that fall back to black.
    """
    fragment, fragments = gdcm.Fragment(), gdcm.SequenceOfFragments.New()
    fragment.SetByteStringValue(frame)
    fragments.AddFragment(fragment)
    element = gdcm.DataElement(gdcm.Tag(0x7FE0, 0x0010))
    element.SetValue(fragments.__ref__())
    image = gdcm.Image()
    image.SetNumberOfDimensions(2)
    image.SetDimensions((header.columns, header.rows, 1))
    image.SetDataElement(element)
    grey = gdcm.PhotometricInterpretation(gdcm.PhotometricInterpretation.MONOCHROME2)  # not used in decoding
    image.SetPhotometricInterpretation(grey)
    lossless = header.frame == LOSSLESS
    syntax = "JPEGLosslessProcess14_1" if lossless else "JPEGExtendedProcess2_4"
    image.SetTransferSyntax(gdcm.TransferSyntax(getattr(gdcm.TransferSyntax, syntax)))
    container = 8 if header.bits <= 8 else 16
    image.SetPixelFormat(gdcm.PixelFormat(1, container, header.bits, header.bits - 1, 0))
    text = image.GetBuffer()
    if text is None:
        return None
    decoded = text.encode("utf-8", "surrogateescape")  # gdcm gives a char* as str
    words = np.frombuffer(decoded, "<u2" if container == 16 else np.uint8)
    return words.reshape(header.rows, header.columns) if words.size == header.rows * header.columns else None
