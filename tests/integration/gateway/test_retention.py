"""What a client sees of data that are held, or gone by their age."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.factories.images import chest_png
from tests.factories.platform import Platform, finished, post
from tests.integration.gateway.problem import problem
from thorax.errors import Code


@pytest.fixture
def analysed(client: httpx.Client) -> Iterator[tuple[str, dict[str, Any]]]:
    """A job's path and its view."""
    job = post(client, chest_png(11)).headers["location"]
    yield job, finished(client, job)


def test_a_held_study_cannot_be_erased(
    platform: Platform, client: httpx.Client, analysed: tuple[str, dict[str, Any]]
) -> None:
    job, view = analysed
    platform.sql("update studies set held_since = now() where id = %s", view["study"]["id"])
    refused = problem(client.delete(job), Code.CONFLICT)
    assert "legal hold" in refused["detail"]
    assert client.get(job).json()["state"] == "succeeded"
    platform.sql("update studies set held_since = null where id = %s", view["study"]["id"])
    client.delete(job).raise_for_status()
    assert client.get(job).status_code == 404


def test_maps_that_are_gone_are_not_waited_for(
    platform: Platform, client: httpx.Client, analysed: tuple[str, dict[str, Any]]
) -> None:
    job, view = analysed
    image = view["images"][0]["id"]
    platform.sql("delete from heatmaps where instance_id = %s", image)
    platform.sql("update predictions set maps = '' where instance_id = %s", image)
    platform.sql("update instances set expired = '{maps}' where id = %s", image)
    for file in ("heatmaps.npz", "overlay/edema.png", "heatmaps/edema.png"):
        problem(client.get(f"{job}/images/{image}/{file}"), Code.NOT_FOUND)
    assert client.get(f"{job}/images/{image}/image.png").status_code == 200
    assert client.get(job).json()["images"][0]["findings"] == view["images"][0]["findings"]
