"""Pictures that a radiograph might be, as small files: each differs with its seed."""

from io import BytesIO
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from tests.factories.hostile import dicom


def grey(seed: int = 0, size: int = 256) -> npt.NDArray[np.uint8]:
    """Soft noise, uint8 `[size, size]`."""
    rng = np.random.default_rng(seed)
    return np.asarray(cv2.GaussianBlur(rng.integers(0, 255, (size, size), np.uint8), (0, 0), 5), np.uint8)


def chest_png(seed: int = 0, size: int = 256) -> bytes:
    """The noise as PNG."""
    return bytes(cv2.imencode(".png", grey(seed, size))[1].tobytes())


def chest_jpeg(seed: int = 0, size: int = 256) -> bytes:
    """The noise as JPEG."""
    return bytes(cv2.imencode(".jpg", grey(seed, size))[1].tobytes())


def chest_dicom(seed: int = 0, size: int = 256, **elements: Any) -> bytes:
    """The noise as an uncompressed CR image; `elements` are further DICOM elements by keyword."""
    return dicom(grey(seed, size).tobytes(), Rows=size, Columns=size, **elements)


def colour_png(seed: int = 0, size: int = 128) -> bytes:
    """A colour photograph, as far as a decoder can tell."""
    rng = np.random.default_rng(seed)
    return bytes(cv2.imencode(".png", rng.integers(0, 255, (size, size, 3), np.uint8))[1].tobytes())


def npz(data: bytes) -> dict[str, npt.NDArray[Any]]:
    """The arrays of an archive, read as a careful researcher does: without pickle."""
    with np.load(BytesIO(data), allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}
