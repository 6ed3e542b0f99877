"""What a student copies: the teacher's maps, turned as its own view of the image is turned."""

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the training extra (torch) is not installed")
pytest.importorskip("tqdm", reason="the training extra (tqdm) is not installed")

from training.augment import Augmentation  # noqa: E402
from training.axes import AXES, Axes  # noqa: E402
from training.backbones import ARCHITECTURES, build_classifier  # noqa: E402
from training.distil import answers  # noqa: E402
from training.targets import map_loss  # noqa: E402


def test_a_map_of_the_whole_image_is_turned_like_the_view() -> None:
    rng = np.random.default_rng(3)
    image = cv2.resize(rng.integers(0, 256, (8, 8), dtype=np.uint8), (96, 96), interpolation=cv2.INTER_CUBIC)
    augment = Augmentation(contrast=(1, 1), brightness=0)
    for _ in range(10):
        view, turned = augment(image, rng)
        mine, theirs = (torch.from_numpy(a.astype(np.float32) / 255)[None, None] for a in (view, image))
        straight = torch.tensor([[[1.0, 0, 0], [0, 1, 0]]])
        there = map_loss(mine, theirs, torch.from_numpy(turned)[None])
        assert there < 5e-4 < map_loss(mine, theirs, straight)


def test_axes_keep_the_directions_that_vary_most() -> None:
    torch.manual_seed(0)
    strengths = torch.arange(100, 0, -1.0)
    maps = torch.randn(64, 100, 4, 4) * strengths[:, None, None] + 7
    turned = Axes(maps)(maps).astype(np.float32)
    assert turned.shape == (64, AXES, 4, 4)
    spread = turned.std((0, 2, 3))
    assert spread[0] == pytest.approx(1, abs=0.02)
    assert spread[-1] < 0.8
    assert abs(turned.mean()) < 0.02


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_backbone_can_teach(name: str) -> None:
    classifier = build_classifier(name).eval()
    seen = answers(classifier, np.random.default_rng(0).integers(0, 256, (3, 96, 96), dtype=np.uint8))
    assert {key: value.shape[:2] for key, value in seen.items()} == {
        "probabilities": (3, 5),
        "middle": (3, AXES),
        "final": (3, AXES),
    }
