"""The query parameter `viewport` of rendered resources (PS3.18, 8.3.5.1.3): the size of a picture, and the part of the image that it shows."""

import re
from dataclasses import dataclass

from thorax.errors import Code, CodedError

MOST = 4096  # pixels of an edge
_DECIMAL = re.compile(r"-?\d{1,6}(\.\d{1,6})?", re.ASCII)


@dataclass(frozen=True)
class Viewport:
    """A picture of at most `width` × `height` pixels. The region, in pixels of the image, begins at `left`, `top`; its `columns` and
    `rows` are None where it ends with the image, negative where it is mirrored."""

    width: int
    height: int
    left: float = 0
    top: float = 0
    columns: float | None = None
    rows: float | None = None


def parse(text: str) -> Viewport:
    """`vw,vh[,sx,sy,sw,sh]`, of which values after the second may be empty. Raises CodedError(VALIDATION)."""
    values = [_decimal(part) for part in text.split(",")]
    width, height, left, top, columns, rows, *more = values + [None] * (6 - len(values))
    if more or not (width and height and 1 <= width <= MOST and 1 <= height <= MOST) or 0 in (columns, rows):
        raise CodedError(
            Code.VALIDATION, f"`viewport` is vw,vh or vw,vh,sx,sy,sw,sh; vw and vh are 1 to {MOST}."
        )
    return Viewport(int(width), int(height), abs(left or 0), abs(top or 0), columns, rows)


def _decimal(text: str) -> float | None:
    if text and not _DECIMAL.fullmatch(text):
        raise CodedError(Code.VALIDATION, "The values of `viewport` are decimal numbers with commas between.")
    return float(text) if text else None
