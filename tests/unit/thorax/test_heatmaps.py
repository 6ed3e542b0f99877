"""Fused heatmaps against maps made by hand."""

from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError
from tests.factories.bundles import make_bundle

from thorax.bundle import Manifest
from thorax.errors import CodedError
from thorax.heatmaps import fuse
from thorax.operating_points import MapScale


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    return make_bundle(tmp_path, ["a", "b"], weights={"a": [1, 1, 1, 1, 1], "b": [3, 1, 0, 1, 1]}).manifest


def blank(grid: int) -> np.ndarray:
    return np.zeros((5, grid, grid), np.float16)


def test_weights_grids_relu_and_normalisation(manifest: Manifest) -> None:
    a, b = blank(7), blank(5)
    a[0] = (
        1 / 49
    )  # finding 0: a says 1 everywhere (per image) and weighs 1/4, b says 4 on its left half and weighs 3/4
    b[0] = np.array([4, 4, 0, 0, 0]) / 25
    a[1] = -1.0  # finding 1: speaks against it everywhere
    b[2] = 9.0  # finding 2: b has no weight, a says nothing
    fused = fuse(manifest, {"a": a, "b": b})
    assert (fused.dtype, fused.shape) == (np.float16, (5, 28, 28))
    # on the left 1/4·1 + 3/4·4 = 3.25 is the maximum; on the right 1/4 remains of it
    np.testing.assert_allclose(fused[0, :, :8], 1.0, atol=1e-3)
    np.testing.assert_allclose(fused[0, :, 20:], 0.25 / 3.25, atol=1e-3)
    assert (np.diff(fused[0].astype(np.float32), axis=1) <= 0).all()
    assert not fused[1:].any()


def test_grids_of_different_size_agree_on_where(manifest: Manifest) -> None:
    a, b = blank(7), blank(5)
    a[0, 3, 3] = b[0, 2, 2] = 1.0  # the middle cell of either
    fused = fuse(manifest, {"a": a, "b": b})[0].astype(np.float32)
    np.testing.assert_allclose(fused, fused[::-1, ::-1], atol=1e-3)
    assert fused.max() == 1.0
    assert np.unravel_index(fused.argmax(), fused.shape) in [(13, 13), (13, 14), (14, 13), (14, 14)]


def test_coarse_and_fine_grids_have_equal_weight(manifest: Manifest) -> None:
    a, b = blank(7), blank(3)
    a[3, 0], b[3, 2] = 1 / 7, 1 / 3  # the same logit, at the top and at the bottom; both weigh 1/2
    fused = fuse(manifest, {"a": a, "b": b})[3].astype(np.float32)
    assert fused[:14].sum() == pytest.approx(fused[14:].sum(), rel=0.2)


def test_a_crop_returns_to_its_place(manifest: Manifest) -> None:
    cropped = [
        s.model_copy(update={"input": s.input.model_copy(update={"crop": 0.5})}) for s in manifest.backbones
    ]
    ones = {"a": blank(7) + 1, "b": blank(5) + 1}
    fused = fuse(manifest.model_copy(update={"backbones": tuple(cropped)}), ones)[0]
    assert fused[7:21, 7:21].min() == 1
    assert fused.astype(np.float32).sum() == 14 * 14


def test_pixel_centres_are_at_halves(manifest: Manifest) -> None:
    ramp = blank(7)
    ramp[:] = np.arange(7)
    fused = fuse(manifest, {"a": ramp, "b": ramp})[0, 0].astype(np.float32) * 6
    # column x of 28 lies at (x + 0.5) / 4 - 0.5 on the grid of 7
    np.testing.assert_allclose(fused[2:26], (np.arange(2, 26) + 0.5) / 4 - 0.5, atol=5e-3)


def test_missing_backbone_is_refused_unless_allowed(manifest: Manifest) -> None:
    with pytest.raises(CodedError):
        fuse(manifest, {"a": blank(7)})
    assert fuse(manifest, {"a": blank(7) + 1}, allow_missing=True).min() == 1.0


def test_maps_that_are_not_finite_are_refused(manifest: Manifest) -> None:
    with pytest.raises(CodedError):
        fuse(manifest, {"a": blank(7), "b": blank(5) + np.inf})


def test_on_an_absolute_scale_one_is_the_full_value_for_any_image(manifest: Manifest) -> None:
    scale = MapScale(unit="logit", full=(2, 2, 2, 2, 2), cuts=(0.5,) * 5)
    scaled = manifest.model_copy(update={"maps": scale})
    weak, strong = blank(7), blank(7)
    weak[0, 3, 3], strong[0, 3, 3] = 1 / 49, 40 / 49
    quiet = fuse(scaled, {"a": weak, "b": blank(5)})
    assert 0 < quiet.max() <= 0.25 / 2 + 1e-3  # a weighs a quarter: not stretched to its own maximum
    assert fuse(scaled, {"a": strong, "b": blank(5)}).max() == 1


def test_probabilities_are_averaged_as_they_are(manifest: Manifest) -> None:
    scale = MapScale(unit="probability", full=(1,) * 5, cuts=(0.5,) * 5)
    a, b = np.full((5, 7, 7), 0.2, np.float16), np.full((5, 14, 14), 0.6, np.float16)
    fused = fuse(manifest.model_copy(update={"maps": scale}), {"a": a, "b": b})
    np.testing.assert_allclose(fused[0], 0.25 * 0.2 + 0.75 * 0.6, atol=1e-3)


def test_only_the_maps_of_the_scales_members_count(manifest: Manifest) -> None:
    scale = MapScale(unit="probability", full=(1,) * 5, cuts=(0.5,) * 5, members=("a",))
    scaled = manifest.model_copy(update={"maps": scale})
    own, other = np.full((5, 10, 10), 0.2, np.float16), np.full((5, 5, 5), 40, np.float16)
    np.testing.assert_allclose(fuse(scaled, {"a": own, "b": other}), 0.2, atol=1e-3)
    assert not fuse(scaled, {"b": other}, allow_missing=True).any()  # lost: nothing is drawn


@pytest.mark.parametrize("members", [("c",), ("a", "c")])
def test_members_of_maps_are_backbones(manifest: Manifest, members: tuple[str, ...]) -> None:
    scale = MapScale(unit="probability", full=(1,) * 5, cuts=(0.5,) * 5, members=members)
    with pytest.raises(ValidationError, match="the members of maps"):
        Manifest.model_validate(manifest.model_copy(update={"maps": scale}).model_dump())
