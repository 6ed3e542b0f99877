"""Random views of a training image: turned, zoomed, shifted, mirrored, brighter or darker."""

from dataclasses import dataclass

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

    def __call__(self, image: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.float32]:
        """uint8 [s, s] -> float32 [s, s] in 0..255."""
        edge = image.shape[0]
        matrix = cv2.getRotationMatrix2D((edge / 2, edge / 2), self._turn(rng), rng.uniform(*self.zoom))
        matrix[:, 2] += rng.uniform(-self.shift, self.shift, 2) * edge
        if rng.random() < self.flip:
            matrix = matrix @ np.array([[-1.0, 0, edge - 1], [0, 1, 0], [0, 0, 1]])
        view = cv2.warpAffine(image, matrix, (edge, edge), flags=cv2.INTER_LINEAR).astype(np.float32)
        level = view.mean()
        view = (view - level) * rng.uniform(*self.contrast) + level
        view += rng.uniform(-self.brightness, self.brightness)
        return np.asarray(np.clip(view, 0, 255), np.float32)

    def _turn(self, rng: np.random.Generator) -> float:
        return float(rng.uniform(-self.rotation, self.rotation))
