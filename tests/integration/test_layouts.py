"""Workers that serve different backbones, and an ensemble that may answer without one."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.factories.bundles import make_bundle
from tests.factories.images import chest_png
from tests.factories.patience import until
from tests.factories.platform import Platform, finished, post

pytestmark = pytest.mark.slow  # each test starts a platform
BACKBONES = ("tiny_0", "tiny_1", "tiny_2")
ONE_EACH = {f"worker-{i}": {"THORAX_BACKBONES": name} for i, name in enumerate(BACKBONES)}


def test_one_backbone_per_worker(
    tmp_path: Path, database_url: str, url_as: Callable[[str], str], clean_redis_url: str
) -> None:
    bundle = make_bundle(tmp_path / "models" / "tiny", BACKBONES)
    arguments = (tmp_path, bundle, url_as, database_url, clean_redis_url)
    with Platform(*arguments, workers=3, own_settings=ONE_EACH) as platform, platform.client() as client:
        job = finished(client, post(client, chest_png(1), chest_png(2)).headers["location"])
        assert job["state"] == "succeeded" and not job["degraded"]
        assert set(job["images"][1]["findings"][0]["backbones"]) == set(BACKBONES)
        took = dict(
            platform.sql("select backbone, count(distinct worker) from steps where kind = 'infer' group by 1")
        )
        assert took == dict.fromkeys(BACKBONES, 1)


def test_a_quorum_answers_when_a_backbone_has_no_worker(
    tmp_path: Path, database_url: str, url_as: Callable[[str], str], clean_redis_url: str
) -> None:
    bundle = make_bundle(tmp_path / "models" / "tiny", BACKBONES)
    settings = {"THORAX_QUORUM": "2", "THORAX_DEADLINE_S": "2"}
    arguments = (tmp_path, bundle, url_as, database_url, clean_redis_url)
    with (
        Platform(*arguments, workers=3, settings=settings, own_settings=ONE_EACH) as platform,
        platform.client() as client,
    ):
        platform.kill("worker-2")
        job = finished(client, post(client, chest_png(1)).headers["location"])
        assert job["state"] == "succeeded"
        assert job["degraded"] and job["missing_backbones"] == ["tiny_2"]
        assert job["progress"]["done"] == job["progress"]["total"]


def test_without_a_quorum_all_backbones_must_answer(
    tmp_path: Path, database_url: str, url_as: Callable[[str], str], clean_redis_url: str
) -> None:
    bundle = make_bundle(tmp_path / "models" / "tiny", BACKBONES)
    arguments = (tmp_path, bundle, url_as, database_url, clean_redis_url)
    with Platform(*arguments, workers=3, own_settings=ONE_EACH) as platform, platform.client() as client:
        platform.kill("worker-2")
        place = post(client, chest_png(1)).headers["location"]
        left = "select backbone from steps where state <> 'done'"
        until(lambda: platform.sql(left) == [("tiny_2",)])
        assert client.get(place, params={"wait": 2}).json()["state"] == "running"
        platform.start("worker-2")
        assert finished(client, place)["degraded"] is False
