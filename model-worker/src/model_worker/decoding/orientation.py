"""How a picture is stored and how it is shown: the eight ways, as EXIF numbers them (EXIF 2.32, tag 0x0112).

`upright` makes the shown picture of the stored one. `instances.orientation` keeps the number, so that whoever draws on
the original can go back: `upright(marks, UNDO[orientation])`.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

AS_STORED = 1
LYING = range(5, 9)  # rows become columns
QUARTERS = (1, 6, 3, 8)  # undo 0, 1, 2, 3 quarters counter-clockwise
UNDO = {1: 1, 2: 2, 3: 3, 4: 4, 5: 5, 6: 8, 7: 7, 8: 6}

_TURNS: dict[int, Callable[[NDArray[Any]], NDArray[Any]]] = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.T,
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].T,
    8: np.rot90,
}
NAMES = {
    2: "mirrored",
    3: "turned by 180°",
    4: "mirrored top to bottom",
    5: "mirrored and turned by 270°",
    6: "turned clockwise by 90°",
    7: "mirrored and turned by 90°",
    8: "turned clockwise by 270°",
}
"""What is done to a stored picture, in words."""


def upright(image: NDArray[Any], orientation: int) -> NDArray[Any]:
    """The picture `[rows, columns]` as it is to be shown; an unknown number leaves it as it is."""
    turn = _TURNS.get(orientation)
    return np.ascontiguousarray(turn(image)) if turn else image


def composed(first: int, second: int) -> int:
    """The one orientation that does what two do, one after the other."""
    marks = np.arange(6).reshape(2, 3)
    both = upright(upright(marks, first), second)
    return next(n for n in _TURNS if np.array_equal(upright(marks, n), both))


def from_patient_orientation(directions: Sequence[str]) -> int | None:
    """The orientation that shows a frontal view upright, its viewer facing the patient; None if it is not frontal.

    `directions` are Patient Orientation's (PS3.3 C.7.6.1.1.1): where the first row and the first column lead to, by
    their principal letters. Rows are to lead to the patient's left (L), columns to the feet (F).
    """
    along, down = (d[:1] for d in directions)
    lying = along in ("H", "F")
    if lying:
        along, down = down, along
    if along not in ("L", "R") or down not in ("H", "F"):
        return None
    mirrored, upside_down = along == "R", down == "H"
    if lying:
        return {(0, 0): 5, (1, 0): 6, (1, 1): 7, (0, 1): 8}[mirrored, upside_down]
    return {(0, 0): 1, (1, 0): 2, (1, 1): 3, (0, 1): 4}[mirrored, upside_down]
