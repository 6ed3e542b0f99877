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

    Broken files are named and skipped with a count. Pixels are kept in `cache`, named by set and size.
    """
    key = hashlib.sha256("\n".join((str(folder.resolve()), *table.images)).encode()).hexdigest()[:16]
    path = cache / f"{key}-{size}.npy"
    if not path.exists():
        cache.mkdir(parents=True, exist_ok=True)
        pixels = _read_all(table, folder, size)
        np.save(path.with_suffix(".part.npy"), pixels)
        path.with_suffix(".part.npy").rename(path)
    pixels = np.load(path, mmap_mode="r")
    whole = np.flatnonzero(pixels.reshape(len(pixels), -1).any(1)) if len(pixels) else np.array([], int)
    if not len(whole):
        raise DataError(f"{folder}: none of the {len(table)} images of {table.source} could be read.")
    return (table, pixels) if len(whole) == len(table) else (table.take(whole), pixels[whole])


def _read_all(table: Table, folder: Path, size: int) -> Images:
    """uint8 [N, size, size]; a broken image is all 0, as no radiograph is."""
    spec = InputSpec(size=size)
    pixels = np.zeros((len(table), size, size), np.uint8)

    def read(row: int) -> str | None:
        try:
            pixels[row] = canonical(read_grey(folder / table.images[row]), spec)
        except DataError as error:
            return str(error)
        return None

    with ThreadPoolExecutor() as pool:
        rows = tqdm(pool.map(read, range(len(table))), f"reading at {size} px", len(table))
        broken = [sentence for sentence in rows if sentence]
    for sentence in broken[:20]:
        print(f"skipped {sentence}")
    if broken:
        print(f"{len(broken)} of {len(table)} images skipped")
    return pixels
