"""ROC curves and reliability diagrams as PNG, drawn with OpenCV so that the report needs no plotting library."""

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from thorax.findings import FINDINGS
from training import metrics
from training.metrics import Floats

Canvas = NDArray[np.uint8]
_EDGE, _MARGIN = 640, 70
_COLOURS = [(180, 119, 31), (14, 127, 255), (44, 160, 44), (40, 39, 214), (189, 103, 148)]  # BGR


def draw(folder: Path, labels: Floats, probabilities: Floats) -> list[Path]:
    """Write roc.png and reliability.png into `folder`; labels and probabilities are [N, 5]."""
    folder.mkdir(parents=True, exist_ok=True)
    roc = _canvas("1 - specificity", "sensitivity")
    reliable = _canvas("predicted probability", "share present")
    for i, finding in enumerate(FINDINGS):
        known = ~np.isnan(labels[:, i])
        y, p = labels[known, i], probabilities[known, i]
        if len(np.unique(y)) < 2:
            continue
        false, true, _ = metrics.roc(y, p)
        _curve(roc, np.stack([np.r_[0, false], np.r_[0, true]], 1), i)
        _legend(roc, f"{finding.label} {metrics.auc(y, p):.3f}", i)
        points = metrics.reliability(y, p)
        _curve(reliable, np.array([(mean, share) for mean, share, _ in points]), i)
        _legend(reliable, f"{finding.label} ECE {metrics.calibration_error(y, p):.3f}", i)
    paths = [folder / "roc.png", folder / "reliability.png"]
    for path, canvas in zip(paths, (roc, reliable), strict=True):
        path.write_bytes(cv2.imencode(".png", canvas)[1].tobytes())
    return paths


def _canvas(across: str, up: str) -> Canvas:
    canvas = np.full((_EDGE + 2 * _MARGIN, _EDGE + 2 * _MARGIN, 3), 255, np.uint8)
    _line(canvas, np.array([(0, 0), (1, 0), (1, 1), (0, 1), (0, 0)]), (120, 120, 120))
    _line(canvas, np.array([(0, 0), (1, 1)]), (210, 210, 210))
    for tick in (0.0, 0.5, 1.0):
        _text(canvas, f"{tick:.1f}", (tick - 0.02, -0.05))
        _text(canvas, f"{tick:.1f}", (-0.07, tick - 0.01))
    _text(canvas, across, (0.35, -0.09))
    _text(canvas, up, (0.0, 1.03))
    return canvas


def _pixels(points: NDArray[np.floating]) -> NDArray[np.int32]:
    flipped = np.stack([points[:, 0], 1 - points[:, 1]], 1)
    return np.asarray(np.rint(flipped * _EDGE + _MARGIN), np.int32)


def _curve(canvas: Canvas, points: NDArray[np.floating], number: int) -> None:
    _line(canvas, points, _COLOURS[number])


def _line(canvas: Canvas, points: NDArray[np.floating], colour: tuple[int, int, int]) -> None:
    cv2.polylines(canvas, [_pixels(points)], False, colour, 2, cv2.LINE_AA)


def _legend(canvas: Canvas, text: str, number: int) -> None:
    _text(canvas, text, (0.52, 0.30 - 0.05 * number), _COLOURS[number])


def _text(
    canvas: Canvas, text: str, at: tuple[float, float], colour: tuple[int, int, int] = (40, 40, 40)
) -> None:
    x, y = _pixels(np.array([at]))[0].tolist()
    cv2.putText(canvas, text, (x, y), cv2.FONT_HERSHEY_SIMPLEX, 0.6, colour, 1, cv2.LINE_AA)
