"""A labelled set's images, decoded as in serving and kept in memory at the size a network trains at."""

import hashlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from model_worker.decoding.images import canonical
from thorax.bundle import InputSpec
from training.datasets import DataError, Table
from training.predict import read_grey

Images = NDArray[np.uint8]


def load_images(table: Table, folder: Path, size: int, cache: Path) -> tuple[Table, Images]:
    """The rows whose image can be read, and their pixels, uint8 [N, size, size].

    Broken files are named and skipped with a count. Pixels are kept in `cache`, named by set and size; what was broken or
    missing is read again the next time.
    """
    key = hashlib.sha256("\n".join((str(folder.resolve()), *table.images)).encode()).hexdigest()[:16]
    path = cache / f"{key}-{size}.npy"
    pixels = np.load(path, mmap_mode="c") if path.exists() else np.zeros((len(table), size, size), np.uint8)
    lacking = np.flatnonzero(~_whole(pixels))
    _read(table, folder, lacking, pixels)
    whole = _whole(pixels)
    if whole[lacking].any():
        cache.mkdir(parents=True, exist_ok=True)
        np.save(path.with_suffix(".part.npy"), pixels)
        path.with_suffix(".part.npy").rename(path)
        pixels = np.load(path, mmap_mode="r")
    if not whole.any():
        raise DataError(f"{folder}: none of the {len(table)} images of {table.source} could be read.")
    return (table, pixels) if whole.all() else (table.take(whole), pixels[whole])


def _whole(pixels: Images) -> NDArray[np.bool_]:
    """Which images [N] were read: a broken one is all 0, as no radiograph is."""
    return pixels.any((1, 2))


def _read(table: Table, folder: Path, rows: NDArray[np.int64], pixels: Images) -> None:
    """Read these rows of a table into `pixels`, uint8 [N, size, size]; a broken image stays as it is."""
    spec = InputSpec(size=pixels.shape[1])

    def read(row: int) -> str | None:
        try:
            pixels[row] = canonical(read_grey(folder / table.images[row]), spec)
        except DataError as error:
            return str(error)
        return None

    with ThreadPoolExecutor() as pool:
        bar = tqdm(pool.map(read, rows), f"reading at {spec.size} px", len(rows), disable=not len(rows))
        broken = [sentence for sentence in bar if sentence]
    for sentence in broken[:20]:
        print(f"skipped {sentence}")
    if broken:
        print(f"{len(broken)} of {len(table)} images skipped")
