"""The open API: no account, only a link that cannot be guessed; after a day everything is erased."""

import time
from uuid import uuid4

import httpx
import pytest

from tests.factories.images import chest_png
from tests.factories.patience import until
from tests.factories.platform import Platform, finished
from tests.integration.gateway.problem import problem
from tests.integration.gateway.stored import stored
from thorax.errors import Code

OPEN = "/v1/anonymous/jobs"


def post(base: str, seed: int = 0, **keywords: object) -> httpx.Response:
    files = [("files", ("a.png", chest_png(seed, 64), "image/png"))]
    return httpx.post(f"{base}{OPEN}", files=files, **keywords)  # type: ignore[arg-type]


@pytest.fixture
def anybody(platform: Platform) -> httpx.Client:
    return httpx.Client(base_url=platform.base)


def test_without_an_account_a_study_is_analysed(platform: Platform, anybody: httpx.Client) -> None:
    receipt = post(platform.base, 1, data={"priority": "stat", "title": "open"})
    assert receipt.status_code == 202, receipt.text
    job = finished(anybody, receipt.headers["location"])
    assert (job["state"], job["priority"]) == ("succeeded", "routine"), "nobody without an account overtakes"
    assert job["expires_at"] > job["created_at"]
    for name, link in job["images"][0]["links"].items():
        assert link.startswith(receipt.headers["location"]), name
        assert anybody.get(link).status_code == 200, name


def test_only_the_link_opens_the_job(platform: Platform, anybody: httpx.Client) -> None:
    receipt = post(platform.base, 2)
    link, job_id = receipt.headers["location"], receipt.json()["job_id"]
    secret = link.rpartition("/")[2]
    assert len(secret) >= 43, "256 bits"
    instance = receipt.json()["instance_ids"][0]
    wrong = [
        job_id,
        str(uuid4()),
        secret[:-1],
        secret + "A",
        secret.swapcase(),
        "x" * 43,
        "x" * 5000,
        "%00",
        instance,
    ]
    for guess in wrong:
        for rest in ("", "/events", f"/images/{instance}/original"):
            problem(anybody.get(f"{OPEN}/{guess}{rest}"), Code.NOT_FOUND, Code.VALIDATION)
        problem(anybody.delete(f"{OPEN}/{guess}"), Code.NOT_FOUND, Code.VALIDATION)
    problem(anybody.get(f"/v1/jobs/{job_id}"), Code.UNAUTHENTICATED)
    problem(anybody.get(OPEN), Code.METHOD_NOT_ALLOWED)
    with platform.client() as somebody:
        problem(somebody.get(f"/v1/jobs/{job_id}"), Code.NOT_FOUND)
        assert somebody.get("/v1/jobs").json()["items"] == []
    finished(anybody, link)
    other = post(platform.base, 3).headers["location"]
    problem(anybody.get(f"{other}/images/{instance}/original"), Code.NOT_FOUND)


def test_a_link_is_stored_as_a_digest_only(platform: Platform) -> None:
    key = {"Idempotency-Key": uuid4().hex}
    secret = post(platform.base, 4, headers=key).headers["location"].rpartition("/")[2]
    for table in ("jobs", "studies", "instances", "steps", "idempotency_keys"):
        for word in (secret, key["Idempotency-Key"]):
            assert platform.sql(f"select 1 from {table} as t where t::text like %s", f"%{word}%") == [], table


def test_the_link_erases_too(platform: Platform, anybody: httpx.Client) -> None:
    link = post(platform.base, 5).headers["location"]
    finished(anybody, link)
    assert anybody.delete(link).status_code == 204
    problem(anybody.get(link), Code.NOT_FOUND)


def test_a_repetition_with_a_key_gets_the_same_link(platform: Platform) -> None:
    key = {"Idempotency-Key": uuid4().hex}
    first, second = (post(platform.base, 6, headers=key) for _ in range(2))
    assert (first.status_code, first.content) == (202, second.content)
    problem(post(platform.base, 7, headers=key), Code.IDEMPOTENCY_MISMATCH)


def test_past_its_rate_an_address_is_refused_despite_a_forged_header(strict: Platform) -> None:
    answers = [
        post(strict.base, 8, headers={"X-Forwarded-For": f"10.0.0.{i}", "Forwarded": f"for=10.0.0.{i}"})
        for i in range(5)
    ]
    assert [answer.status_code for answer in answers] == [202, 202, 202, 429, 429]
    assert [answer.headers["ratelimit-remaining"] for answer in answers[:3]] == ["2", "1", "0"]
    assert answers[0].headers["ratelimit-limit"] == "3"
    assert answers[0].headers["ratelimit"].startswith('"anonymous";r=2;t=')
    assert answers[0].headers["ratelimit-policy"] == '"anonymous";q=3;w=3600'
    problem(answers[3], Code.RATE_LIMITED)
    assert 3000 < int(answers[3].headers["retry-after"]) <= 3601


def test_the_open_api_says_when_it_is_off(closed: Platform) -> None:
    problem(post(closed.base), Code.FEATURE_OFF)


def test_a_job_of_the_open_api_is_deleted_after_a_day(platform: Platform, anybody: httpx.Client) -> None:
    before = stored(platform)
    receipt = post(platform.base, 9, headers={"Idempotency-Key": uuid4().hex})
    finished(anybody, receipt.headers["location"])
    job = receipt.json()["job_id"]
    ((hours,),) = platform.sql(
        "select extract(epoch from expires_at - created_at)::float / 3600 from jobs where id = %s", job
    )
    assert abs(hours - 24) < 0.01
    assert not stored(platform) <= before
    platform.sql("update jobs set expires_at = now() - interval '1 second' where id = %s", job)
    until(lambda: stored(platform) <= before, lambda: stored(platform) - before)
    problem(anybody.get(receipt.headers["location"]), Code.NOT_FOUND)
    study = receipt.json()["study_id"]
    for table in ("jobs", "studies", "instances", "steps", "predictions", "study_findings", "heatmaps"):
        column = {"jobs": "study_id", "studies": "id", "instances": "study_id"}.get(table, "job_id")
        value = study if column != "job_id" else job
        assert platform.sql(f"select count(*) from {table} where {column} = %s", value) == [(0,)], table
    assert platform.sql("select count(*) from idempotency_keys where job_id = %s", job) == [(0,)]


def test_a_job_deleted_before_it_expires_is_ignored(platform: Platform, anybody: httpx.Client) -> None:
    link = post(platform.base, 10).headers["location"]
    finished(anybody, link)
    time.sleep(2)  # two rounds of the sweeper
    assert anybody.get(link).status_code == 200
