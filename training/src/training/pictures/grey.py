"""The form of all these pictures."""

import cv2
import numpy as np
import numpy.typing as npt

Grey = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]
Random = np.random.Generator
EDGE = 128
"""Sources are kept at this size; the network sees less."""


def normalised(image: npt.NDArray[np.floating] | Grey) -> Grey:
    """Any picture stretched to 0..255."""
    values = np.nan_to_num(np.asarray(image, np.float32))
    low, high = np.percentile(values, [0.1, 99.9])
    return (np.clip((values - low) / max(high - low, 1e-6), 0, 1) * 255).astype(np.uint8)


def squashed(image: Grey, edge: int = EDGE) -> Grey:
    """The picture at `edge` × `edge`, averaged by area."""
    return np.asarray(cv2.resize(image, (edge, edge), interpolation=cv2.INTER_AREA))
