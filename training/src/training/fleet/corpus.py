"""`python -m training.fleet.corpus`: a labelled set as one array of pixels and one of facts, small enough to carry along.

A run on a GPU reads its images from one memory-mapped `uint8 [N, 256, 256]`, not from 13,000 files. Where it has to be
carried to a machine without a network, the pixels travel as grey WebP: `corpus.npz` (facts) and `corpus.webp` (pixels).
This file needs numpy and OpenCV alone when a corpus is opened.
"""

import argparse
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

EDGE = 256
LOSSLESS = 101
"""OpenCV's word for WebP without loss."""


@dataclass(frozen=True)
class Corpus:
    """`pixels` uint8 [N, 256, 256]; `labels` float32 [N, 5], NaN left out; `side` float32 [N, S] in 0..1, NaN unknown;
    `view` int8 [N]: 1 AP, 0 PA, -1 unknown; `part`, `source`, `patient`, `image` str [N]."""

    pixels: NDArray[np.uint8]
    labels: NDArray[np.float32]
    side: NDArray[np.float32]
    view: NDArray[np.int8]
    part: NDArray[np.str_]
    source: NDArray[np.str_]
    patient: NDArray[np.str_]
    image: NDArray[np.str_]

    def rows(self, part: str) -> NDArray[np.int64]:
        """The rows of `train` or `val`."""
        return np.flatnonzero(self.part == part)

    def away(self, sources: tuple[str, ...]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """A second way to cut: (train rows without these sources, rows of these sources whose patients are in none of them)."""
        out = np.isin(self.source, sources)
        kept = np.flatnonzero((self.part == "train") & ~out)
        known = np.isin(self.patient, self.patient[~out & (self.part == "train")])
        return kept, np.flatnonzero(out & ~known)


def save(folder: Path, corpus: Corpus, quality: int) -> int:
    """Write the two files into `folder`; the bytes of the pixels' file."""
    folder.mkdir(parents=True, exist_ok=True)

    def encode(pixels: NDArray[np.uint8]) -> bytes:
        return cv2.imencode(".webp", pixels, [cv2.IMWRITE_WEBP_QUALITY, quality])[1].tobytes()

    with ThreadPoolExecutor() as pool:
        parts = list(pool.map(encode, corpus.pixels))
    facts = {name: value for name, value in vars(corpus).items() if name != "pixels"}
    np.savez_compressed(folder / "corpus.npz", lengths=np.array([len(part) for part in parts]), **facts)
    (folder / "corpus.webp").write_bytes(b"".join(parts))
    return sum(map(len, parts))


def load(folder: Path, cache: Path) -> Corpus:
    """Open what `save` wrote. Pixels are decoded once into `cache/pixels.npy` and memory-mapped from there.

    ValueError names a file that is missing or does not fit.
    """
    try:
        with np.load(folder / "corpus.npz") as saved:
            facts = {name: saved[name] for name in saved.files}
        data = (folder / "corpus.webp").read_bytes()
    except (OSError, ValueError, KeyError) as error:
        raise ValueError(f"{folder}: expected a corpus of training.fleet.corpus; {error}.") from error
    lengths = facts.pop("lengths")
    if lengths.sum() != len(data):
        raise ValueError(f"{folder / 'corpus.webp'}: expected {lengths.sum()} bytes; found {len(data)}.")
    path = cache / "pixels.npy"
    if not path.exists() or np.load(path, mmap_mode="r").shape[0] != len(lengths):
        cache.mkdir(parents=True, exist_ok=True)
        np.save(path, _decode(data, lengths))
    return Corpus(np.load(path, mmap_mode="r"), **facts)


def _decode(data: bytes, lengths: NDArray[np.int64]) -> NDArray[np.uint8]:
    ends = np.cumsum(lengths)
    pixels = np.zeros((len(lengths), EDGE, EDGE), np.uint8)
    view = memoryview(data)

    def one(row: int) -> None:
        part = np.frombuffer(view[ends[row] - lengths[row] : ends[row]], np.uint8)
        pixels[row] = cv2.imdecode(part, cv2.IMREAD_GRAYSCALE)

    with ThreadPoolExecutor() as pool:
        list(pool.map(one, range(len(lengths))))
    return pixels


def read_corpus(
    data: Path, images: Path, soft: Path | None, seed: int, cache: Path, apart: Path | None
) -> Corpus:
    """Read a labelled set's parts `train` and `val` (the test part stays at home). Images and patients that the CSV
    `apart` names (boxes to measure with) are left out."""
    from training.datasets import read_table
    from training.images import load_images
    from training.splits import split_by_patient
    from training.targets import side_columns

    table = read_table(data)
    where = split_by_patient(table.patients, table.labels, seed)
    keep = (where != "test") & ~named_apart(apart, table.images, table.patients)
    table = table.take(keep)
    names = table.images
    table, pixels = load_images(table, images, EDGE, cache)
    part = dict(zip(names, where[keep], strict=True))
    nothing = ("",) * len(table)
    view = [{"AP": 1, "PA": 0}.get(text, -1) for text in table.columns.get("view", nothing)]
    return Corpus(
        pixels,
        table.labels,
        side_columns(table, soft),
        np.array(view, np.int8),
        np.array([part[name] for name in table.images]),
        np.array(table.columns.get("source", nothing)),
        np.array(table.patients),
        np.array(table.images),
    )


def named_apart(apart: Path | None, images: tuple[str, ...], patients: tuple[str, ...]) -> NDArray[np.bool_]:
    """Which rows [N] the CSV `apart` names by `image` or `patient_id`: these are kept for measuring."""
    if apart is None:
        return np.zeros(len(images), bool)
    header, *lines = [line.split(",") for line in apart.read_text("utf-8").splitlines()]
    named = {c: {line[header.index(c)] for line in lines} for c in ("image", "patient_id") if c in header}
    by_image = np.isin(images, list(named.get("image", ())))
    return np.asarray(by_image | np.isin(patients, list(named.get("patient_id", ()))))


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Pack a labelled set's train and validation parts.")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--soft-labels", type=Path, help="CSV of another network's probabilities")
    parser.add_argument("--apart", type=Path, help="CSV whose images and patients are left out (boxes)")
    parser.add_argument("--quality", type=int, default=60, help=f"of the WebP; {LOSSLESS} is without loss")
    parser.add_argument("--split-seed", type=int, default=20)
    parser.add_argument("--cache", type=Path, default=Path("build/training/images"))
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    try:
        corpus = read_corpus(
            arguments.data, arguments.images, arguments.soft_labels, arguments.split_seed, arguments.cache, arguments.apart
        )  # fmt: skip
    except ValueError as error:
        raise SystemExit(str(error)) from error
    size = save(arguments.out, corpus, arguments.quality)
    print(f"wrote {arguments.out}: {len(corpus.labels)} images, {size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
