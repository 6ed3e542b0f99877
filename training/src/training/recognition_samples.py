"""Pictures for the picture test: chest radiographs as they may arrive, and what is not one. Grey uint8 arrays.

Everything random is drawn from the generator passed in, so that a seed names a set.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

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


# --- how one chest may look -----------------------------------------------------------------------------------


def as_it_may_arrive(image: Grey, rng: Random) -> Grey:
    """A picture as another machine, window, collimation or photographer would have it; still what it shows."""
    image = _placed(image, rng)
    values = image.astype(np.float32) / 255
    if rng.random() < 0.15:
        values = np.asarray(cv2.equalizeHist(image), np.float32) / 255
    if rng.random() < 0.5:
        values = values ** np.exp(rng.normal(0, 0.35))
    low, high = rng.uniform(-0.15, 0.25), rng.uniform(0.75, 1.15)
    values = (values - low) / (high - low)
    if rng.random() < 0.3:
        values = cv2.GaussianBlur(values, (0, 0), rng.uniform(0.5, 2.0))
    if rng.random() < 0.3:
        values = values + rng.normal(0, rng.uniform(0.01, 0.08), values.shape).astype(np.float32)
    result = (np.clip(values, 0, 1) * 255).astype(np.uint8)
    return _framed(result, rng)


def _placed(image: Grey, rng: Random) -> Grey:
    """Turned by up to 8 degrees, moved, and stretched by up to an eighth; mirrored half of the time (situs inversus)."""
    edge = image.shape[0]
    turn = np.deg2rad(np.clip(rng.normal(0, 4), -8, 8))
    across, down = np.exp(rng.uniform(-0.14, 0.14, 2))
    matrix = np.array(
        [[np.cos(turn) * across, -np.sin(turn) * down], [np.sin(turn) * across, np.cos(turn) * down]]
    )
    middle = np.full(2, edge / 2)
    offset = middle - matrix @ middle + rng.uniform(-0.06, 0.06, 2) * edge
    moved = cv2.warpAffine(
        image,
        np.column_stack([matrix, offset]),
        (edge, edge),
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE if rng.random() < 0.5 else cv2.BORDER_CONSTANT,
    )
    return np.asarray(moved[:, ::-1] if rng.random() < 0.5 else moved)


def _framed(image: Grey, rng: Random) -> Grey:
    """With collimated or padded edges, and a letter, now and then."""
    image, edge = image.copy(), image.shape[0]
    if rng.random() < 0.35:
        shade = int(rng.choice([0, 0, 0, 255, rng.integers(0, 256)]))
        widths = (rng.uniform(0, 0.14, 4) * edge * (rng.random(4) < 0.6)).astype(int)
        inner = cv2.resize(image, (edge - widths[2] - widths[3], edge - widths[0] - widths[1]))
        image = cv2.copyMakeBorder(inner, *(int(w) for w in widths), cv2.BORDER_CONSTANT, value=shade)
    if rng.random() < 0.3:
        at = (int(rng.uniform(0.03, 0.85) * edge), int(rng.uniform(0.1, 0.97) * edge))
        cv2.putText(image, str(rng.choice(["L", "R", "AP", "PORT"])), at, 0, edge / 300, 255, 2)
    return np.asarray(image)


# --- what is not a whole chest ---------------------------------------------------------------------------------


def detail(image: Grey, rng: Random) -> Grey:
    """A part of a picture: at most two fifths of its height or width."""
    edge = image.shape[0]
    rows, columns = (np.array([rng.uniform(0.15, 0.4), rng.uniform(0.15, 0.75)]) * edge).astype(int)[
        rng.permutation(2)
    ]
    top, left = rng.integers(0, edge - rows), rng.integers(0, edge - columns)
    return squashed(image[top : top + rows, left : left + columns], edge)


def jigsaw(image: Grey, rng: Random) -> Grey:
    """The same greys and textures without the anatomy: tiles changed about."""
    tiles = int(rng.choice([2, 3, 4]))
    size = image.shape[0] // tiles
    parts = [
        image[r * size : (r + 1) * size, c * size : (c + 1) * size]
        for r in range(tiles)
        for c in range(tiles)
    ]
    order = rng.permutation(len(parts))
    while tiles == 2 and (order == np.arange(4)).sum() > 1:
        order = rng.permutation(len(parts))
    rows = [np.hstack([parts[i] for i in order[r * tiles : (r + 1) * tiles]]) for r in range(tiles)]
    return squashed(np.vstack(rows), image.shape[0])


def contact_sheet(images: list[Grey], rng: Random) -> Grey:
    """Several pictures on one, as on a printed film."""
    rows, columns = [(1, 2), (2, 1), (2, 2), (2, 3), (1, 3)][rng.integers(5)]
    picks = [images[i] for i in rng.integers(0, len(images), rows * columns)]
    lines = [np.hstack(picks[r * columns : (r + 1) * columns]) for r in range(rows)]
    return squashed(np.vstack(lines))


# --- drawings ----------------------------------------------------------------------------------------------------


def noise(rng: Random) -> Grey:
    """Noise with a spectrum of 1/f^b: white noise to clouds."""
    spectrum = np.fft.rfft2(rng.normal(size=(EDGE, EDGE)))
    f = np.hypot(np.fft.fftfreq(EDGE)[:, None], np.fft.rfftfreq(EDGE)[None])
    f[0, 0] = 1
    return normalised(np.fft.irfft2(spectrum / f ** rng.uniform(0, 2.2)))


def test_pattern(rng: Random) -> Grey:
    """Ramps, gratings, boards, rings and bars."""
    y, x = np.mgrid[0:EDGE, 0:EDGE] / EDGE
    turn = rng.uniform(0, np.pi)
    along = x * np.cos(turn) + y * np.sin(turn)
    rings = np.hypot(x - rng.uniform(0.2, 0.8), y - rng.uniform(0.2, 0.8))
    n = rng.uniform(1, 16)
    return normalised(
        [
            along,
            np.sin(along * n * 6.3),
            (np.floor(x * n) + np.floor(y * n)) % 2,
            np.sin(rings * n * 6.3),
            np.floor(along * n) / n,
            rings,
            np.abs(x - 0.5) + np.abs(y - 0.5),
            rng.random(int(n) + 2)[(x * (int(n) + 1)).astype(int)],
        ][rng.integers(8)]
    )


def page(rng: Random) -> Grey:
    """Lines of text, light on dark or the other way round."""
    image = np.zeros((EDGE, EDGE), np.uint8)
    scale, letters = rng.uniform(0.25, 0.8), list("abcdefghijklmnopqrstuvwxyz ABC 0123456789 .,-")
    for top in range(int(30 * scale), EDGE, int(34 * scale) + 1):
        if rng.random() < 0.85:
            cv2.putText(
                image,
                "".join(rng.choice(letters, 40)),
                (int(rng.uniform(0, 20)), top),
                0,
                scale,
                255,
                1 + (scale > 0.6),
            )
    return 255 - image if rng.random() < 0.5 else image


def shapes(rng: Random) -> Grey:
    """Ellipses, boxes and lines of any grey: icons, diagrams, phantoms."""
    image = np.full((EDGE, EDGE), rng.integers(0, 256), np.float32)
    for _ in range(rng.integers(2, 14)):
        at = tuple(int(v) for v in rng.integers(0, EDGE, 2))
        axes = tuple(int(v) for v in rng.integers(4, EDGE // 2, 2))
        shade, kind = float(rng.integers(0, 256)), rng.integers(3)
        if kind == 0:
            cv2.ellipse(image, at, axes, float(rng.uniform(0, 180)), 0, 360, shade, -1)
        elif kind == 1:
            cv2.rectangle(image, at, tuple(int(v) for v in rng.integers(0, EDGE, 2)), shade, -1)
        else:
            cv2.line(
                image, at, tuple(int(v) for v in rng.integers(0, EDGE, 2)), shade, int(rng.integers(1, 9))
            )
    return normalised(cv2.GaussianBlur(image, (0, 0), rng.uniform(0.3, 3)))


def slice_of_a_body(rng: Random) -> Grey:
    """An axial slice, as CT and MR show one: an ellipse with a rim and organs, air around."""
    image = np.zeros((EDGE, EDGE), np.float32)
    middle = (int(EDGE / 2 + rng.normal(0, 5)), int(EDGE / 2 + rng.normal(0, 5)))
    width, height = rng.uniform(0.28, 0.48, 2) * EDGE
    if rng.random() < 0.6:
        width, height = max(width, height), min(width, height)
    cv2.ellipse(image, middle, (int(width), int(height)), 0, 0, 360, float(rng.uniform(0.3, 1)), -1)
    cv2.ellipse(
        image, middle, (int(width * 0.9), int(height * 0.9)), 0, 0, 360, float(rng.uniform(0.3, 0.8)), -1
    )
    if rng.random() < 0.5:  # lungs
        for side in (-1, 1):
            at = (int(middle[0] + side * width * 0.45), int(middle[1] + height * rng.uniform(-0.2, 0.1)))
            axes = (int(width * rng.uniform(0.25, 0.4)), int(height * rng.uniform(0.45, 0.7)))
            cv2.ellipse(image, at, axes, float(side * rng.uniform(-15, 15)), 0, 360, 0.05, -1)
    for _ in range(rng.integers(3, 16)):
        at = (
            int(middle[0] + rng.uniform(-0.7, 0.7) * width),
            int(middle[1] + rng.uniform(-0.7, 0.7) * height),
        )
        axes = tuple(int(v) for v in rng.uniform(0.03, 0.25, 2) * width + 1)
        cv2.ellipse(image, at, axes, float(rng.uniform(0, 180)), 0, 360, float(rng.uniform(0.1, 1)), -1)
    image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.5, 2)) + rng.normal(0, 0.03, image.shape)
    return normalised(image)


def limb(rng: Random) -> Grey:
    """Long bones in soft tissue on air: legs, arms, hands, feet, joints. Absorption adds up, as in a radiograph."""
    image = np.zeros((EDGE, EDGE), np.float32)
    rays = int(rng.choice([1, 1, 2, 2, 4, 5]))
    root = np.array([EDGE * rng.uniform(0.3, 0.7), EDGE * rng.uniform(0.75, 1.15)])
    spread = rng.uniform(0.1, 0.35) if rays > 2 else rng.uniform(0, 0.15)
    for ray in range(rays):
        turn = (ray - (rays - 1) / 2) * spread + rng.normal(0, 0.05)
        thick = EDGE * (rng.uniform(0.025, 0.05) if rays > 2 else rng.uniform(0.05, 0.12))
        at = root + (np.array([(ray - (rays - 1) / 2) * EDGE * 0.16, 0]) if rays <= 2 else 0)
        for length in rng.uniform(0.15, 0.35, 4) if rays > 2 else rng.uniform(0.45, 0.9, 3):
            to = at + np.array([np.sin(turn), -np.cos(turn)]) * length * EDGE
            _bone(image, at, to, thick)
            at = to + np.array([np.sin(turn), -np.cos(turn)]) * thick * 0.25
            thick *= rng.uniform(0.75, 1.0)
    flesh = cv2.GaussianBlur(
        (cv2.dilate(image, np.ones((3, 3)), iterations=int(rng.integers(4, 16))) > 0.05).astype(np.float32),
        (0, 0),
        rng.uniform(1, 5),
    )
    image = image + flesh * rng.uniform(0.2, 0.8) + rng.normal(0, 0.02, image.shape)
    turned = cv2.warpAffine(
        image,
        cv2.getRotationMatrix2D(
            (EDGE / 2, EDGE / 2), float(rng.uniform(0, 360)), float(rng.uniform(0.8, 1.3))
        ),
        (EDGE, EDGE),
    )
    return normalised(turned)


def _bone(image: Floats, start: Floats, end: Floats, thick: float) -> None:
    """A shaft with a light cortex and thicker ends."""
    a, b = (tuple(int(v) for v in p) for p in (start, end))
    layer = np.zeros_like(image)
    cv2.line(layer, a, b, 0.9, max(2, int(thick)))
    for at in (a, b):
        cv2.circle(layer, at, max(2, int(thick * 0.75)), 0.8, -1)
    cv2.line(layer, a, b, 0.55, max(1, int(thick * 0.5)))
    image += cv2.GaussianBlur(layer, (0, 0), 1.0)


DRAWINGS: dict[str, Callable[[Random], Grey]] = {
    "noise": noise,
    "test pattern": test_pattern,
    "page": page,
    "shapes": shapes,
    "slice of a body": slice_of_a_body,
    "limb": limb,
}


# --- files -------------------------------------------------------------------------------------------------------


def pictures_in(folder: Path) -> Iterator[tuple[str, Grey]]:
    """Every readable picture, DICOM file or volume's slice under a folder, with the path that it came from."""
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        for image in _read(path):
            if min(image.shape) >= 24 and np.ptp(image) > 0:
                yield str(path.relative_to(folder)), squashed(normalised(image))


