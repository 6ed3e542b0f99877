"""A DICOM file to a grey image, light where X-rays were stopped. Runs in the sandboxed child.

Everything between a stored word and a grey value (masking, Modality LUT, VOI LUT, polarity, padding) is one table
with an entry per possible word: built in a millisecond, applied in one pass, and easy to test as a whole.
"""

import zlib
from io import BytesIO
from typing import Any

import gdcm
import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import FileDataset
from pydicom.encaps import generate_frames
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.processing import apply_color_lut
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    DigitalXRayImageStorageForProcessing,
    JPEG2000TransferSyntaxes,
    JPEGExtended12Bit,
    JPEGLSTransferSyntaxes,
    JPEGTransferSyntaxes,
    RLELossless,
)

from model_worker.decoding.attributes import DicomAttributes, read_attributes, refuse_no_chest
from model_worker.decoding.greyscale import grey_table
from model_worker.decoding.raster import Grey, through, to_eight_bits, to_grey
from thorax.errors import Code, CodedError
from thorax.image_headers import check_size, j2k_header, jpeg_header, unreadable

RAW = DigitalXRayImageStorageForProcessing
HTJ2K = frozenset({UID(f"1.2.840.10008.1.2.4.{n}") for n in (201, 202, 203)})
PHOTOMETRIC = frozenset(
    {"MONOCHROME1", "MONOCHROME2", "PALETTE COLOR", "RGB"}
    | {f"YBR_{kind}" for kind in ("FULL", "FULL_422", "PARTIAL_420", "ICT", "RCT")}
)
MAX_INFLATED = 140_000_000  # 64 Mpx of 16 bits are 128 MB
RLE_RATIO = 64  # a run of 128 bytes takes two (PS3.5 G.3.1)


def decode_dicom(data: bytes) -> tuple[Grey, DicomAttributes]:
    """Decode a DICOM file to grey uint8 `[rows, columns]` and its attributes.

    Raises CodedError for what is no single-frame radiograph for presentation, NOT_A_CHEST where it says so.
    """
    _refuse_inflation(data)
    ds = pydicom.dcmread(BytesIO(data))
    attributes = read_attributes(ds)
    refuse_no_chest(attributes)
    _refuse_unusable(ds)
    words = _decode_words(ds)
    if words.ndim == 3:
        return to_eight_bits(to_grey(words[:, :, ::-1])), attributes  # DICOM has R G B, cv2 B G R
    return through(words, grey_table(ds, words)), attributes


def _refuse_inflation(data: bytes) -> None:
    """Refuse a deflated file that unpacks to more than any radiograph needs, before pydicom unpacks all of it.

    The File Meta group says its own length first (PS3.10, 7.1); all behind it is deflated (PS3.5, A.5).
    """
    end = 144 + int.from_bytes(data[140:144], "little")
    if DeflatedExplicitVRLittleEndian.encode() not in data[144:end]:
        return
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    inflater.decompress(data[end:], MAX_INFLATED)
    if inflater.unconsumed_tail:
        raise CodedError(Code.DECODE_LIMIT, f"The file unpacks to more than {MAX_INFLATED // 10**6} MB.")


def _refuse_unusable(ds: FileDataset) -> None:
    """Refuse, before decoding, what can't be decoded to one picture of known polarity."""
    if "PixelData" not in ds:
        raise unreadable("The DICOM file has no pixel data.")
    if int(ds.get("NumberOfFrames") or 1) != 1:
        raise unreadable("The DICOM file has several frames; send radiographs of one frame.")
    if ds.get("PresentationIntentType") == "FOR PROCESSING" or ds.get("SOPClassUID") == RAW:
        raise unreadable("The DICOM file holds raw detector values; send the image for presentation.")
    if ds.PhotometricInterpretation not in PHOTOMETRIC:
        raise unreadable("The DICOM file's photometric interpretation is unknown, and so its polarity.")
    check_size(int(ds.Rows), int(ds.Columns))
    if ds.BitsAllocated not in (8, 16) or not 1 <= ds.BitsStored <= ds.BitsAllocated:
        raise unreadable(f"The DICOM file has {ds.BitsAllocated} bits per pixel; 8 or 16 are possible.")
    if ds.file_meta.TransferSyntaxUID.is_encapsulated:
        _check_frame(ds)


