"""What a DICOM header says about grey values, read as forgivingly for a presentation state as for the picture itself.

PS3.3: Modality LUT (C.11.1), VOI LUT and window (C.11.2), polarity (C.7.6.3.1.2, C.11.6). No pixels, and no DICOM library: a
header is what answers to `get` and `in` by keyword, as pydicom's Dataset does.
"""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from math import isfinite
from typing import Any

import numpy as np
from numpy.typing import NDArray

Header = Any


@dataclass(frozen=True)
class Lut:
    """A usable LUT: the value that its first entry stands for, as the descriptor says it, and its entries, int64 `[n]`."""

    first: int
    entries: NDArray[np.int64]

    @property
    def bits(self) -> int:
        """The width that the entries have: some say 16 bits and hold 12, others say 8 and hold 12."""
        return int(self.entries.max()).bit_length()

    def begins(self, lowest: float) -> int:
        """The value that the first entry stands for, of an input whose lowest value this is.

        It is signed if the LUT's input is, whatever the pixels themselves are.
        """
        return self.first - 65536 if self.first >= 32768 and lowest < 0 else self.first


@dataclass(frozen=True)
class Window:
    """Centre, width (above 0) and VOI LUT Function: LINEAR, SIGMOID or LINEAR_EXACT."""

    centre: float
    width: float
    function: str


def luts(items: Any) -> Iterator[Lut]:
    """The usable items of a LUT sequence (C.11.1.1.1, C.11.2.1.1)."""
    for item in items or []:
        descriptor = [int(v) for v in np.atleast_1d(item.get("LUTDescriptor") or [])]
        data = item.get("LUTData")
        if len(descriptor) != 3 or data is None:
            continue
        entries = _entries(data, descriptor[0] & 0xFFFF or 65536)
        if len(entries) >= max(2, descriptor[0] & 0xFFFF) and np.ptp(entries):
            yield Lut(descriptor[1], entries)


def windows(header: Header) -> list[Window]:
    """The windows that have a width; a function that the standard does not know is LINEAR."""
    function = str(header.get("VOILUTFunction") or "").strip().upper()
    if function not in ("SIGMOID", "LINEAR_EXACT"):
        function = "LINEAR"
    pairs = zip(numbers(header, "WindowCenter"), numbers(header, "WindowWidth"), strict=False)
    return [Window(centre, width, function) for centre, width in pairs if width > 0]


def rescale(header: Header) -> tuple[float, float]:
    """Rescale Slope, which is not 0, and Rescale Intercept."""
    return number(header, "RescaleSlope", 1.0) or 1.0, number(header, "RescaleIntercept", 0.0)


def inverted(header: Header) -> tuple[bool, bool]:
    """Whether the values, as they stand after the VOI LUT, are darkest where the display is to be lightest; and whether the
    header contradicts itself about it.

    MONOCHROME1 says so (C.7.6.3.1.2), and so does Presentation LUT Shape INVERSE, "output after inversion is in
    P-values" (C.8.11.3.1.2, C.11.6). Digital X-ray requires both together, and both mean one inversion. Pixel Intensity
    Relationship Sign (C.8.11.3.1.2) says it in another way: 1 where more X-rays make higher values. Where the two
    contradict each other, the sign is believed, which is about physics and not about a display.
    """
    photometric = " ".join(str(header.get("PhotometricInterpretation") or "").upper().split())
    shape = str(header.get("PresentationLUTShape") or "").strip().upper()
    said = photometric.replace(" ", "") == "MONOCHROME1" or shape == "INVERSE"
    sign = number(header, "PixelIntensityRelationshipSign", 0)
    turned_over = rescale(header)[0] < 0 or "ModalityLUTSequence" in header or "VOILUTSequence" in header
    contradicts = sign in (1, -1) and not turned_over and said != (sign == 1)
    return said != contradicts, contradicts


def numbers(header: Header, keyword: str) -> list[float]:
    """An element's finite numbers; a decimal comma is read as a point (PS3.5 table 6.2-1 knows the point only)."""
    value = header.get(keyword)
    values = [value] if value is None or isinstance(value, (str, int, float)) else value
    found = []
    for one in values:
        text = str("" if one is None else one).strip("\0 ")
        if "," in text:
            text = text.replace(".", "").replace(",", ".", 1)
        with suppress(ValueError):
            found.append(float(text))
    return [n for n in found if isfinite(n)]


def number(header: Header, keyword: str, default: float) -> float:
    """An element's first number, or the default."""
    return next(iter(numbers(header, keyword)), default)


def _entries(data: Any, count: int) -> NDArray[np.int64]:
    """A LUT's entries, which are never negative. Bytes, or words of two entries of 8 bits (C.11.1.1.1), are taken apart."""
    if isinstance(data, bytes):
        wide = len(data) > count + count % 2  # bytes are padded to an even length
        return np.frombuffer(data[: len(data) & ~wide], "<u2" if wide else np.uint8)[:count].astype(np.int64)
    words = np.atleast_1d(np.asarray(data)).astype(np.int64) & 0xFFFF
    if len(words) == (count + 1) // 2 and count > 2:
        return words.astype("<u2").view(np.uint8)[:count].astype(np.int64)
    return words[:count]
