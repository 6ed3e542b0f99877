"""Pictures for people: the image, a heatmap, and one over the other, as PNG. Pure; nothing is stored."""

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from gateway.images.viewport import Viewport
from thorax.errors import Code, CodedError
from thorax.image_headers import png_header

COLORMAPS = {
    "inferno": cv2.COLORMAP_INFERNO,
    "viridis": cv2.COLORMAP_VIRIDIS,
    "magma": cv2.COLORMAP_MAGMA,
    "plasma": cv2.COLORMAP_PLASMA,
    "turbo": cv2.COLORMAP_TURBO,
}
"""Perceptually uniform ones, and turbo for those who miss the rainbow (jet would invent borders)."""

MAX_STORED = 1024
MOST_BYTES = 64_000_000  # of a picture's pixels
JPEG = [cv2.IMWRITE_JPEG_QUALITY, 90]
FAST_PNG = [cv2.IMWRITE_PNG_COMPRESSION, 1, cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_UP]

Image = npt.NDArray[np.uint8]
Heat = npt.NDArray[np.floating[Any]]


def fitted(display_png: bytes, size: int) -> tuple[int, int]:
    """Width and height of a stored image scaled so that its longest side is `size` pixels.

    Raises CodedError(INTERNAL) for a blob that is not a grey PNG of at most 1024×1024: the workers make no other,
    but the child that made it had read a stranger's file.
    """
    width, height = _stored_size(display_png)
    scale = size / max(width, height)
    return max(1, round(width * scale)), max(1, round(height * scale))


def _stored_size(display_png: bytes) -> tuple[int, int]:
    damaged = CodedError(Code.INTERNAL, "The stored display image is damaged.")
    try:
        header = png_header(display_png)
    except CodedError:
        raise damaged from None
    width, height = header.columns, header.rows
    if not (
        0 < width <= MAX_STORED and 0 < height <= MAX_STORED and (header.bits, header.components) == (8, 1)
    ):
        raise damaged
    return width, height


def grey(display_png: bytes, size: int) -> bytes:
    """The stored image as an 8-bit grey PNG, longest side `size`; as stored where that is its size."""
    width, height = fitted(display_png, size)
    if _stored_size(display_png) == (width, height):
        return display_png
    return _png(_scaled(display_png, (width, height)))


def region(png: bytes, viewport: Viewport, *, jpeg: bool) -> bytes:
    """The part of a picture that a viewport shows, as large as it fits in (PS3.18, 8.3.5.1.3), as JPEG or PNG.

    Raises CodedError: VALIDATION if it shows no pixel, NOT_ACCEPTABLE for a picture of more than `MOST_BYTES`.
    """
    header = png_header(png)
    if header.bits != 8 or header.components not in (1, 3):
        raise CodedError(Code.INTERNAL, "The stored picture is damaged.")
    if header.rows * header.columns * header.components > MOST_BYTES:
        raise CodedError(Code.NOT_ACCEPTABLE, "The image is too large to be scaled. Leave out `viewport`.")
    image = _decoded(png, cv2.IMREAD_UNCHANGED)
    height, width = image.shape[:2]
    columns, rows = viewport.columns or width, viewport.rows or height
    right, bottom = viewport.left + abs(columns), viewport.top + abs(rows)
    shown = image[round(viewport.top) : round(bottom), round(viewport.left) : round(right)]
    if not shown.size:
        raise CodedError(
            Code.VALIDATION, f"The image has {width}×{height} pixels; `viewport` shows none of them."
        )
    if columns < 0 or rows < 0:
        shown = np.asarray(cv2.flip(shown, -1 if columns < 0 and rows < 0 else int(columns < 0)), np.uint8)
    scale = min(viewport.width / shown.shape[1], viewport.height / shown.shape[0])
    size = max(1, round(shown.shape[1] * scale)), max(1, round(shown.shape[0] * scale))
    scaled = cv2.resize(shown, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    return _encoded(scaled, ".jpg", JPEG) if jpeg else _png(scaled)


def heatmap(heat: Heat, size: tuple[int, int], colormap: str = "inferno") -> bytes:
    """One finding's map `[h, w]` in 0..1 as an RGBA PNG of (width, height); as opaque as it is hot."""
    level = _levels(heat, size)
    bgra = cv2.cvtColor(cv2.applyColorMap(level, _colours(colormap)), cv2.COLOR_BGR2BGRA)
    bgra[:, :, 3] = level
    return _png(bgra)


def overlay(
    display_png: bytes, heat: Heat, opacity: float = 0.5, colormap: str = "inferno", size: int = 1024
) -> bytes:
    """The map laid over the image as an RGB PNG, longest side `size`.

    Each pixel is `opacity` × its heat of colour and the rest image, so that cold places show it untouched.
    """
    shape = fitted(display_png, size)
    image = cv2.cvtColor(_scaled(display_png, shape), cv2.COLOR_GRAY2BGR)
    level = _levels(heat, shape)
    share = cv2.cvtColor(level, cv2.COLOR_GRAY2BGR)
    share = cv2.convertScaleAbs(share, alpha=min(max(opacity, 0.0), 1.0))
    colour = cv2.multiply(cv2.applyColorMap(level, _colours(colormap)), share, scale=1 / 255)
    return _png(cv2.add(cv2.multiply(image, cv2.bitwise_not(share), scale=1 / 255), colour))


def _levels(heat: Heat, size: tuple[int, int]) -> Image:
    """A map in 0..1 to uint8 `[height, width]`, bicubic so that a 28×28 grid shows no squares."""
    smooth = cv2.resize(np.asarray(heat, np.float32), size, interpolation=cv2.INTER_CUBIC)
    return np.asarray(cv2.convertScaleAbs(np.maximum(smooth, 0), alpha=255))


def _scaled(display_png: bytes, size: tuple[int, int]) -> Image:
    image = _decoded(display_png, cv2.IMREAD_GRAYSCALE)
    shrinks = size[0] < image.shape[1]
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC))


def _decoded(png: bytes, how: int) -> Image:
    image = cv2.imdecode(np.frombuffer(png, np.uint8), how)
    if image is None:
        raise CodedError(Code.INTERNAL, "The stored image can't be read.")
    return np.asarray(image, np.uint8)


def _colours(colormap: str) -> int:
    try:
        return COLORMAPS[colormap]
    except KeyError:
        raise CodedError(Code.VALIDATION, f"colormap must be one of {', '.join(COLORMAPS)}.") from None


def _png(image: npt.NDArray[Any]) -> bytes:
    return _encoded(image, ".png", FAST_PNG)


def _encoded(image: npt.NDArray[Any], suffix: str, how: list[int]) -> bytes:
    done, file = cv2.imencode(suffix, image, how)
    if not done:
        raise CodedError(Code.INTERNAL, "The picture could not be written.")
    return bytes(file.tobytes())
