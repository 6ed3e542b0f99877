"""Random views of a training image: turned, zoomed, shifted, mirrored, brighter or darker."""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Augmentation:
    """How far a view may be from the image: degrees, shares of the edge, grey levels."""

    rotation: float = 10.0
    zoom: tuple[float, float] = (0.9, 1.15)
    shift: float = 0.08
    flip: float = 0.5
    contrast: tuple[float, float] = (0.8, 1.25)
    brightness: float = 20.0

    def __call__(
        self, image: NDArray[np.uint8], rng: np.random.Generator
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """uint8 [s, s] -> the view, float32 [s, s] in 0..255, and where it looks: `grid_matrix`."""
        edge = image.shape[0]
        matrix = cv2.getRotationMatrix2D((edge / 2, edge / 2), self._turn(rng), rng.uniform(*self.zoom))
        matrix[:, 2] += rng.uniform(-self.shift, self.shift, 2) * edge
        if rng.random() < self.flip:
            matrix = matrix @ np.array([[-1.0, 0, edge - 1], [0, 1, 0], [0, 0, 1]])
        view = cv2.warpAffine(image, matrix, (edge, edge), flags=cv2.INTER_LINEAR).astype(np.float32)
        level = view.mean()
        view = (view - level) * rng.uniform(*self.contrast) + level
        view += rng.uniform(-self.brightness, self.brightness)
        return np.asarray(np.clip(view, 0, 255), np.float32), grid_matrix(matrix, edge)

    def _turn(self, rng: np.random.Generator) -> float:
        return float(rng.uniform(-self.rotation, self.rotation))


def grid_matrix(matrix: NDArray[Any], edge: int) -> NDArray[np.float32]:
    """OpenCV's pixel matrix image -> view, [2, 3], as torch's `affine_grid` wants it: view -> image in -1..1.

    So a teacher's maps of the whole image, on any grid, can be turned like the view a student sees.
    """
    half = edge / 2
    pixels = np.array([[half, 0, half - 0.5], [0, half, half - 0.5], [0, 0, 1]])
    back = np.vstack([cv2.invertAffineTransform(matrix), [0, 0, 1]])
    return np.asarray((np.linalg.inv(pixels) @ back @ pixels)[:2], np.float32)
