"""A DICOM file in the forms that DICOMweb serves: Explicit VR Little Endian, metadata, pictures. Runs in the sandboxed child.

Nothing clinical is refused here: a reader may look at each image that came, also at one that is not analysed.
"""

import struct
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any

import cv2
import numpy as np
import orjson
from numpy.typing import NDArray
from pydicom import Dataset, dcmread, dcmwrite
from pydicom.dataset import FileDataset
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import (
    HTJ2K,
    JPEG2000,
    UID,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    JPEG2000TransferSyntaxes,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLSNearLossless,
    JPEGLSTransferSyntaxes,
    JPEGTransferSyntaxes,
)

from model_worker.decoding.codecs import Words
from model_worker.decoding.codestream import Layout, decode_words
from model_worker.decoding.decoded import Notes
from model_worker.decoding.greyscale import grey_table
from model_worker.decoding.raster import through, to_eight_bits
from model_worker.decoding.reading import complete, read
from thorax.errors import CodedError
from thorax.forms import BULK_URI, LONGEST_INLINE, Forms, Part
from thorax.greyscale import number
from thorax.image_headers import unreadable

PIXELS = 0x7FE00010
ITEM = b"\xfe\xff\0\xe0"
THUMBNAIL_EDGE = 256
_BULK = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "UN"})
_MAYBE_LOSSY = (JPEGBaseline8Bit, JPEGExtended12Bit, JPEGLSNearLossless, JPEG2000, HTJ2K)
_METHODS = (  # PS3.3, C.7.6.1.1.5.1
    (JPEGTransferSyntaxes, "ISO_10918_1"),
    (JPEGLSTransferSyntaxes, "ISO_14495_1"),
    (JPEG2000TransferSyntaxes, "ISO_15444_1"),
    ((HTJ2K,), "ISO_15444_15"),
)


@dataclass
class Made:
    """The forms, and their bytes: `explicit` in pieces, empty where the stored file is that form."""

    forms: Forms
    metadata: bytes
    explicit: list[bytes] = field(default_factory=list)
    pictures: list[bytes] = field(default_factory=list)


@dataclass
class _Pixels:
    """Native pixel data, little endian, of frames of `size` bytes each; and pictures of the first frame."""

    data: bytes
    frames: int
    size: int
    pictures: list[bytes]


def make_forms(data: bytes) -> Made:
    """All forms of a DICOM file (PS3.10). Raises CodedError where its data set can't be read."""
    ds = read(data, Notes())
    syntax = UID(ds.file_meta.TransferSyntaxUID)
    metadata, stored = _metadata(ds, syntax), _stored_frames(ds, data, syntax)
    pixels, undecodable = None, None
    plain = syntax == ExplicitVRLittleEndian and not _is_encapsulated(ds, syntax)
    try:
        pixels = _pixels(ds, syntax) if ds.get("PixelData") else None
    except CodedError as error:
        undecodable = error.code
    explicit: list[bytes] = []
    if plain:
        bulk = _bulk(ds)
    elif undecodable is None:
        explicit, bulk = _explicit(ds, pixels)
    else:
        bulk = {}
    start = bulk[PIXELS][0] if pixels else 0
    forms = Forms(
        explicit_size=sum(map(len, explicit)) if explicit else None,
        frames=tuple((start + i * pixels.size, start + (i + 1) * pixels.size) for i in range(pixels.frames))
        if pixels
        else (),
        stored_frames=stored,
        bulk={f"{tag:08X}": place for tag, place in bulk.items()},
        pictures=tuple(map(len, pixels.pictures)) if pixels else (),
        undecodable=undecodable,
    )
    return Made(forms, metadata, explicit, pixels.pictures if pixels else [])


def _is_encapsulated(ds: FileDataset, syntax: UID) -> bool:
    return syntax.is_encapsulated or bytes(ds.get("PixelData") or b"")[:4] == ITEM


def _metadata(ds: FileDataset, syntax: UID) -> bytes:
    """DICOM JSON (PS3.18, F.2), in UTF-8; an element whose value is not valid is left out.

    Long binary values of the data set itself become a BulkDataURI that ends with their tag.
    """
    found = {"00083002": b'{"vr":"UI","Value":["%s"]}' % syntax.encode()}  # Available Transfer Syntax UID
    for tag in ds.keys():  # noqa: SIM118 - a data set yields its elements
        name = f"{int(tag):08X}"
        try:
            element = ds[tag]
            if element.VR in _BULK and len(element.value or b"") > LONGEST_INLINE:
                found[name] = b'{"vr":"%s",%s%s"}' % (element.VR.encode(), BULK_URI, name.encode())
            elif tag.element != 0:  # a group's length
                found[name] = orjson.dumps(element.to_json_dict(None, 0))
        except (ValueError, TypeError, AttributeError, OverflowError, KeyError, NotImplementedError):
            continue
    if "00080005" in found:
        found["00080005"] = b'{"vr":"CS","Value":["ISO_IR 192"]}'
    return b"{" + b",".join(b'"%s":%s' % (name.encode(), found[name]) for name in sorted(found)) + b"}"


def _stored_frames(ds: FileDataset, data: bytes, syntax: UID) -> tuple[tuple[Part, ...], ...]:
    """Where the fragments of each compressed frame lie in the file (PS3.5, A.4); empty if that can't be told."""
    if not syntax.is_encapsulated or "PixelData" not in ds:
        return ()
    fragments, at = list[Part](), ds["PixelData"].file_tell or 0
    while data[at : at + 4] == ITEM:
        (length,) = struct.unpack_from("<I", data, at + 4)
        fragments.append((at + 8, min(at + 8 + length, len(data))))
        at += 8 + length
    frames, of_image = _frames(ds), fragments[1:]  # the first is the offset table
    if frames == 1 and of_image:
        return (tuple(of_image),)
    return tuple((fragment,) for fragment in of_image) if len(of_image) == frames else ()


