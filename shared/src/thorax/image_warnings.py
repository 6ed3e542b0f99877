"""Warnings about one image: it was analysed, and whoever reads its result should know this."""

from enum import StrEnum
from typing import NamedTuple


class WarningCode(StrEnum):
    """Stable codes. Clients may switch on them, so none is ever renamed."""

    POLARITY = "polarity_contradiction"  # the header's attributes disagree, or the picture was found inverted
    WINDOW = "window_unusable"  # a window, VOI LUT or Modality LUT could not be used
    TURNED = "orientation_turned"  # the picture is analysed and shown otherwise than it is stored
    RESCUED = "stream_rescued"  # the file or its compressed frame is damaged; its pixels could be read
    HEADER = "header_corrected"  # an element is missing or contradicts the pixels
    OVERRULED = "refusal_overruled"  # the picture was refused, and `force` overruled that


WINDOW_NOT_LUT = "The VOI LUT is not usable; the window was used."
OWN_RANGE = "No VOI LUT or window is usable; the image's own range was used."
LOOKED_INVERTED = "The picture looked inverted; light and dark were exchanged."
"""Details that say how the picture was made, and so how a presentation state shows it alike."""


class ImageWarning(NamedTuple):
    """A code, and one sentence about this very image, without patient data."""

    code: WarningCode
    detail: str
