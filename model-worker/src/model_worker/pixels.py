"""From a file's bytes to what the platform keeps: canonical inputs and a display image. Runs in the child."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from model_worker.dicom import decode_dicom
from model_worker.facts import DicomFacts
from model_worker.headers import unreadable
from model_worker.raster import Grey, decode_raster
from thorax.bundle import InputSpec

DICOM = "application/dicom"
DISPLAY_EDGE = 1024


@dataclass(frozen=True)
class Picture:
    """A decoded file: canonical inputs uint8 `[size, size]` in the order asked for, and an 8-bit grey PNG."""

    inputs: list[NDArray[np.uint8]]
    display_png: bytes
    rows: int
    columns: int
    facts: DicomFacts | None


def read_picture(data: bytes, media_type: str, inputs: Sequence[InputSpec]) -> Picture:
    """Decode once, derive everything. Polarity is always the display's: bone light, air dark."""
    if media_type == DICOM:
        grey, facts = decode_dicom(data)
    elif media_type in ("image/png", "image/jpeg"):
        grey, facts = decode_raster(data, media_type), None
    else:
        raise unreadable("The file is no DICOM, PNG or JPEG.")
    shown = shrunk(grey)
    # From the shrunken image, as area averages of area averages: a full-size one costs five times as much.
    rows, columns = grey.shape
    return Picture([canonical(shown, spec) for spec in inputs], png(shown), rows, columns, facts)


def canonical(grey: Grey, spec: InputSpec) -> Grey:
    """The input that a backbone was trained on: equalised or cropped if it says so, then squashed.

    `grey` uint8 `[rows, columns]` of any size to uint8 `[size, size]`, averaged by area (no aliasing).
    """
    if spec.equalise:
        grey = np.asarray(cv2.equalizeHist(grey))
    if spec.crop:
        rows, columns = (max(1, round(edge * spec.crop)) for edge in grey.shape)
        top, left = (grey.shape[0] - rows) // 2, (grey.shape[1] - columns) // 2
        grey = grey[top : top + rows, left : left + columns]
    return np.asarray(cv2.resize(grey, (spec.size, spec.size), interpolation=cv2.INTER_AREA))


def shrunk(grey: Grey) -> Grey:
    """The image with its longest side at most 1024: what is shown, and what the inputs are made of."""
    shrink = DISPLAY_EDGE / max(grey.shape)
    if shrink >= 1:
        return grey
    rows, columns = (max(1, round(edge * shrink)) for edge in grey.shape)
    return np.asarray(cv2.resize(grey, (columns, rows), interpolation=cv2.INTER_AREA))


def png(grey: Grey) -> bytes:
    """An 8-bit grey PNG, stored and not deflated: half again as large as level 1, and far cheaper to make."""
    done, data = cv2.imencode(".png", grey, [cv2.IMWRITE_PNG_COMPRESSION, 0])
    if not done:
        raise unreadable("The image could not be written as a PNG.")
    return bytes(data.tobytes())