def _frames(ds: FileDataset) -> int:
    return max(1, int(number(ds, "NumberOfFrames", 1)))


def _pixels(ds: FileDataset, syntax: UID) -> _Pixels:
    """Native pixels. The data set then describes them. Raises CodedError for what can't be decoded."""
    notes, compressed, frames = Notes(force=True), _is_encapsulated(ds, syntax), _frames(ds)
    before = len(ds.PixelData)
    complete(ds, notes)
    words, layout = decode_words(ds, notes) if frames == 1 else _several(ds, syntax, all_=compressed)
    first = words if frames == 1 else words[0]
    pictures = _pictures(ds, first, layout, notes)
    if not compressed:
        data, needed = ds.PixelData, ds.Rows * ds.Columns * ds.SamplesPerPixel * ds.BitsAllocated // 8
        if syntax == ExplicitVRBigEndian and ds.BitsAllocated == 16:
            data = np.frombuffer(data, ">u2").astype("<u2").tobytes()
        return _Pixels(data, frames, min(needed, len(data) // frames), pictures)
    _describe(ds, first, layout)
    _tell_loss(ds, syntax, words.nbytes / max(1, before))
    data = np.ascontiguousarray(words.astype(words.dtype.newbyteorder("<"), copy=False)).tobytes()
    return _Pixels(data, frames, first.nbytes, pictures)


def _several(ds: FileDataset, syntax: UID, *, all_: bool) -> tuple[Words, Layout]:
    """The words of several frames, `[frames, rows, columns]` or with R G B; of the first alone without `all_`."""
    try:
        words, _ = get_decoder(syntax).as_array(ds, index=None if all_ else 0)
    except MemoryError:
        raise
    except Exception as error:  # decoders raise what they like
        raise unreadable("The pixel data is damaged, or not what the header says.") from error
    unsigned = np.asarray(words.view(words.dtype.str.replace("i", "u")))
    layout = Layout(ds.BitsStored, ds.HighBit, bool(ds.PixelRepresentation))
    return (unsigned if all_ else unsigned[np.newaxis]), layout


def _describe(ds: FileDataset, words: NDArray[Any], layout: Layout) -> None:
    """Let the Image Pixel module (PS3.3, C.7.6.3) say how decoded words are."""
    ds.BitsAllocated = words.itemsize * 8
    ds.BitsStored, ds.HighBit, ds.PixelRepresentation = layout.bits, layout.high_bit, int(layout.signed)
    if words.ndim == 3:
        ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.PlanarConfiguration = 3, "RGB", 0


def _tell_loss(ds: FileDataset, syntax: UID, ratio: float) -> None:
    """Pixels that were compressed with loss stay so when they are decoded (PS3.3, C.7.6.1.1.5)."""
    if syntax in _MAYBE_LOSSY and not ds.get("LossyImageCompression"):
        ds.LossyImageCompression = "01"
        ds.LossyImageCompressionRatio = f"{ratio:.2f}"
        ds.LossyImageCompressionMethod = next(method for group, method in _METHODS if syntax in group)


def _pictures(ds: FileDataset, words: NDArray[Any], layout: Layout, notes: Notes) -> list[bytes]:
    """The image as the file says that it is shown: JPEG, PNG, and a small JPEG. Bone light, not turned."""
    grey = (
        through(words, grey_table(ds, words, layout, notes))
        if words.ndim == 2
        else to_eight_bits(words[:, :, ::-1])
    )
    shrink = THUMBNAIL_EDGE / max(grey.shape[:2])
    small = cv2.resize(grey, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA) if shrink < 1 else grey
    made = [
        cv2.imencode(".jpg", grey, [cv2.IMWRITE_JPEG_QUALITY, 95])[1],
        cv2.imencode(".png", grey, [cv2.IMWRITE_PNG_COMPRESSION, 1])[1],
        cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, 90])[1],
    ]
    return [picture.tobytes() for picture in made]


def _explicit(ds: FileDataset, pixels: _Pixels | None) -> tuple[list[bytes], dict[int, Part]]:
    """A PS3.10 file as Explicit VR Little Endian, in pieces, and its bulk data. What follows the pixels is left out."""
    del ds[0x7FE00001:]  # offset tables, pixels, trailing padding
    for _ in ds.iterall():  # elements that were not looked at would be written as they were read
        pass
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    file = BytesIO()
    try:
        dcmwrite(file, ds, enforce_file_format=True, implicit_vr=False, little_endian=True)
    except MemoryError:
        raise
    except Exception as error:  # pydicom's writer has no exception of its own
        raise unreadable("The data set has values that can't be written in another encoding.") from error
    head = file.getvalue()
    bulk = _bulk(dcmread(BytesIO(head)))
    if pixels is None:
        return [head], bulk
    odd = len(pixels.data) % 2
    start, end = len(head) + 12, len(head) + 12 + len(pixels.data)
    vr = b"OB" if ds.BitsAllocated == 8 else b"OW"
    element = b"\xe0\x7f\x10\0" + vr + struct.pack("<HI", 0, len(pixels.data) + odd)
    return [head, element, pixels.data, b"\0" * odd], {**bulk, PIXELS: (start, end)}


def _bulk(ds: Dataset) -> dict[int, Part]:
    """Where the binary values of a file lie that is not compressed."""
    found = {}
    for tag in ds.keys():  # noqa: SIM118
        element = ds[tag]
        value, at = element.value, element.file_tell
        if element.VR in _BULK and isinstance(value, bytes) and at:
            found[int(tag)] = (at, at + len(value))
    return found