def _check_frame(ds: FileDataset) -> None:
    """The compressed frame must be what Rows and Columns say: decoders believe one, we checked the other."""
    syntax = ds.file_meta.TransferSyntaxUID
    frame = next(generate_frames(ds.PixelData, number_of_frames=1))
    if syntax == RLELossless:
        size = ds.Rows * ds.Columns * ds.get("SamplesPerPixel", 1) * ds.BitsAllocated // 8
        if len(frame) * RLE_RATIO < size:
            raise unreadable("The RLE frame is too short for the size that the DICOM file claims.")
        return
    if syntax in JPEGTransferSyntaxes or syntax in JPEGLSTransferSyntaxes:
        header = jpeg_header(frame)
    elif syntax in JPEG2000TransferSyntaxes or syntax in HTJ2K:
        header = j2k_header(frame)
    else:
        raise unreadable("The DICOM file's transfer syntax is not supported.")
    if (header.rows, header.columns) != (ds.Rows, ds.Columns):
        raise unreadable("The compressed frame has another size than the DICOM file claims.")


def _decode_words(ds: FileDataset) -> NDArray[Any]:
    """Stored words, uint8 or uint16 `[rows, columns]`, or colours `[rows, columns, 3]`, R G B."""
    syntax = ds.file_meta.TransferSyntaxUID
    if syntax == JPEGExtended12Bit and ds.BitsAllocated == 16:
        return _twelve_bit_jpeg(next(generate_frames(ds.PixelData, number_of_frames=1)), ds.Rows, ds.Columns)
    decoder = get_decoder(syntax)
    # OpenJPEG itself takes 110 CPU-ms for 3.6 Mpx of JPEG 2000, gdcm's old copy of it 190.
    plugin = "pylibjpeg" if "pylibjpeg" in decoder.available_plugins else ""
    values, _ = decoder.as_array(
        ds,
        decoding_plugin=plugin,
        correct_unused_bits=False,  # type: ignore[arg-type]  # the table masks, whatever High Bit is
    )
    if ds.PhotometricInterpretation == "PALETTE COLOR":
        values = apply_color_lut(values, ds)
    values = values.astype(values.dtype.newbyteorder("="), copy=False)  # big-endian files keep their order
    if values.dtype.kind == "i":
        values = values.view(values.dtype.str.replace("i", "u"))
    if values.dtype not in (np.uint8, np.uint16) or values.shape[:2] != (ds.Rows, ds.Columns):
        raise unreadable("The DICOM file's pixels are not what its header says.")
    return np.asarray(values)


def _twelve_bit_jpeg(frame: bytes, rows: int, columns: int) -> NDArray[np.uint16]:
    """Extended JPEG of 12 bits, which pydicom hands to no decoder but a GPL one.

    gdcm decodes it well if told 12 bits, the codestream's precision. Told Bits Stored, as pydicom would tell it, it
    lets what the lossy coding carried above that fall back to black.
    """
    fragment, fragments = gdcm.Fragment(), gdcm.SequenceOfFragments.New()
    fragment.SetByteStringValue(frame)
    fragments.AddFragment(fragment)
    element = gdcm.DataElement(gdcm.Tag(0x7FE0, 0x0010))
    element.SetValue(fragments.__ref__())
    image = gdcm.Image()
    image.SetNumberOfDimensions(2)
    image.SetDimensions((columns, rows, 1))
    image.SetDataElement(element)
    grey = gdcm.PhotometricInterpretation(gdcm.PhotometricInterpretation.MONOCHROME2)  # not used in decoding
    image.SetPhotometricInterpretation(grey)
    image.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.JPEGExtendedProcess2_4))
    image.SetPixelFormat(gdcm.PixelFormat(1, 16, 12, 11, 0))
    words = image.GetBuffer().encode("utf-8", "surrogateescape")  # gdcm gives a char* as str
    return np.frombuffer(words, "<u2").reshape(rows, columns)
