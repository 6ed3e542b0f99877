"""Where a map says something: contours in the stored image's pixels."""

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from aggregator.objects.answer import AnalysedImage
from thorax.findings import FINDINGS, Finding

GRID = 224
"""Edge of the grid on which contours are drawn: eight times a fused map's."""
_SMALLEST = 25  # cells of the grid: what is smaller than a cell of the map is noise

Points = NDArray[np.float64]
_STORED: dict[int, Callable[[Points, Points], tuple[Points, Points]]] = {
    1: lambda x, y: (x, y),
    2: lambda x, y: (1 - x, y),
    3: lambda x, y: (1 - x, 1 - y),
    4: lambda x, y: (x, 1 - y),
    5: lambda x, y: (y, x),
    6: lambda x, y: (y, 1 - x),
    7: lambda x, y: (1 - y, 1 - x),
    8: lambda x, y: (1 - y, x),
}
"""From a place in the upright image to one in the stored image, both 0..1, by EXIF orientation."""


def regions(image: AnalysedImage, finding: Finding) -> list[Points]:
    """Closed contours of a finding's map at its cut, the largest first: `[n, 2]`, column and row of the stored image, where
    0, 0 is the outer corner of the first pixel, as both SR and GSPS count (PS3.3 C.18.6, C.10.5)."""
    if image.maps is None:
        return []
    place = FINDINGS.index(finding)
    level = cv2.resize(
        np.asarray(image.maps[place], np.float32), (GRID, GRID), interpolation=cv2.INTER_LINEAR
    )
    mask = (level >= max(image.cuts[place], 1e-3)).astype(np.uint8)
    found, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    large = sorted((c for c in found if cv2.contourArea(c) >= _SMALLEST), key=cv2.contourArea, reverse=True)
    return [_stored(cv2.approxPolyDP(contour, 0.7, closed=True)[:, 0, :], image) for contour in large]


def _stored(contour: NDArray[np.number], image: AnalysedImage) -> Points:
    x, y = _STORED[image.orientation](*((contour.T + 0.5) / GRID))
    points = np.stack([x * image.source.Columns, y * image.source.Rows], axis=1)
    return np.asarray(np.round(np.vstack([points, points[:1]]), 2), np.float64)
