"""Runs a bundle over image files through the code that serves: the worker's pixels and graphs, without torch."""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from model_worker.backbone import Backbone, Prediction
from model_worker.decoding.images import canonical, read_image
from model_worker.decoding.raster import to_eight_bits, to_grey
from thorax.bundle import Bundle, Engine
from thorax.errors import Code, CodedError
from thorax.image_headers import HEAD_BYTES, sniff
from training.datasets import DataError

Image = NDArray[np.uint8]
_BATCH = 16


@dataclass(frozen=True)
class Predictions:
    """Each backbone's probabilities, float32 [N, 5] in canonical order, of the images that could be read, and where
    they were asked for, its maps, float16 [N, 5, h, w]. `skipped`: why one could not, by its path."""

    by_backbone: dict[str, NDArray[np.float32]]
    read: NDArray[np.int64]
    skipped: dict[str, str]
    maps: dict[str, NDArray[np.float16]] = field(default_factory=dict)


def each_image(predictions: Predictions) -> Iterator[dict[str, NDArray[np.float32]]]:
    """Every backbone's probabilities [5] of one image after the other."""
    for row in zip(*predictions.by_backbone.values(), strict=True):
        yield dict(zip(predictions.by_backbone, row, strict=True))


def read_grey(path: Path) -> Image:
    """A file as grey uint8 [rows, columns], upright, light where X-rays were stopped, halved to 1024 to 2047 pixels.

    DICOM, PNG and JPEG exactly as the platform decodes them; other rasters (WebP) by OpenCV.
    DataError names a file that is missing or broken.
    """
    try:
        data = path.read_bytes()
        return read_image(data, sniff(data[:HEAD_BYTES]), force=True).grey
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}.") from error
    except CodedError as error:
        if error.code is not Code.UNSUPPORTED_MEDIA:
            raise DataError(f"{path}: {error.detail}") from error
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None:
        raise DataError(f"{path}: expected a DICOM, PNG, JPEG or WebP image.")
    return to_eight_bits(to_grey(pixels))


def predict_files(
    bundle: Bundle,
    paths: list[Path],
    progress: Callable[[int], None],
    *,
    maps: bool = False,
    engine: Engine = Engine.ONNXRUNTIME,
) -> Predictions:
    """Predict every file, a thread per core; broken ones are skipped and named. `progress` gets counts done.

    DataError if not one image can be read.
    """
    backbones = [Backbone(bundle, spec, engine=engine) for spec in bundle.manifest.backbones]
    batches = [range(i, min(i + _BATCH, len(paths))) for i in range(0, len(paths), _BATCH)]
    skipped: dict[str, str] = {}
    read: list[int] = []
    seen: dict[str, list[Prediction]] = {b.spec.name: [] for b in backbones}
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for rows, predictions in pool.map(lambda rows: _batch(backbones, paths, rows, skipped), batches):
            read += rows
            for name, prediction in predictions.items():
                seen[name].append(prediction)
            progress(_BATCH)
    if not read:
        raise DataError(
            f"{paths[0].parent}: none of {len(paths)} images could be read; {paths[0].name} first."
        )
    joined = {name: np.concatenate([p.probabilities for p in parts]) for name, parts in seen.items()}
    grids = {name: np.concatenate([p.maps for p in parts]) for name, parts in seen.items()} if maps else {}
    return Predictions(joined, np.array(read), skipped, grids)


def _batch(
    backbones: list[Backbone], paths: list[Path], rows: range, skipped: dict[str, str]
) -> tuple[list[int], dict[str, Prediction]]:
    read, greys = [], []
    for row in rows:
        try:
            greys.append(read_grey(paths[row]))
            read.append(row)
        except DataError as error:
            skipped[str(paths[row])] = str(error)
    if not read:
        return read, {}
    inputs = {b.spec.input.key: np.stack([canonical(g, b.spec.input) for g in greys]) for b in backbones}
    return read, {b.spec.name: b.predict(inputs[b.spec.input.key]) for b in backbones}
