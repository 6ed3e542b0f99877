"""One image through two doors is one analysis, in each order, at the same moment, and with more or fewer images."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import permutations
from typing import Any

import httpx
import pytest

from tests.factories.patience import until
from tests.factories.platform import Platform, finished, post
from tests.integration.gateway.scp import Scp, data_set, instance, uid
from tests.integration.gateway.stored import stored
from tests.integration.gateway.test_stow import stow

Door = Callable[[bytes], None]


@pytest.fixture
def sender(platform: Platform, scp: Scp) -> Iterator[httpx.Client]:
    """A client of the tenant that the SCP's title belongs to; by STOW-RS a study settles after ten seconds."""
    with platform.client(scp.tenant) as client:
        yield client


@pytest.fixture
def doors(sender: httpx.Client, scp: Scp) -> dict[str, Door]:
    """How one image is sent by C-STORE, STOW-RS and POST."""

    def c_store(image: bytes) -> None:
        association = scp.associate()
        assert association.send_c_store(data_set(image)).Status == 0
        association.release()

    def by_stow(image: bytes) -> None:
        assert stow(sender, image).status_code == 200

    def by_post(image: bytes) -> None:
        assert post(sender, image).status_code == 202

    return {"C-STORE": c_store, "STOW-RS": by_stow, "POST": by_post}


def settle(client: httpx.Client, platform: Platform, study: str) -> list[dict[str, Any]]:
    """All jobs of a study, newest first, once it does not wait for more images."""
    client.post(f"/v1/studies/{study}/analyse")
    waits = "select 1 from arrivals where study_instance_uid = %s and settles_at is not null"
    until(lambda: not platform.sql(waits, study))
    listed = client.get("/v1/jobs", params={"study_instance_uid": study}).json()["items"]
    return [finished(client, f"/v1/jobs/{job['id']}") for job in listed]


def images(job: dict[str, Any]) -> set[str]:
    assert job["state"] == "succeeded", job
    return {image["sop_instance_uid"] for image in job["images"]}


@pytest.mark.parametrize("order", permutations(["C-STORE", "STOW-RS", "POST"], 2), ids=" then ".join)
def test_one_after_the_other(
    order: tuple[str, str], doors: dict[str, Door], sender: httpx.Client, platform: Platform
) -> None:
    study, sop, before = uid(), uid(), stored(platform)
    for door in order:
        doors[door](instance(study, 1, sop))
    [job] = settle(sender, platform, study)
    assert images(job) == {sop}
    assert len([path for path in stored(platform) - before if path.name == "original"]) == 1


def test_all_at_the_same_moment(doors: dict[str, Door], sender: httpx.Client, platform: Platform) -> None:
    studies, sop = [uid() for _ in range(4)], uid()
    with ThreadPoolExecutor(6) as pool:
        for study in studies:
            list(pool.map(lambda door, study=study: door(instance(study, 1, sop)), [*doors.values()] * 2))
    for study in studies:
        [job] = settle(sender, platform, study)
        assert images(job) == {sop}


def test_what_asks_for_more_goes_on_as_the_study_that_waits(
    doors: dict[str, Door], sender: httpx.Client, platform: Platform
) -> None:
    study, sops = uid(), [uid() for _ in range(2)]
    one, other = (instance(study, seed, sop) for seed, sop in enumerate(sops))
    doors["STOW-RS"](other)
    receipt = post(sender, one, other, one, data={"title": "both", "priority": "stat"}).json()
    doors["C-STORE"](one)
    [job] = settle(sender, platform, study)
    assert (job["id"], job["priority"], job["study"]["title"]) == (receipt["id"], "stat", "both")
    assert (images(job), job["study"]["source"]) == (set(sops), "STOW-RS")
    named = {image["id"]: image["sop_instance_uid"] for image in job["images"]}
    assert [named[image] for image in receipt["instance_ids"]] == [*sops, sops[0]]


def test_a_part_of_a_study_that_waits_is_analysed_by_itself_and_the_study_as_a_whole(
    doors: dict[str, Door], sender: httpx.Client, platform: Platform
) -> None:
    study, sops = uid(), [uid() for _ in range(2)]
    one, other = (instance(study, seed, sop) for seed, sop in enumerate(sops))
    doors["STOW-RS"](one)
    doors["STOW-RS"](other)
    doors["POST"](other)
    whole, part = settle(sender, platform, study)
    assert (images(whole), images(part)) == (set(sops), set(sops[1:]))

    def modalities() -> list[str]:
        listed = sender.get(f"/dicomweb/studies/{study}/instances").json()
        return [item["00080060"]["Value"][0] for item in listed]

    until(lambda: "SR" in modalities(), "no report is made")
    assert (modalities().count("CR"), modalities().count("SR")) == (
        2,
        1,
    )  # what the whole says hides the part's
    for door in doors.values():
        door(other)
    assert [job["id"] for job in settle(sender, platform, study)] == [whole["id"], part["id"]]


def test_a_posted_job_never_takes_in_what_arrives_later(
    doors: dict[str, Door], sender: httpx.Client, platform: Platform
) -> None:
    study, sops = uid(), [uid() for _ in range(2)]
    one, other = (instance(study, seed, sop) for seed, sop in enumerate(sops))
    doors["STOW-RS"](one)
    posted = post(sender, one).headers["location"]
    doors["C-STORE"](other)
    newest, first = settle(sender, platform, study)
    assert (images(newest), images(first)) == (set(sops), set(sops[:1]))
    assert first["links"]["self"] == posted


def test_of_uploads_of_parts_and_of_all_peers_go_on_with_the_one_of_all(
    doors: dict[str, Door], sender: httpx.Client, platform: Platform
) -> None:
    study, sops = uid(), [uid() for _ in range(2)]
    one, other = (instance(study, seed, sop) for seed, sop in enumerate(sops))
    assert post(sender, one, other).status_code == 202
    doors["POST"](one)
    doors["C-STORE"](one)
    doors["STOW-RS"](other)
    assert [len(images(job)) for job in settle(sender, platform, study)] == [1, 2]


def test_a_conflict_in_the_study_does_not_hide_its_job(
    doors: dict[str, Door], sender: httpx.Client, platform: Platform
) -> None:
    study, sop = uid(), uid()
    for seed in (1, 2):
        doors["STOW-RS"](instance(study, seed, sop))
    [job] = settle(sender, platform, study)
    assert post(sender, instance(study, 1, sop)).json()["id"] == job["id"]