def _read(path: Path) -> list[npt.NDArray[np.floating]]:
    suffix = path.suffix.lower()
    try:
        if suffix in (".png", ".jpg", ".jpeg", ".webp", ".tif", ".gif", ".bmp"):
            image = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
            return [] if image is None else [image]
        if suffix == ".dcm":
            import pydicom

            pixels = pydicom.dcmread(path, force=True).pixel_array
            pixels = pixels if pixels.ndim == 2 else pixels[0] if pixels.ndim == 4 else pixels
            return [
                pixels.mean(-1) if pixels.ndim == 3 and pixels.shape[-1] == 3 else p
                for p in np.atleast_3d(pixels.T).T
            ][:4]
        if suffix in (".gz", ".nii", ".mgz", ".par", ".hdr", ".img"):
            import nibabel

            return _slices(np.asarray(nibabel.load(path).dataobj))
        if suffix in (".npy", ".npz"):
            arrays = np.load(path, allow_pickle=False)
            found = [arrays] if suffix == ".npy" else [arrays[name] for name in arrays.files]
            return [s for a in found for s in _slices(a)]
    except Exception as error:
        print(f"skipped {path.name}: {type(error).__name__}")
    return []


def _slices(volume: npt.NDArray[np.generic]) -> list[npt.NDArray[np.floating]]:
    """A volume's middle slices and its projections along each axis, which look like radiographs."""
    if volume.dtype.kind not in "iuf" or volume.ndim < 2 or min(volume.shape[:2]) < 24:
        return []
    while volume.ndim > 3:
        volume = volume[..., 0]
    values = volume.astype(np.float32)
    if values.ndim == 2:
        return [values]
    planes = []
    for axis in range(3):
        n = values.shape[axis]
        planes += [values.take(int(n * at), axis) for at in (0.35, 0.5, 0.65)]
        planes += [values.mean(axis), values.max(axis)]
    return [p for p in planes if max(p.shape) <= 8 * min(p.shape)]
