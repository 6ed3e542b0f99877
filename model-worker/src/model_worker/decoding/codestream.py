"""Stored words: out of native pixel data, or of one compressed frame, which is decoded as it says itself that it is.

A header that contradicts the frame's size or components is refused. Where precision, sign or transfer syntax differ,
the frame is believed, as decoders believe it anyway.
"""

import struct
from dataclasses import dataclass, replace
from hashlib import sha256

import numpy as np
from pydicom.dataset import FileDataset
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.processing import apply_color_lut
from pydicom.uid import (
    UID,
    ExplicitVRLittleEndian,
    JPEG2000TransferSyntaxes,
    JPEGLSTransferSyntaxes,
    JPEGTransferSyntaxes,
    RLELossless,
)

from model_worker.decoding.codecs import J2K_STARTS, JPEG_SOI, Words, codec_of
from model_worker.decoding.decoded import Notes
from model_worker.decoding.rle import refuse_other_size
from thorax.image_headers import Header, unreadable
from thorax.image_warnings import WarningCode

ENCAPSULATED_UNCOMPRESSED = UID("1.2.840.10008.1.2.1.98")  # PS3.5, A.4.11
HTJ2K = frozenset({UID(f"1.2.840.10008.1.2.4.{n}") for n in (201, 202, 203)})
FRAMES = {*JPEGTransferSyntaxes, *JPEGLSTransferSyntaxes, *JPEG2000TransferSyntaxes, *HTJ2K}
MOST_SURPLUS = (
    1.1  # padding; of more, the header tells another size than the picture has, and a part would be shown
)
FAR_FEWER = (
    0.8  # with the wrong sign, 2,220 chests and their negatives have 1.6 times as many cliffs at least
)
EMPTY_OFFSET_TABLE = b"\xfe\xff\0\xe0\0\0\0\0"
RLE_FIRST_OFFSET = b"\x40\0\0\0"  # a frame of RLE begins with its segments' number and this (G.5)
RLE_RATIO = 64  # a run of 128 bytes takes two (PS3.5 G.3.1)


@dataclass(frozen=True)
class Layout:
    """Which bits of a stored word are its number (PS3.5 8.1.1): `bits` of them up to `high_bit`, `signed` or not."""

    bits: int
    high_bit: int
    signed: bool


def decode_words(ds: FileDataset, notes: Notes) -> tuple[Words, Layout]:
    """Words, uint8 or uint16 `[rows, columns]`, or colours `[rows, columns, 3]`, R G B; and their layout.

    Raises UNREADABLE_IMAGE with a sentence for each cause, DECODE_LIMIT for frames made to exhaust a decoder.
    """
    frame = _frame(ds, notes)
    if frame is None:
        native = _native(ds)
        return native, _native_layout(ds, native, notes)
    header, name, decode = codec_of(frame)
    _check(ds, header)
    if header.components > 1:
        return _colour(ds), Layout(8, 7, signed=False)
    words = decode(frame, header, notes)
    if words is None or words.shape != (ds.Rows, ds.Columns):
        raise unreadable(f"The {name} frame is damaged.")
    return words, _layout(ds, header, words, notes)


def digest(words: Words, layout: Layout) -> str:
    """sha256 (hex) of the pixels' numbers and their size, the same for each encoding without loss."""
    numbers = (words >> max(0, layout.high_bit + 1 - layout.bits)) & (2**layout.bits - 1)
    return sha256(repr(words.shape).encode() + numbers.astype("<u2").tobytes()).hexdigest()


def _frame(ds: FileDataset, notes: Notes) -> bytes | None:
    """The one compressed frame (PS3.5 A.4); None if the pixels are native or RLE, whatever the header says."""
    data, syntax = ds.PixelData, ds.file_meta.TransferSyntaxUID
    if data[:4] == b"\xfe\xff\0\xe0":
        if syntax == RLELossless:
            if data[12:16] == RLE_FIRST_OFFSET:
                ds.PixelData = EMPTY_OFFSET_TABLE + data
                notes.warn(WarningCode.RESCUED, "The pixel data's offset table is missing.")
            return None
        frame = _joined(data)
        if syntax == ENCAPSULATED_UNCOMPRESSED:
            ds.PixelData, ds.file_meta.TransferSyntaxUID = frame, ExplicitVRLittleEndian
            return None
    elif data.startswith((JPEG_SOI, *J2K_STARTS)) and syntax.is_compressed:
        frame = data
        notes.warn(WarningCode.RESCUED, "The compressed frame is not encapsulated.")
    else:
        if syntax.is_encapsulated:
            ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
            notes.warn(WarningCode.HEADER, "The pixel data is not compressed as claimed.")
        return None
    if syntax not in FRAMES:
        if not syntax.is_encapsulated:
            notes.warn(WarningCode.HEADER, "The pixel data is compressed, unlike claimed.")
        elif not frame.startswith((JPEG_SOI, *J2K_STARTS)):
            raise unreadable(f"The transfer syntax {syntax.name} is not supported.")
    return frame


def _joined(data: bytes) -> bytes:
    """The fragments behind the offset table (which some leave out), joined: one frame may be in several."""
    fragments, at = [], 0
    while data[at : at + 4] == b"\xfe\xff\0\xe0":
        (length,) = struct.unpack_from("<I", data, at + 4)
        fragments.append(data[at + 8 : at + 8 + length])
        if len(fragments[-1]) < length:
            raise unreadable("The compressed frame is truncated.")
        at += 8 + length
    if fragments and not fragments[0].startswith((JPEG_SOI, *J2K_STARTS)):
        del fragments[0]
    if not fragments:
        raise unreadable("The DICOM file has no compressed frame.")
    return b"".join(fragments)


