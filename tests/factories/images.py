"""Pictures that pass for a chest radiograph, as small files: each differs with its seed."""

from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from pydicom import dcmread
from pydicom.uid import JPEG2000Lossless
from tests.factories.hostile import dicom

SAMPLE = Path(__file__).parents[2] / "samples" / "chest.png"


def grey(seed: int = 0, size: int = 256) -> npt.NDArray[np.uint8]:
    """The sample's phantom with grain of its own, uint8 `[size, size]`: the picture check takes it for a chest."""
    grain = np.random.default_rng(seed).integers(-6, 7, (size, size), np.int16)
    return np.asarray(np.clip(_phantom(size) + grain, 0, 255), np.uint8)


@cache
def _phantom(size: int) -> npt.NDArray[np.int16]:
    sample = cv2.imread(str(SAMPLE), cv2.IMREAD_GRAYSCALE)
    return cv2.resize(sample, (size, size), interpolation=cv2.INTER_AREA).astype(np.int16)


def chest_png(seed: int = 0, size: int = 256) -> bytes:
    """The noise as PNG."""
    return bytes(cv2.imencode(".png", grey(seed, size))[1].tobytes())


def chest_jpeg(seed: int = 0, size: int = 256) -> bytes:
    """The noise as JPEG."""
    return bytes(cv2.imencode(".jpg", grey(seed, size))[1].tobytes())


def chest_dicom(seed: int = 0, size: int = 256, **elements: Any) -> bytes:
    """The noise as an uncompressed CR image with a SOP Instance UID of its own; `elements` are further DICOM elements."""
    sop = {"SOPInstanceUID": f"1.2.3.4.3.{size}.{seed}"}
    return dicom(grey(seed, size).tobytes(), Rows=size, Columns=size, **{**sop, **elements})


def without_loss(data: bytes) -> bytes:
    """The same DICOM image as lossless JPEG 2000."""
    ds, file = dcmread(BytesIO(data)), BytesIO()
    ds.compress(JPEG2000Lossless, generate_instance_uid=False)
    ds.save_as(file)
    return file.getvalue()


def colour_png(seed: int = 0, size: int = 128) -> bytes:
    """A colour photograph, as far as a decoder can tell."""
    rng = np.random.default_rng(seed)
    return bytes(cv2.imencode(".png", rng.integers(0, 255, (size, size, 3), np.uint8))[1].tobytes())


def npz(data: bytes) -> dict[str, npt.NDArray[Any]]:
    """The arrays of an archive, read as a careful researcher does: without pickle."""
    with np.load(BytesIO(data), allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}
