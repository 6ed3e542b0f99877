"""What a picture shows, by itself: a frontal chest radiograph, one turned or inverted, or something else.

A network of 75,000 weights on 64 × 64 pixels, evaluated with numpy in a CPU-ms: a decoding child needs no inference
runtime. `training.recognition` trains it and measures what it lets through; docs/reference/dicom.md has the figures.
"""

from dataclasses import dataclass
from importlib.resources import files
from io import BytesIO

import cv2
import numpy as np
from numpy.typing import NDArray

from model_worker.decoding.raster import halved

Grey = NDArray[np.uint8]
Floats = NDArray[np.float32]

EDGE = 64
OTHER = 8
"""The last class. Class `k + 4 * inverted` is a chest turned counter-clockwise by k quarters."""
CONVOLUTIONS = ((5, 2), (3, 1), (3, 1), (3, 1))  # kernel and padding; all have stride 2
REFUSE_ABOVE = 0.9
CORRECT_ABOVE, CONVINCED_ABOVE = 0.5, 0.9  # of the picture as it is, and of the corrected one


@dataclass(frozen=True)
class Shown:
    """What a picture shows: a chest or not, the quarters it was turned by (counter-clockwise), and its polarity."""

    chest: bool
    turns: int = 0
    inverted: bool = False


def recognise(grey: Grey) -> Shown:
    """What `grey`, uint8 `[rows, columns]`, shows. In doubt it is an upright chest: nothing is refused or turned.

    A correction must convince twice: the corrected picture has to be recognised as upright as well.
    """
    p = probabilities(thumbnail(grey))
    if p[OTHER] > REFUSE_ABOVE:
        return Shown(chest=False)
    found = int(p[:OTHER].argmax())
    turns, inverted = found % 4, found >= 4
    if found and p[found] > CORRECT_ABOVE:
        corrected = np.rot90(255 - grey if inverted else grey, -turns)
        if probabilities(thumbnail(np.ascontiguousarray(corrected)))[0] > CONVINCED_ABOVE:
            return Shown(chest=True, turns=turns, inverted=inverted)
    return Shown(chest=True)


def thumbnail(grey: Grey) -> Floats:
    """The network's input, float32 `[64, 64]`: averaged by area, mean 0, deviation 1."""
    small = cv2.resize(halved(grey, 4 * EDGE), (EDGE, EDGE), interpolation=cv2.INTER_AREA).astype(np.float32)
    return np.asarray((small - small.mean()) / (small.std() + 1.0), np.float32)


def probabilities(image: Floats) -> Floats:
    """The nine classes' probabilities, float32 `[9]`, for a thumbnail."""
    maps = image[None]
    for layer, (kernel, padding) in enumerate(CONVOLUTIONS):
        maps = _convolved(maps, _WEIGHTS[f"w{layer}"], _WEIGHTS[f"b{layer}"], kernel, padding)
    hidden = np.maximum(_WEIGHTS["w4"] @ maps.reshape(-1) + _WEIGHTS["b4"], 0)
    scores = _WEIGHTS["w5"] @ hidden + _WEIGHTS["b5"]
    exponentials = np.exp(scores - scores.max())
    return np.asarray(exponentials / exponentials.sum(), np.float32)


def _convolved(maps: Floats, weights: Floats, bias: Floats, kernel: int, padding: int) -> Floats:
    """A convolution of stride 2 and ReLU: `[C, H, W]` to `[D, H/2, W/2]`."""
    channels, *edges = maps.shape
    padded = np.zeros((channels, *(edge + 2 * padding for edge in edges)), np.float32)  # np.pad takes longer
    padded[:, padding:-padding, padding:-padding] = maps
    windows = np.lib.stride_tricks.sliding_window_view(padded, (kernel, kernel), (1, 2))[:, ::2, ::2]
    rows, columns = windows.shape[1:3]
    patches = windows.transpose(0, 3, 4, 1, 2).reshape(-1, rows * columns)
    result = weights.reshape(len(bias), -1) @ patches + bias[:, None]
    return np.asarray(np.maximum(result, 0).reshape(-1, rows, columns), np.float32)


def _weights() -> dict[str, Floats]:
    data = files("model_worker.decoding").joinpath("recognition.npz").read_bytes()
    with np.load(BytesIO(data), allow_pickle=False) as archive:
        return {name: archive[name].astype(np.float32) for name in archive.files}


_WEIGHTS = _weights()
"""Read with the module: once for all forks, and never by two threads at once, where numpy's reading of an array's header
fails now and then in CPython 3.11 (SystemError, when a garbage collection with callbacks falls into `ast.literal_eval`)."""
