"""Drawings that are not chests: noise, patterns, text, shapes, slices and limbs."""

from collections.abc import Callable

import cv2
import numpy as np

from training.pictures.grey import EDGE, Floats, Grey, Random, normalised


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