def _check(ds: FileDataset, header: Header) -> None:
    """Decoders believe the frame, and memory was granted for what the header says."""
    if (header.rows, header.columns) != (ds.Rows, ds.Columns):
        raise unreadable(
            f"The compressed frame has {header.columns}×{header.rows} pixels; the header says {ds.Columns}×{ds.Rows}."
        )
    if header.components != ds.SamplesPerPixel:
        raise unreadable(
            f"The compressed frame has {header.components} components; Samples per Pixel (0028,0002) says {ds.SamplesPerPixel}."
        )
    if header.bits > 16:
        raise unreadable(f"The compressed frame has {header.bits} bits per pixel; 16 at most are supported.")


def _layout(ds: FileDataset, header: Header, words: Words, notes: Notes) -> Layout:
    """A decoded number has the frame's precision. It is signed if the header says so (a JPEG can't say).

    Words that were masked to Bits Stored before they were compressed carry their sign there.
    """
    stored = min(ds.BitsStored, header.bits)
    said = Layout(header.bits, header.bits - 1, bool(ds.PixelRepresentation))
    layout = smoothest(words, Layout(stored, stored - 1, said.signed), said)
    if header.signed is None:
        return _believed_sign(words, layout, notes)
    if header.signed == layout.signed:
        return layout
    # The header and the JPEG 2000 codestream contradict each other: the wrong one makes cliffs where numbers wrap.
    other = Layout(header.bits, header.bits - 1, header.signed)
    notes.warn(WarningCode.HEADER, "Pixel Representation (0028,0103) and the codestream's sign contradict.")
    return smoothest(words, layout, other)


def _native_layout(ds: FileDataset, words: Words, notes: Notes) -> Layout:
    """The header's, unless the words hold more bits than Bits Stored, or another sign, and are smoother so."""
    said = Layout(ds.BitsStored, ds.HighBit, bool(ds.PixelRepresentation))
    if words.ndim == 3 or said.high_bit >= said.bits:
        return said
    allocated = words.itemsize * 8
    layout = smoothest(words, said, Layout(allocated, allocated - 1, said.signed))
    if layout != said:
        notes.warn(WarningCode.HEADER, "Bits Stored (0028,0101) is less than the pixels' bits.")
    return _believed_sign(words, layout, notes)


def _believed_sign(words: Words, layout: Layout, notes: Notes) -> Layout:
    """The layout, or one of the other sign if that has far fewer cliffs."""
    other = replace(layout, signed=not layout.signed)
    if _cliffs(words, other) >= FAR_FEWER * _cliffs(words, layout):
        return layout
    notes.warn(WarningCode.HEADER, "Pixel Representation (0028,0103) and the pixels' sign contradict.")
    return other


def smoothest(words: Words, *layouts: Layout) -> Layout:
    """The first layout that makes the fewest cliffs: bits that are cut off, or an overlay's that are not, make some."""
    first, *others = dict.fromkeys(layouts)
    return min((first, *others), key=lambda layout: _cliffs(words, layout)) if others else first


def _cliffs(words: Words, layout: Layout) -> float:
    """The mean step between neighbours in a row."""
    values = (words[:: max(1, len(words) // 64)].astype(np.int32)) & (2**layout.bits - 1)
    if layout.signed:
        sign = 1 << (layout.bits - 1)
        values = (values ^ sign) - sign
    return float(np.abs(np.diff(values, axis=1)).mean())


def _native(ds: FileDataset) -> Words:
    """Native and RLE pixels, by pydicom."""
    needed = ds.Rows * ds.Columns * ds.SamplesPerPixel * ds.BitsAllocated // 8
    if ds.file_meta.TransferSyntaxUID == RLELossless:
        if len(_joined(ds.PixelData)) * RLE_RATIO < needed:
            raise unreadable("The RLE frame is too short for the size that the header claims.")
        refuse_other_size(_joined(ds.PixelData), ds.Rows, ds.Columns)
    elif (len(ds.PixelData) < needed and ds.PhotometricInterpretation != "YBR_FULL_422") or (
        len(ds.PixelData) > needed * MOST_SURPLUS
    ):
        raise unreadable(f"The pixel data has {len(ds.PixelData)} bytes; the header needs {needed}.")
    if ds.SamplesPerPixel > 1 or ds.PhotometricInterpretation == "PALETTE COLOR":
        return _colour(ds)
    return _by_pydicom(ds)


def _colour(ds: FileDataset) -> Words:
    values = _by_pydicom(ds)
    if ds.PhotometricInterpretation == "PALETTE COLOR":
        try:
            values = apply_color_lut(values, ds)
        except (AttributeError, ValueError, KeyError, IndexError) as error:
            raise unreadable("The palette (0028,1101) is not usable.") from error
    return np.asarray(values)


def _by_pydicom(ds: FileDataset) -> Words:
    decoder = get_decoder(ds.file_meta.TransferSyntaxUID)
    plugin = "pylibjpeg" if "pylibjpeg" in decoder.available_plugins else ""
    try:
        values, _ = decoder.as_array(
            ds,
            decoding_plugin=plugin,
            correct_unused_bits=False,  # type: ignore[arg-type]  # the table masks, whatever High Bit is
        )
    except MemoryError:
        raise
    except Exception as error:  # decoders raise what they like
        raise unreadable("The pixel data is damaged, or not what the header says.") from error
    values = values.astype(values.dtype.newbyteorder("="), copy=False)  # big-endian files keep their order
    if values.dtype.kind == "i":
        values = values.view(values.dtype.str.replace("i", "u"))
    if values.dtype not in (np.uint8, np.uint16) or values.shape[:2] != (ds.Rows, ds.Columns):
        raise unreadable("The pixel data is not what the header says.")
    return np.asarray(values)
