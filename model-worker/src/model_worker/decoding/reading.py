"""From a file's bytes to a data set that names its pixels' layout, as forgiving as dcmtk and gdcm are.

What was mended is told by a warning; what can't be is told by the element's name and tag.
"""

from io import BytesIO

import pydicom
from pydicom.datadict import dictionary_description, tag_for_keyword
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    DigitalXRayImageStorageForProcessing,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from model_worker.decoding.decoded import Notes
from model_worker.decoding.sequences import unended
from thorax.dicom_files import DEFLATED, bare_data_set, data_set_at
from thorax.errors import CodedError
from thorax.greyscale import number
from thorax.image_headers import check_size, unreadable
from thorax.image_warnings import WarningCode

PIXELS = b"\xe0\x7f\x10\0"
AS_OB, AS_OW, AS_UN = (PIXELS + vr + b"\0\0\xff\xff\xff\xff" for vr in (b"OB", b"OW", b"UN"))
"""How compressed pixel data begins."""
PHOTOMETRIC = frozenset(
    {"MONOCHROME1", "MONOCHROME2", "PALETTE COLOR", "RGB"}
    | {f"YBR_{kind}" for kind in ("FULL", "FULL_422", "PARTIAL_420", "ICT", "RCT")}
)

# Elements are read as they are: what is not valid is handled where it is used.
pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE


def read(data: bytes, notes: Notes) -> FileDataset:
    """The data set of a DICOM file (PS3.10), whose transfer syntax is known. Raises UNREADABLE_IMAGE, DECODE_LIMIT."""
    unended.set(False)
    ds = _parsed(data, notes)
    lost = max(data.rfind(AS_OB), data.rfind(AS_OW))
    if "PixelData" not in ds and lost > 0:
        # A compressed frame without its Sequence Delimitation Item (PS3.5 A.4) ends with the file; or an icon's took it along.
        ds = _parsed(data[:lost], notes)
        ds.PixelData = data[lost + len(AS_OB) :]
        notes.warn(
            WarningCode.RESCUED, "The pixel data's delimiter is missing, or a length before it is wrong."
        )
    if unended.get():
        notes.warn(WarningCode.RESCUED, "A sequence's delimiter is missing from the DICOM header.")
    if not len(ds):
        raise unreadable("The file is not a DICOM data set.")
    if not getattr(ds, "file_meta", None):
        ds.file_meta = FileMetaDataset()
    if not UID(str(ds.file_meta.get("TransferSyntaxUID") or "")).is_transfer_syntax:
        ds.file_meta.TransferSyntaxUID = _encoding(ds)
        notes.warn(
            WarningCode.RESCUED,
            "Transfer Syntax UID (0002,0010) is missing, unknown or wrong; it was guessed.",
        )
    return ds


def refuse_unusable(ds: FileDataset) -> None:
    """Raise UNREADABLE_IMAGE for what can't be decoded to one picture for presentation."""
    if not ds.get("PixelData"):
        raise unreadable("The DICOM file has no pixel data.")
    if number(ds, "NumberOfFrames", 1) > 1:
        raise unreadable("The DICOM file has several frames. Send radiographs of one frame.")
    raw = ds.get("SOPClassUID") == DigitalXRayImageStorageForProcessing
    if raw or ds.get("PresentationIntentType") == "FOR PROCESSING":
        raise unreadable("The DICOM file holds raw detector values. Send the image for presentation.")


