"""DICOM's grayscale pipeline as one table: stored word -> grey uint8, light where X-rays were stopped.

PS3.3: Modality LUT (C.11.1), VOI LUT (C.11.2), then polarity (C.7.6.3.1.2 and C.11.6), in PS3.4 N.2's order.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset

from model_worker.decoding.codestream import Layout
from model_worker.decoding.decoded import Notes
from thorax.greyscale import Lut, inverted, luts, rescale, windows
from thorax.image_warnings import OWN_RANGE, WINDOW_NOT_LUT, WarningCode

Floats = NDArray[np.float64]

SAMPLE = 200_000
"""Pixels looked at to find the range of an image that names no window."""
LEAST_SPREAD, LEAST_GREY = 0.08, 0.05
"""A window that leaves less than this between the 1st and the 99th percentile, or fewer pixels grey, shows nothing."""


def grey_table(ds: Dataset, words: NDArray[Any], layout: Layout, notes: Notes) -> NDArray[np.uint8]:
    """Grey values for every possible word of this image, uint8 `[256]` or `[65536]`.

    `words` is the image, uint8 or uint16; a sample of it decides the range where no usable window is given.
    """
    stored = stored_values(layout, words.dtype.itemsize * 8)
    padding = _padding(ds, stored, signed=layout.signed)
    values = modality(ds, stored, notes)
    sample = words.reshape(-1)[:: max(1, words.size // SAMPLE)]
    sample = sample[~padding[sample]]
    grey = voi(ds, values, sample, notes)
    if grey is None:
        grey = full_range(values, sample, plain=layout.bits <= 8)
    if is_inverted(ds, notes):
        grey = 1 - grey
    grey[padding] = 0  # after the inversion: the surround of a MONOCHROME1 image is black as well
    return (grey * 255 + 0.5).astype(np.uint8)


def stored_values(layout: Layout, bits: int) -> Floats:
    """The number that each word of `bits` bits stands for: shifted, masked and with its sign (PS3.5 8.1.1)."""
    value = (np.arange(2**bits) >> max(0, layout.high_bit + 1 - layout.bits)) & (2**layout.bits - 1)
    if layout.signed:
        value = np.where(value >= 2 ** (layout.bits - 1), value - 2**layout.bits, value)
    return np.asarray(value, dtype=np.float64)


def modality(ds: Dataset, stored: Floats, notes: Notes) -> Floats:
    """Modality LUT or rescale (C.11.1)."""
    for lut in luts(ds.get("ModalityLUTSequence")):
        return _looked_up(lut, stored)
    if ds.get("ModalityLUTSequence"):
        notes.warn(WarningCode.WINDOW, "Modality LUT Sequence (0028,3000) is not usable.")
    slope, intercept = rescale(ds)
    return stored * slope + intercept


def voi(ds: Dataset, values: Floats, sample: NDArray[Any], notes: Notes) -> Floats | None:
    """The first usable VOI LUT, else window (C.11.2: several are alternatives), as 0..1; None if there is none."""
    for lut in luts(ds.get("VOILUTSequence")):
        shown = np.asarray(np.clip(_looked_up(lut, values) / (2**lut.bits - 1), 0, 1))
        if _shows_something(shown[sample]):
            return shown
    for one in windows(ds):
        if _shows_something((shown := window(values, one.centre, one.width, one.function))[sample]):
            if ds.get("VOILUTSequence"):
                notes.warn(WarningCode.WINDOW, WINDOW_NOT_LUT)
            return shown
    if ds.get("VOILUTSequence") or ds.get("WindowCenter") or ds.get("WindowWidth"):
        notes.warn(WarningCode.WINDOW, OWN_RANGE)
    return None


def window(values: Floats, centre: float, width: float, function: str) -> Floats:
    """C.11.2.1.2.1 (LINEAR), C.11.2.1.3.1 (SIGMOID) and C.11.2.1.3.2 (LINEAR_EXACT), as 0..1."""
    if function == "SIGMOID":
        return np.asarray(1 / (1 + np.exp(np.clip(-4 * (values - centre) / width, -700, 700))))
    if function == "LINEAR_EXACT":
        return np.clip((values - centre) / width + 0.5, 0, 1)
    if width <= 1:
        return (values > centre - 0.5).astype(np.float64)
    return np.clip((values - (centre - 0.5)) / (width - 1) + 0.5, 0, 1)


def full_range(values: Floats, sample: NDArray[Any], *, plain: bool) -> Floats:
    """Without a window: 8-bit images are taken as they are, deeper ones from their 0.1st to 99.9th percentile."""
    if plain:
        low, high = values.min(), values.max()
    else:
        low, high = np.percentile(values[sample], [0.1, 99.9]) if sample.size else (0.0, 1.0)
    return np.asarray(np.clip((values - low) / max(high - low, 1e-9), 0, 1))


def is_inverted(ds: Dataset, notes: Notes) -> bool:
    """Whether values are darkest where the display is to be lightest; a header that contradicts itself is told."""
    inverts, contradicts = inverted(ds)
    if contradicts:
        notes.warn(
            WarningCode.POLARITY,
            "Photometric Interpretation and Pixel Intensity Relationship Sign (0028,1041) contradict each other.",
        )
    return inverts


def _padding(ds: Dataset, stored: Floats, *, signed: bool) -> NDArray[np.bool_]:
    """Which words mean "no pixel here" (C.7.5.1.1.2; compared before any LUT).

    Some write a negative value as US, and some one that needs more than Bits Stored: then the whole word is compared.
    """
    first, limit = ds.get("PixelPaddingValue"), ds.get("PixelPaddingRangeLimit")
    if not isinstance(first, int):
        return np.zeros(stored.shape, np.bool_)
    ends = (first, limit if isinstance(limit, int) else first)
    low, high = sorted(end - 65536 if signed and end >= 32768 else end for end in ends)
    if low == high and not stored.min() <= low <= stored.max():
        return np.asarray(np.arange(len(stored)) == low & 0xFFFF)
    return (stored >= low) & (stored <= high)


def _looked_up(lut: Lut, values: Floats) -> Floats:
    """Values through a LUT, whose first and last entries hold beyond its ends (C.11.1.1.1, C.11.2.1.1)."""
    places = np.clip(np.rint(values) - lut.begins(values.min()), 0, len(lut.entries) - 1)
    return np.asarray(lut.entries[places.astype(np.int64)], np.float64)


def _shows_something(grey: Floats) -> bool:
    """Whether anything is left to see: some windows and LUTs are plainly wrong and show black or white only."""
    if not grey.size:
        return False
    low, high = np.percentile(grey, [1, 99])
    return bool(high - low >= LEAST_SPREAD and ((grey > 0) & (grey < 1)).mean() > LEAST_GREY)
