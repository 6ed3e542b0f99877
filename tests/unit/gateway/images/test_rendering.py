"""Rendered pictures: size, transparency where it is cold, colour where it is hot."""

import cv2
import numpy as np
import pytest
from tests.factories.hostile import png_of

from gateway.images import rendering
from thorax.errors import CodedError

IMAGE = np.tile(np.linspace(0, 255, 300).astype(np.uint8), (400, 1))
DISPLAY = png_of(IMAGE)
HEAT = np.zeros((28, 28), np.float16)
HEAT[:14] = 1


def pixels(png: bytes) -> np.ndarray:
    return np.asarray(cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_UNCHANGED))


@pytest.mark.parametrize(("size", "shape"), [(64, (64, 48)), (400, (400, 300)), (2048, (2048, 1536))])
def test_size_is_the_longest_side(size: int, shape: tuple[int, int]) -> None:
    assert rendering.fitted(DISPLAY, size) == shape[::-1]
    assert pixels(rendering.grey(DISPLAY, size)).shape == shape
    assert pixels(rendering.overlay(DISPLAY, HEAT, size=size)).shape == (*shape, 3)


def test_grey_at_its_own_size_is_the_stored_file() -> None:
    assert rendering.grey(DISPLAY, 400) is DISPLAY


def test_heatmap_is_transparent_where_cold_and_opaque_where_hot() -> None:
    picture = pixels(rendering.heatmap(HEAT, (300, 400)))
    assert picture.shape == (400, 300, 4)
    assert (picture[:180, :, 3] == 255).all()
    assert (picture[220:, :, 3] == 0).all()
    hottest = cv2.applyColorMap(np.full((1, 1), 255, np.uint8), cv2.COLORMAP_INFERNO)[0, 0]
    assert (picture[50, 50, :3] == hottest).all()


def test_an_empty_map_is_invisible() -> None:
    assert not pixels(rendering.heatmap(np.zeros((28, 28), np.float16), (64, 64)))[:, :, 3].any()


def test_overlay_leaves_cold_places_untouched() -> None:
    picture = pixels(rendering.overlay(DISPLAY, HEAT, size=400))
    assert (picture[220:] == IMAGE[220:, :, None]).all()
    assert np.ptp(picture[:180], axis=2).max() > 30


@pytest.mark.parametrize("colormap", rendering.COLORMAPS)
def test_full_opacity_shows_the_colour_alone(colormap: str) -> None:
    hottest = cv2.applyColorMap(np.full((1, 1), 255, np.uint8), rendering.COLORMAPS[colormap])[0, 0]
    picture = pixels(rendering.overlay(DISPLAY, HEAT, opacity=1, colormap=colormap, size=400))
    assert (picture[:180] == hottest).all()
    assert (pixels(rendering.overlay(DISPLAY, HEAT, opacity=0, size=400)) == IMAGE[:, :, None]).all()


def test_an_unknown_colour_map_is_a_coded_error() -> None:
    with pytest.raises(CodedError, match="colormap must be one of inferno"):
        rendering.overlay(DISPLAY, HEAT, colormap="jet")


@pytest.mark.parametrize("blob", [b"", b"GIF89a", DISPLAY[:20], png_of(np.zeros((1100, 64), np.uint8))])
def test_a_blob_that_is_not_a_display_image_is_not_decoded(blob: bytes) -> None:
    with pytest.raises(CodedError):
        rendering.grey(blob, 512)
