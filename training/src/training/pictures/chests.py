"""Chest radiographs as another machine or photographer would have them, and parts of them that are not a whole chest."""

import cv2
import numpy as np

from training.pictures.grey import Grey, Random, squashed


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
