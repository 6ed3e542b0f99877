"""From upload to findings, over HTTP, with every process real."""

from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.factories.bundles import make_bundle
from tests.factories.platform import Platform, finished, post


def chest(seed: int = 0, size: int = 256) -> bytes:
    """A grey PNG that differs with its seed."""
    rng = np.random.default_rng(seed)
    image = cv2.GaussianBlur(rng.integers(0, 255, (size, size), np.uint8), (0, 0), 5)
    return cv2.imencode(".png", image)[1].tobytes()


@pytest.fixture
def platform(
    tmp_path: Path, database_url: str, url_as: Callable[[str], str], clean_redis_url: str
) -> Iterator[Platform]:
    bundle = make_bundle(tmp_path / "models" / "tiny", 3)
    with Platform(tmp_path, bundle, url_as, database_url, clean_redis_url) as platform:
        yield platform


def test_a_study_is_analysed(platform: Platform) -> None:
    with platform.client() as client:
        answer = post(client, chest(1), chest(2), data={"title": "two views"})
        assert answer.status_code == 202, answer.text
        job = finished(client, answer.headers["location"])
        assert job["state"] == "succeeded", job
        assert [f["finding"] for f in job["study"]["findings"]][0] == "atelectasis"
        assert len(job["images"]) == 2
        overlay = client.get(job["images"][0]["links"]["overlay:edema"])
        assert overlay.headers["content-type"] == "image/png", overlay.text
