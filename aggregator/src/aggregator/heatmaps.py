"""The fused heatmaps: where the ensemble as a whole saw each finding. Pure functions."""

from collections.abc import Mapping

import cv2
import numpy as np
from numpy.typing import NDArray

from aggregator.ensemble import FIVE, present, weights_of
from thorax.bundle import Manifest
from thorax.errors import Code, CodedError

SIDE = 28
"""Edge of a fused map: four times the 7×7 grid of most backbones."""


def fuse(
    manifest: Manifest, maps: Mapping[str, NDArray[np.floating]], *, allow_missing: bool = False
) -> NDArray[np.float16]:
    """Fuse `{backbone: [5, h, w], float16 or float32, canonical order}` to float16 `[5, 28, 28]` in 0..1.

    A cell of a map says what it adds to the logit. Per area of the image, so that a coarse grid counts no more than a
    fine one, each map is resized from its own grid, weighted as its backbone's probability is, summed, cut at 0
    (ReLU, Selvaraju et al. 2017) and divided by its maximum. A finding that nothing speaks for stays all 0.
    """
    names, _ = present(manifest, maps, allow_missing=allow_missing)
    weights = weights_of(manifest, names)
    fused = np.zeros((FIVE, SIDE, SIDE), np.float32)
    crops = {spec.name: spec.input.crop or 1.0 for spec in manifest.backbones}
    for name, row in zip(names, weights, strict=True):
        fused += row.astype(np.float32)[:, None, None] * _resized(name, maps[name], crops[name])
    np.maximum(fused, 0, out=fused)
    top = fused.max(axis=(1, 2), keepdims=True)
    return (fused / np.where(top > 0, top, 1)).astype(np.float16)


def _resized(name: str, maps: NDArray[np.floating], crop: float) -> NDArray[np.float32]:
    """`[5, h, w]` to `[5, 28, 28]` per area, bilinear; cv2 puts pixel centres at halves, so grids of any size align.

    A backbone that saw only the central `crop` of the image (0..1, of its edges) has nothing to say outside.
    """
    grid = np.asarray(maps, dtype=np.float32)
    if grid.ndim != 3 or grid.shape[0] != FIVE or not np.isfinite(grid).all():
        raise CodedError(Code.INTERNAL, f"The maps of {name} are not five finite grids.")
    margin = round(SIDE * (1 - crop) / 2)
    side = SIDE - 2 * margin
    placed = np.zeros((FIVE, SIDE, SIDE), np.float32)
    for place, one in zip(placed, grid, strict=True):
        place[margin : margin + side, margin : margin + side] = cv2.resize(one, (side, side))
    placed *= grid.shape[1] * grid.shape[2] / crop**2
    return placed
