"""PNG and JPEG to a grey image, upright and light where X-rays were stopped. Runs in the sandboxed child."""

import struct
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from model_worker.decoding.decoded import DecodedImage, Notes
from model_worker.decoding.orientation import AS_STORED, LYING, UNDO, upright
from thorax.errors import Code, CodedError
from thorax.image_headers import (
    JPEG,
    MAX_PIXELS,
    PNG,
    check_size,
    jpeg_header,
    png_header,
    unreadable,
)

Grey = NDArray[np.uint8]
Pixels = NDArray[Any]  # uint8 or uint16

_ORIENTATION = 0x0112
_REDUCED: dict[tuple[str, int, int], int] = {
    (JPEG, components, times): flag
    for components, flags in (
        (1, (cv2.IMREAD_REDUCED_GRAYSCALE_2, cv2.IMREAD_REDUCED_GRAYSCALE_4, cv2.IMREAD_REDUCED_GRAYSCALE_8)),
        (3, (cv2.IMREAD_REDUCED_COLOR_2, cv2.IMREAD_REDUCED_COLOR_4, cv2.IMREAD_REDUCED_COLOR_8)),
    )
    for times, flag in enumerate(flags, 1)
}
COLOUR = 64
COLOUR_SHARE = 0.2


def decode_raster(
    data: bytes, media_type: str, edge: int = MAX_PIXELS, *, force: bool = False
) -> DecodedImage:
    """Decode a PNG or JPEG file.

    Alpha is laid over black, palettes are resolved, EXIF orientation is applied, 16 bits become 8 as
    `to_eight_bits` says. A strongly coloured picture is NOT_A_CHEST unless `force` overrules it; a tinted or annotated film is not.
    A JPEG is halved while its longest side keeps `edge` pixels: its DCT gives the averages of 2×2 for less.
    """
    header = png_header(data) if media_type == PNG else jpeg_header(data)
    check_size(header.rows, header.columns)
    if media_type == JPEG and header.components == 4 and not header.adobe:
        # Adobe stores CMYK inverted and says so in APP14; without it the polarity would be a guess.
        raise unreadable(
            "The JPEG image is CMYK without Adobe's marker, so its polarity is unknown. Send it in greyscale."
        )
    reduced = _REDUCED.get((media_type, header.components, halvings(max(header.rows, header.columns), edge)))
    flags = cv2.IMREAD_UNCHANGED if reduced is None else reduced | cv2.IMREAD_IGNORE_ORIENTATION
    pixels, kinds, metadata = cv2.imdecodeWithMetadata(np.frombuffer(data, np.uint8), flags)
    if pixels is None:
        raise unreadable("The image is truncated or damaged.")
    exif = [m.tobytes() for kind, m in zip(kinds, metadata, strict=False) if kind == cv2.IMAGE_METADATA_EXIF]
    notes = Notes(force)
    if pixels.ndim == 3:
        notes.check(lambda: refuse_colour(pixels[:, :, :3]))
    turn = exif_orientation(exif[0]) if exif else AS_STORED
    grey = upright(to_eight_bits(to_grey(pixels)), turn)
    size = (header.columns, header.rows) if turn in LYING else (header.rows, header.columns)
    return DecodedImage(grey, *size, turn, tuple(notes.warnings))


def halvings(longest: int, edge: int) -> int:
    """How often `longest` pixels can be halved before they are fewer than `edge`."""
    return max(0, (longest // edge).bit_length() - 1)


def halved(grey: Grey, edge: int) -> Grey:
    """The image at a half, a quarter, ... as long as its longest side keeps `edge` pixels: averages of 2×2.

    An odd last row or column is left out, as with it OpenCV would take the slow way, which costs ten times as much.
    """
    for _ in range(halvings(max(grey.shape), edge)):
        even = grey[: grey.shape[0] & ~1, : grey.shape[1] & ~1]
        grey = np.asarray(cv2.resize(even, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA))
    return grey


def to_grey(pixels: Pixels) -> Pixels:
    """Grey, BGR or BGRA to grey of the same depth (ITU-R BT.601 luma)."""
    if pixels.ndim == 2:
        return pixels
    alpha = pixels[:, :, 3:].astype(np.float32) if pixels.shape[2] == 4 else None
    colour = pixels[:, :, :3]
    grey = np.asarray(cv2.cvtColor(np.ascontiguousarray(colour), cv2.COLOR_BGR2GRAY))
    if alpha is None:
        return grey
    return np.asarray(grey * (alpha[:, :, 0] / np.iinfo(pixels.dtype).max) + 0.5).astype(pixels.dtype)


def refuse_colour(colour: Pixels) -> None:
    """NOT_A_CHEST if a fifth of the pixels `[rows, columns, 3]` is strongly coloured."""
    step = max(1, max(colour.shape[:2]) // 512)
    sample = colour[::step, ::step].astype(np.float32) * (255 / np.iinfo(colour.dtype).max)
    chroma = sample.max(axis=2) - sample.min(axis=2)
    if (chroma > COLOUR).mean() > COLOUR_SHARE:
        raise CodedError(Code.NOT_A_CHEST, "The image is a colour picture, not a radiograph.")


def to_eight_bits(grey: Pixels) -> Grey:
    """uint16 to uint8 by the bits that are really used; uint8 stays as it is.

    Many exports put 10, 12 or 14 bits into a 16-bit file, which a plain `/ 257` would show as black. The depth is
    that of the 99.9th percentile, so that a few saturated pixels (a burned-in letter) do not decide it; an
    image that uses all 16 bits comes out as its 8-bit twin does.
    """
    if grey.dtype == np.uint8:
        return grey
    step = max(1, grey.size // 1_000_000)
    depth = max(8, int(np.percentile(grey.reshape(-1)[::step], 99.9)).bit_length())
    full = 2**depth - 1
    table = (np.minimum(np.arange(65536), full) * (255 / full) + 0.5).astype(np.uint8)
    return through(grey, table)


def through(words: Pixels, table: Grey) -> Grey:
    """Each word's entry in a table of 256 or 65536; cv2 does it 3 times faster than indexing."""
    return np.asarray(cv2.LUT(words, table.reshape(1, -1)))


def exif_orientation(exif: bytes) -> int:
    """The orientation tag in an EXIF block's first directory (TIFF 6.0, section 2); 1 if there is none or it is invalid."""
    exif = exif.removeprefix(b"Exif\0\0")
    order = {b"II": "<", b"MM": ">"}.get(exif[:2])
    try:
        if order is None:
            return 1
        (at,) = struct.unpack_from(f"{order}I", exif, 4)
        (count,) = struct.unpack_from(f"{order}H", exif, at)
        for entry in range(min(count, 64)):
            tag, _, _, value = struct.unpack_from(f"{order}HHIH", exif, at + 2 + 12 * entry)
            if tag == _ORIENTATION:
                return int(value) if value in UNDO else AS_STORED
    except struct.error:
        pass
    return 1
