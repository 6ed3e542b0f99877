"""An upload: what the receipt says, what it stands for, and what a repetition does."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID, uuid4

import httpx
import pytest

from tests.factories.images import chest_dicom, chest_jpeg, chest_png, without_loss
from tests.factories.platform import Platform, finished, post
from tests.integration.gateway.problem import problem
from tests.integration.gateway.stored import stored
from thorax.errors import Code


def key(name: str) -> dict[str, dict[str, str]]:
    return {"headers": {"Idempotency-Key": name}}


def test_the_receipt_names_everything_that_was_stored(client: httpx.Client, platform: Platform) -> None:
    images = [chest_png(1), chest_jpeg(2), chest_dicom(3)]
    answer = post(client, *images)
    assert answer.status_code == 202, answer.text
    receipt = answer.json()
    assert answer.headers["location"] == receipt["links"]["self"] == f"/v1/jobs/{receipt['job_id']}"
    assert int(answer.headers["retry-after"]) >= 1
    UUID(receipt["study_id"])
    assert len(receipt["instance_ids"]) == 3
    for instance, image in zip(receipt["instance_ids"], images, strict=True):
        assert (platform.folder / "blobs" / "instances" / instance / "original").read_bytes() == image
    job = finished(client, answer.headers["location"])
    assert job["state"] == "succeeded"
    assert [image["id"] for image in job["images"]] == receipt["instance_ids"]
    assert [image["media_type"] for image in job["images"]] == [
        "image/png",
        "image/jpeg",
        "application/dicom",
    ]
    assert [image["position"] for image in job["images"]] == [0, 1, 2]


def test_the_fields_are_kept(client: httpx.Client) -> None:
    fields = {
        "title": "  Übersicht, p.a. 胸部　正面\n ",
        "priority": "stat",
    }
    answer = post(client, chest_png(), name="C:\\Bilder\\../x/thorax 1.png", data=fields)
    assert answer.status_code == 202, answer.text
    job = client.get(answer.headers["location"]).json()
    assert (job["study"]["title"], job["priority"]) == ("Übersicht, p.a. 胸部　正面", "stat")
    assert job["images"][0]["file_name"] == "thorax 1.png"


def test_a_title_with_control_characters_is_refused(client: httpx.Client) -> None:
    for title in ("two\0", "two\nlines", "\x85", "\u2028"):
        problem(post(client, chest_png(), data={"title": f"x{title}x"}), Code.VALIDATION)


def test_a_callback_to_a_stranger_is_refused_and_nothing_is_kept(
    client: httpx.Client, platform: Platform
) -> None:
    before = stored(platform)
    problem(
        post(client, chest_png(), data={"callback_url": "https://example.org/x"}), Code.CALLBACK_NOT_ALLOWED
    )
    assert stored(platform) <= before
    known, here = chest_dicom(77), {"callback_url": "https://example.org/x"}
    assert (
        post(client, known, data={"callback_url": ""}).status_code == 202
    )  # as a form sends what is not filled in
    problem(post(client, known, data=here), Code.CALLBACK_NOT_ALLOWED)


def test_images_of_two_patients_are_refused(client: httpx.Client, platform: Platform) -> None:
    before = stored(platform)
    one, other, nobody = (chest_dicom(n, PatientID=p) for n, p in enumerate(["1", "2", "ANONYMOUS"], 1))
    refused = problem(post(client, one, nobody, chest_png(4), other), Code.SEVERAL_PATIENTS)
    assert refused["file"] == 3
    assert stored(platform) <= before
    assert post(client, one, nobody, chest_dicom(5, PatientID="1 ")).status_code == 202


def test_the_same_dicom_file_is_one_instance_and_one_job(client: httpx.Client, platform: Platform) -> None:
    before, image, other = stored(platform), chest_dicom(1), chest_dicom(2)
    first = post(client, image, image, other).json()
    a, again, b = first["instance_ids"]
    assert a == again != b
    job = finished(client, first["links"]["self"])
    assert [i["id"] for i in job["images"]] == [a, b]
    repeated = post(client, other, image, data={"title": "under another title"}, **key("k"))
    assert (repeated.status_code, repeated.json()) == (
        202,
        {**first, "instance_ids": [b, a], "state": "succeeded"},
    )
    assert len([path for path in stored(platform) - before if path.name == "original"]) == 2
    assert (
        post(client, other, image, data={"title": "under another title"}, **key("k")).content
        == repeated.content
    )
    problem(post(client, other, **key("k")), Code.IDEMPOTENCY_MISMATCH)
    part = post(client, image)  # another study, as far as its sender says: a job of its own
    assert part.json()["job_id"] != first["job_id"]
    assert finished(client, part.headers["location"])["state"] == "succeeded"
    forced = client.post("/v1/jobs?force=true", files=[("files", ("a.dcm", image))])
    assert forced.json()["job_id"] not in (part.json()["job_id"], first["job_id"])


def test_the_same_file_at_once_is_one_job(platform: Platform) -> None:
    tenant, image = uuid4(), chest_dicom(3)
    with platform.client(tenant) as client, ThreadPoolExecutor(8) as pool:
        receipts = list(pool.map(lambda _: post(client, image).json(), range(8)))
        assert len({receipt["job_id"] for receipt in receipts}) == 1
        assert finished(client, receipts[0]["links"]["self"])["state"] == "succeeded"


def test_a_file_that_could_not_be_analysed_is_tried_again(client: httpx.Client) -> None:
    lateral = chest_dicom(1, ViewPosition="LL")
    jobs = [finished(client, post(client, lateral).headers["location"]) for _ in range(2)]
    assert [job["state"] for job in jobs] == ["failed"] * 2
    assert jobs[0]["id"] != jobs[1]["id"]


def test_other_pixels_under_a_known_uid_are_a_conflict_and_other_encodings_are_not(
    client: httpx.Client,
) -> None:
    image, changed = (chest_dicom(seed, 64, SOPInstanceUID="1.2.3.4") for seed in (1, 2))
    one, other = (finished(client, post(client, data).headers["location"]) for data in (image, changed))
    assert one["state"] == "succeeded"
    assert (other["state"], other["error"]["code"]) == ("failed", Code.INSTANCE_CONFLICT)
    again = finished(client, post(client, without_loss(image)).headers["location"])
    assert again["state"] == "succeeded"
    both = finished(client, post(client, image, changed).headers["location"])
    assert [i["error"] and i["error"]["code"] for i in both["images"]] == [None, Code.INSTANCE_CONFLICT]


def test_twenty_images_are_one_study(client: httpx.Client) -> None:
    answer = post(client, *(chest_png(i, 64) for i in range(20)))
    assert answer.status_code == 202, answer.text
    job = finished(client, answer.headers["location"])
    assert job["state"] == "succeeded"
    assert job["progress"] == {"done": 81, "total": 81}  # 20 × (prepare + 3 backbones) + aggregate


def test_fifty_posts_at_once_with_one_key_are_one_job(platform: Platform) -> None:
    tenant = uuid4()
    before = stored(platform)

    async def accepted(many: httpx.AsyncClient) -> httpx.Response:
        """They wait for one lock with all connections of the pool: a starved gateway asks some to come again later."""
        files = [("files", ("a.png", chest_png(7), "image/png"))]
        while (answer := await many.post("/v1/jobs", files=files)).status_code == 503:
            await asyncio.sleep(int(answer.headers["retry-after"]))
        return answer

    async def burst() -> list[httpx.Response]:
        headers = {"Authorization": f"Bearer {platform.issuer.token(tenant)}", "Idempotency-Key": "one"}
        limits = httpx.Limits(max_connections=50)
        async with httpx.AsyncClient(base_url=platform.base, headers=headers, limits=limits) as many:
            return await asyncio.gather(*(accepted(many) for _ in range(50)))

    answers = asyncio.run(burst())
    assert {answer.status_code for answer in answers} == {202}, [
        a.text for a in answers if a.status_code != 202
    ][:2]
    assert len({answer.content for answer in answers}) == 1
    assert len({answer.headers["location"] for answer in answers}) == 1
    assert platform.sql("select count(*) from jobs where tenant_id = %s", tenant) == [(1,)]
    new = {path.name for path in stored(platform) - before if path.parent.name == "instances"}
    assert new == set(answers[0].json()["instance_ids"]), "blobs of the repetitions were left behind"


def test_a_replay_answers_alike_also_after_the_job_has_ended(client: httpx.Client) -> None:
    first = post(client, chest_png(3), data={"title": "a"}, **key("again"))
    assert finished(client, first.headers["location"])["state"] == "succeeded"
    second = post(client, chest_png(3), data={"title": "a"}, **key("again"))
    assert (second.status_code, second.content) == (202, first.content)
    assert second.headers["location"] == first.headers["location"]


@pytest.mark.parametrize(
    ("image", "name", "title"), [(4, "image.png", "a"), (3, "other.png", "a"), (3, "image.png", "b")]
)
def test_a_used_key_with_another_body_is_refused(
    client: httpx.Client, image: int, name: str, title: str
) -> None:
    assert post(client, chest_png(3), data={"title": "a"}, **key("k")).status_code == 202
    answer = post(client, chest_png(image), name=name, data={"title": title}, **key("k"))
    problem(answer, Code.IDEMPOTENCY_MISMATCH)


def test_a_key_belongs_to_its_tenant(platform: Platform) -> None:
    with platform.client() as one, platform.client() as other:
        first, second = (post(who, chest_png(3), **key("same")).json() for who in (one, other))
    assert first["job_id"] != second["job_id"]


def test_after_an_erasure_the_key_is_free_again(client: httpx.Client) -> None:
    first = post(client, chest_png(3), **key("k"))
    finished(client, first.headers["location"])
    assert client.delete(first.headers["location"]).status_code == 204
    assert post(client, chest_png(4), **key("k")).status_code == 202


@pytest.mark.parametrize("bad", ["", "x" * 201])
def test_an_empty_or_too_long_key_is_refused(client: httpx.Client, bad: str) -> None:
    problem(post(client, chest_png(), **key(bad)), Code.VALIDATION)


def test_past_its_quota_of_open_jobs_a_tenant_is_refused(
    strict: Platform, platform: Platform, standstill: None
) -> None:
    before = stored(platform)
    with strict.client() as client, strict.client() as other:
        posted = [post(client, chest_png(i, 64), **key(f"{i}")) for i in range(3)]
        assert [answer.status_code for answer in posted] == [202, 202, 429]
        again = post(client, chest_png(1, 64), **key("1"))
        assert (again.status_code, again.content) == (202, posted[1].content), "a repetition takes no room"
        problem(posted[2], Code.QUOTA_EXCEEDED)
        assert int(posted[2].headers["retry-after"]) > 0
        assert len([path for path in stored(platform) - before if path.name == "original"]) == 2
        assert len([path for path in stored(platform) - before if path.is_dir()]) == 2
        assert post(other, chest_png(4, 64)).status_code == 202, "another tenant has a quota of its own"
        client.delete(posted[0].headers["location"])
        assert post(client, chest_png(5, 64)).status_code == 202, "a cancelled job is not open"
        again = f"{posted[0].headers['location']}/retry"
        problem(client.post(again), Code.QUOTA_EXCEEDED)  # a retry is as much work


def test_the_quota_holds_for_posts_at_once(strict: Platform, standstill: None) -> None:
    async def burst() -> list[int]:
        headers = {"Authorization": f"Bearer {strict.issuer.token(uuid4())}"}
        async with httpx.AsyncClient(base_url=strict.base, headers=headers) as many:
            files = [("files", ("a.png", chest_png(7, 64), "image/png"))]
            answers = await asyncio.gather(*(many.post("/v1/jobs", files=files) for _ in range(20)))
        return sorted(answer.status_code for answer in answers)

    assert asyncio.run(burst()) == [202] * 2 + [429] * 18


def test_past_the_high_water_mark_nothing_is_accepted(closed: Platform, platform: Platform) -> None:
    before = stored(platform)
    with closed.client() as client:
        answer = post(client, chest_png())
    problem(answer, Code.OVERLOADED)
    assert int(answer.headers["retry-after"]) > 0
    assert stored(platform) <= before


def test_a_gateway_killed_right_after_its_202_has_lost_nothing(platform: Platform) -> None:
    tenant = uuid4()
    with platform.beside("mortal") as gateway, gateway.client(tenant) as client:
        jobs = [post(client, chest_png(i)).headers["location"] for i in range(5)]
        gateway.kill("mortal")
    with platform.client(tenant) as client:
        assert {finished(client, job)["state"] for job in jobs} == {"succeeded"}
