"""The fused heatmaps: where the ensemble as a whole saw each finding. Pure functions."""

from collections.abc import Mapping
from functools import cache

import numpy as np
from numpy.typing import NDArray

from thorax.bundle import Manifest
from thorax.ensemble import FIVE, present, weights_of
from thorax.errors import Code, CodedError

SIDE = 28
"""Edge of a fused map: four times the 7×7 grid of most backbones."""


def fuse(
    manifest: Manifest, maps: Mapping[str, NDArray[np.floating]], *, allow_missing: bool = False
) -> NDArray[np.float16]:
    """Fuse `{backbone: [5, h, w], float16 or float32, canonical order}` to float16 `[5, 28, 28]` in 0..1.

    With the manifest's scale (format 2) 1 is its full value, whatever the image; without one each finding's map is
    divided by its own maximum. A finding that nothing speaks for stays all 0.
    """
    unit = manifest.maps.unit if manifest.maps else "logit"
    fused = add_up(manifest, maps, unit, allow_missing=allow_missing)
    if manifest.maps:
        full = np.array(manifest.maps.full, np.float32)[:, None, None]
        return np.asarray(np.minimum(fused / full, 1), np.float16)
    top = fused.max(axis=(1, 2), keepdims=True)
    return (fused / np.where(top > 0, top, 1)).astype(np.float16)


def add_up(
    manifest: Manifest, maps: Mapping[str, NDArray[np.floating]], unit: str, *, allow_missing: bool = False
) -> NDArray[np.float32]:
    """The same maps as float32 `[5, 28, 28]` in their `unit`: weighted as their backbones' probabilities are, summed,
    cut at 0 (ReLU, Selvaraju et al. 2017). Of a scale with `members` only theirs count; without any of them it is all 0.

    In "logit" a cell says what it adds to the logit, so each map counts per area of the image, or a coarse grid would
    count more than a fine one. A "probability" counts as it is.
    """
    names, _ = present(manifest, maps, allow_missing=allow_missing)
    names = tuple(name for name in names if name in manifest.drawn)
    weights = weights_of(manifest, names) if names else ()
    fused = np.zeros((FIVE, SIDE, SIDE), np.float32)
    crops = {spec.name: spec.input.crop or 1.0 for spec in manifest.backbones}
    for name, row in zip(names, weights, strict=True):
        placed = _resized(name, maps[name], crops[name], per_area=unit == "logit")
        fused += row.astype(np.float32)[:, None, None] * placed
    return np.maximum(fused, 0)


def _resized(name: str, maps: NDArray[np.floating], crop: float, *, per_area: bool) -> NDArray[np.float32]:
    """`[5, h, w]` to `[5, 28, 28]`, `per_area` or as it is, bilinear, with pixel centres at halves, so that grids of any size align.

    A backbone that saw only the central `crop` of the image (0..1, of its edges) has nothing to say outside.
    """
    grid = np.asarray(maps, dtype=np.float32)
    if grid.ndim != 3 or grid.shape[0] != FIVE or not np.isfinite(grid).all():
        raise CodedError(Code.INTERNAL, f"The maps of {name} are not five finite grids.")
    margin = round(SIDE * (1 - crop) / 2)
    side = SIDE - 2 * margin
    placed = np.zeros((FIVE, SIDE, SIDE), np.float32)
    inner = slice(margin, margin + side)
    placed[:, inner, inner] = _bilinear(grid.shape[1], side) @ grid @ _bilinear(grid.shape[2], side).T
    if per_area:
        placed *= grid.shape[1] * grid.shape[2] / crop**2
    return placed


@cache
def _bilinear(cells: int, side: int) -> NDArray[np.float32]:
    """`[side, cells]`: what each of `side` pixels takes of `cells`; beyond the outermost centres these count alone."""
    at = np.clip((np.arange(side) + 0.5) * cells / side - 0.5, 0, cells - 1)
    weights = 1 - np.abs(at[:, None] - np.arange(cells))
    return np.asarray(np.maximum(weights, 0), np.float32)