def complete(ds: FileDataset, notes: Notes) -> None:
    """Give the Image Pixel module's type 1 elements (PS3.3 C.7.6.3) the values that dcmtk and gdcm assume.

    Raises UNREADABLE_IMAGE with the tag of an element that can't be assumed, or has no usable value.
    """
    for keyword in ("Rows", "Columns"):
        _require(ds, keyword)
    ds.PhotometricInterpretation = _photometric(ds)
    check_size(int(ds.Rows), int(ds.Columns))
    grey = ds.PhotometricInterpretation in ("MONOCHROME1", "MONOCHROME2", "PALETTE COLOR")
    _assume(ds, "SamplesPerPixel", 1 if grey else 3, notes)
    _assume(ds, "BitsAllocated", _bits_of_length(ds), notes)
    if ds.BitsAllocated not in (8, 16):
        raise unreadable(f"{_named('BitsAllocated')} is {ds.BitsAllocated}; 8 and 16 are supported.")
    _assume(ds, "BitsStored", ds.BitsAllocated, notes)
    if not 1 <= ds.BitsStored <= ds.BitsAllocated:
        raise unreadable(
            f"{_named('BitsStored')} is {ds.BitsStored}, with {ds.BitsAllocated} bits allocated."
        )
    _assume(ds, "HighBit", ds.BitsStored - 1, notes)
    _assume(ds, "PixelRepresentation", 0, notes)
    if ds.SamplesPerPixel > 1:
        _assume(ds, "PlanarConfiguration", 0, notes)


def _parsed(data: bytes, notes: Notes) -> FileDataset:
    """The data set; pydicom inflates what it likes, and believes the File Meta Information about the order of bytes."""
    try:
        if (bare := bare_data_set(data)) is None:
            return pydicom.dcmread(BytesIO(data), force=True)
        plain, wrong = bare
        ds = pydicom.dcmread(BytesIO(plain), force=True)
        if wrong:
            notes.warn(WarningCode.RESCUED, wrong)
        if DEFLATED.encode() in data[: data_set_at(data)]:
            ds.file_meta = FileMetaDataset()
            ds.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
        return ds
    except CodedError:
        raise
    except RecursionError:
        raise unreadable("The DICOM file's sequences are nested too deeply.") from None
    except MemoryError:
        raise
    except Exception as error:  # pydicom's parser has no exception of its own
        if AS_UN in data:  # which pydicom takes for a sequence (PS3.5, 6.2.2)
            return _parsed(data.replace(AS_UN, AS_OB), notes)
        raise unreadable("The DICOM file is damaged: its data set can't be parsed.") from error


def _encoding(ds: FileDataset) -> UID:
    """The uncompressed transfer syntax that the data set was found to be in."""
    implicit, little_endian = ds.original_encoding
    if implicit:
        return ImplicitVRLittleEndian
    return ExplicitVRLittleEndian if little_endian else ExplicitVRBigEndian


def _named(keyword: str) -> str:
    tag = tag_for_keyword(keyword) or 0
    return f"{dictionary_description(tag)} ({tag >> 16:04X},{tag & 0xFFFF:04X})"


def _require(ds: FileDataset, keyword: str) -> None:
    if not isinstance(ds.get(keyword), int):
        raise unreadable(f"{_named(keyword)} is missing from the DICOM header.")


def _assume(ds: FileDataset, keyword: str, value: int, notes: Notes) -> None:
    if isinstance(ds.get(keyword), int):
        return
    setattr(ds, keyword, value)
    notes.warn(WarningCode.HEADER, f"{_named(keyword)} is missing; {value} was assumed.")


def _bits_of_length(ds: FileDataset) -> int:
    """Bits Allocated by the length of the pixel data; 16 if that is compressed."""
    pixels = int(ds.Rows) * int(ds.Columns) * int(ds.SamplesPerPixel)
    return 8 if pixels <= len(ds.PixelData) < 2 * pixels else 16


def _photometric(ds: FileDataset) -> str:
    """Photometric Interpretation; without it the polarity would be a guess."""
    said = " ".join(str(ds.get("PhotometricInterpretation") or "").upper().split())
    said = said.replace("MONOCHROME ", "MONOCHROME")
    if not said:
        raise unreadable(f"{_named('PhotometricInterpretation')} is missing, and so the polarity is unknown.")
    if said not in PHOTOMETRIC:
        raise unreadable(f"{_named('PhotometricInterpretation')} is unknown, and so is the polarity.")
    return said
