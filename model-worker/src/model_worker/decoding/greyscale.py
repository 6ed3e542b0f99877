"""DICOM's grayscale pipeline as one table: stored word -> grey uint8, light where X-rays were stopped.

PS3.3: Modality LUT (C.11.1), VOI LUT (C.11.2), then polarity (C.7.6.3.1.2 and C.11.6), in PS3.4 N.2's order.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.uid import RLELossless

Floats = NDArray[np.float64]

SAMPLE = 200_000
"""Pixels looked at to find the range of an image that names no window."""


def grey_table(ds: Dataset, words: NDArray[Any]) -> NDArray[np.uint8]:
    """Grey values for every possible word of this image, uint8 `[256]` or `[65536]`.

    `words` is the image, uint8 or uint16; a sample of it decides the range where no usable window is given.
    """
    stored = stored_values(ds, words.dtype.itemsize * 8, int(words.max()))
    padding = _padding(ds, stored)
    values = modality(ds, stored)
    sample = words.reshape(-1)[:: max(1, words.size // SAMPLE)]
    sample = sample[~padding[sample]]
    grey = voi(ds, values)
    if grey is None or not _shows_something(grey[sample]):
        grey = full_range(values, sample, plain=ds.BitsStored <= 8)
    if is_inverted(ds):
        grey = 1 - grey
    grey[padding] = 0  # after the inversion: the surround of a MONOCHROME1 image is black as well
    return (grey * 255 + 0.5).astype(np.uint8)


def stored_values(ds: Dataset, bits: int, largest: int) -> Floats:
    """The number that each word of `bits` bits stands for: shifted, masked and with its sign (PS3.5 8.1.1).

    Native words may carry old overlays above High Bit. Compressed ones don't, and some of their headers
    claim fewer bits than the codestream has, so that masking them would fold light parts to dark.
    """
    word = np.arange(2**bits)
    stored, high = int(ds.BitsStored), int(ds.get("HighBit", ds.BitsStored - 1))
    syntax = ds.file_meta.TransferSyntaxUID
    if syntax.is_encapsulated and syntax != RLELossless:  # which packs the native words as they are
        stored = bits if ds.PixelRepresentation else max(stored, largest.bit_length())
        high = stored - 1
    value = (word >> max(0, high + 1 - stored)) & (2**stored - 1)
    if ds.PixelRepresentation:
        value = np.where(value >= 2 ** (stored - 1), value - 2**stored, value)
    return np.asarray(value, dtype=np.float64)


def modality(ds: Dataset, stored: Floats) -> Floats:
    """Modality LUT or rescale (C.11.1)."""
    if ds.get("ModalityLUTSequence"):
        return _look_up(ds.ModalityLUTSequence[0], stored)[0]
    slope, intercept = float(ds.get("RescaleSlope") or 1), float(ds.get("RescaleIntercept") or 0)
    return stored * slope + intercept if np.isfinite([slope, intercept]).all() else stored


def voi(ds: Dataset, values: Floats) -> Floats | None:
    """VOI LUT, else the first window (C.11.2: several are alternatives), as 0..1; None if there is neither."""
    if ds.get("VOILUTSequence"):
        grey, bits = _look_up(ds.VOILUTSequence[0], values)
        return np.asarray(np.clip(grey / (2**bits - 1), 0, 1))
    centre, width = _first(ds.get("WindowCenter")), _first(ds.get("WindowWidth"))
    if centre is None or width is None or width <= 0:
        return None
    return window(values, centre, width, str(ds.get("VOILUTFunction") or "LINEAR"))


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


def is_inverted(ds: Dataset) -> bool:
    """Whether the values, as they stand after the VOI LUT, are darkest where the display is to be lightest.

    MONOCHROME1 says so (C.7.6.3.1.2), and so does Presentation LUT Shape INVERSE, "output after inversion is in
    P-values" (C.8.11.3.1.2, C.11.6). Digital X-ray requires both together, and both mean one inversion.
    """
    return bool(ds.PhotometricInterpretation == "MONOCHROME1" or ds.get("PresentationLUTShape") == "INVERSE")


def _padding(ds: Dataset, stored: Floats) -> NDArray[np.bool_]:
    """Which words mean "no pixel here" (C.7.5.1.1.2; compared before any LUT)."""
    first, limit = ds.get("PixelPaddingValue"), ds.get("PixelPaddingRangeLimit")
    if not isinstance(first, int):
        return np.zeros(stored.shape, np.bool_)
    low, high = sorted((first, limit if isinstance(limit, int) else first))
    return (stored >= low) & (stored <= high)


def _look_up(item: Dataset, values: Floats) -> tuple[Floats, int]:
    """Values through a LUT sequence's item, and the bits of its entries (C.11.1.1.1, C.11.2.1.1)."""
    count, first, bits = (int(v) for v in item.LUTDescriptor)
    if first >= 32768 and values.min() < 0:
        first -= 65536  # signed if the LUT's input is, whatever the pixels themselves are
    data = item.LUTData
    if isinstance(data, bytes):
        entries = count or 65536  # bytes are padded to an even length
        wide = len(data) > entries + entries % 2
        data = np.frombuffer(data, np.dtype("<u2") if wide else np.uint8)[:entries]
    lut = np.atleast_1d(np.asarray(data, dtype=np.float64))
    # Some say 16 bits and hold 12, which would be all but black.
    bits = min(bits, max(1, int(lut.max())).bit_length())
    return lut[np.clip(np.rint(values) - first, 0, len(lut) - 1).astype(np.int64)], bits


def _shows_something(grey: Floats) -> bool:
    """Whether a window leaves any picture: some are plainly wrong and would show black or white only."""
    return bool(((grey > 0) & (grey < 1)).mean() > 0.01) if grey.size else False


def _first(value: Any) -> float | None:
    try:
        number = float(value if isinstance(value, (int, float, str)) else value[0])
    except (TypeError, ValueError, IndexError):
        return None
    return number if np.isfinite(number) else None
