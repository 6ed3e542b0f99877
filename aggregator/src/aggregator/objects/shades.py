"""The grey values of a presentation state: the LUT, window and polarity that made the picture, and nothing else of the header.

What the header says and no one can use is left out: a library or a viewer may refuse it, or show it otherwise.
"""

import numpy as np
from highdicom.base import SOPClass
from pydicom import Dataset
from pydicom.valuerep import format_number_as_ds

from aggregator.objects.answer import AnalysedImage
from thorax.greyscale import Lut, Window, inverted, luts, numbers, rescale, windows
from thorax.image_warnings import LOOKED_INVERTED, OWN_RANGE, WINDOW_NOT_LUT

_WORDS = 65535


def shade(made: SOPClass, image: AnalysedImage) -> None:
    """Add the modules Modality LUT, Softcopy VOI LUT and Softcopy Presentation LUT (PS3.3 C.11.1, C.11.8, C.11.6)."""
    header = image.source
    slope, intercept = rescale(header)
    stored = _stored(header)
    lowest = min(value * slope + intercept for value in stored)
    if lut := next(luts(header.get("ModalityLUTSequence")), None):
        made.ModalityLUTSequence = [_item(lut, lut.begins(min(stored)))]
        made.ModalityLUTSequence[0].ModalityLUTType = "US"
        lowest = 0
    elif numbers(header, "RescaleSlope") or numbers(header, "RescaleIntercept"):
        made.RescaleSlope, made.RescaleIntercept = format_number_as_ds(slope), format_number_as_ds(intercept)
        made.RescaleType = "US"
    if item := _voi(image, lowest):
        made.SoftcopyVOILUTSequence = [item]
    light = inverted(header)[0] != (LOOKED_INVERTED in image.warnings)
    made.PresentationLUTShape = "INVERSE" if light else "IDENTITY"


def _voi(image: AnalysedImage, lowest: float) -> Dataset | None:
    if OWN_RANGE in image.warnings:
        return None
    lut = next(luts(image.source.get("VOILUTSequence")), None)
    if lut and WINDOW_NOT_LUT not in image.warnings:
        item = Dataset()
        item.VOILUTSequence = [_item(_scaled(lut), lut.begins(lowest))]
        return item
    return next(map(_windowed, windows(image.source)), None)


def _windowed(window: Window) -> Dataset:
    item = Dataset()
    width = max(window.width, 1.0) if window.function == "LINEAR" else window.width  # C.11.2.1.2.1
    item.WindowCenter, item.WindowWidth = format_number_as_ds(window.centre), format_number_as_ds(width)
    if window.function != "LINEAR":
        item.VOILUTFunction = window.function
    return item


def _scaled(lut: Lut) -> Lut:
    """Entries that fill words: those of 8 bits are packed in two ways, and no width but 8 and 16 is allowed (C.11.2.1.1)."""
    return Lut(lut.first, np.rint(lut.entries * (_WORDS / (2**lut.bits - 1))).astype(np.int64))


def _item(lut: Lut, begins: int) -> Dataset:
    """An item of a LUT sequence. Of a descriptor that is signed only the second value is (C.11.1.1.1)."""
    item, count = Dataset(), len(lut.entries) % 65536
    if begins < 0:
        item.add_new("LUTDescriptor", "SS", [count - 65536 if count >= 32768 else count, begins, 16])
    else:
        item.add_new("LUTDescriptor", "US", [count, begins, 16])
    item.add_new("LUTData", "OW", np.clip(lut.entries, 0, _WORDS).astype("<u2").tobytes())
    return item


def _stored(header: Dataset) -> tuple[int, int]:
    """The lowest and the highest number that a stored word may stand for."""
    bits = int(header.get("BitsStored") or header.get("BitsAllocated") or 16)
    half = 2 ** (bits - 1)
    return (-half, half - 1) if header.get("PixelRepresentation") == 1 else (0, 2 * half - 1)
