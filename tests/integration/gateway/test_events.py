"""One stream for all of a tenant's jobs: what it tells, that a gap loses nothing, and who may listen."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.factories.images import chest_png
from tests.factories.platform import Platform, finished, post
from tests.integration.gateway.problem import problem
from thorax.errors import Code

Idle = Callable[..., httpx.Response]
Event = dict[str, Any]


@contextmanager
def stream(client: httpx.Client, since: str = "", params: Any = None) -> Iterator[Iterator[Event]]:
    """The tenant's events as dicts with `event`, `id` and the parsed `data`."""
    headers = {"Last-Event-ID": since} if since else {}
    with client.stream("GET", "/v1/events", headers=headers, params=params) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream"), answer.read()
        yield parsed(answer.iter_lines())


def parsed(lines: Iterator[str]) -> Iterator[Event]:
    event: Event = {}
    for line in lines:
        if line and not line.startswith(":"):
            name, _, value = line.partition(": ")
            event[name] = json.loads(value) if name == "data" else value
        elif "data" in event:
            yield event
            event = {}


def until(told: Iterator[Event], enough: Callable[[Event], bool]) -> list[Event]:
    found = []
    for event in told:
        found.append(event)
        if enough(event):
            break
    return found


def opened(event: Event) -> bool:
    return bool(event["event"] == "open")


def states(events: list[Event]) -> dict[str, str]:
    """The last state told of each job."""
    return {e["data"]["id"]: e["data"]["state"] for e in events if e["event"] == "job"}


def test_one_stream_reports_all_jobs_of_its_tenant_and_only_those(
    idle: Idle, client: httpx.Client, platform: Platform
) -> None:
    first, second = (idle(seed).json()["job_id"] for seed in (1, 2))
    with platform.client() as stranger, stream(client) as told:
        assert post(stranger, chest_png(3, 64)).status_code == 202
        begin = until(told, opened)
        assert states(begin) == {first: "queued", second: "queued"}
        assert set(begin[-1]["data"]["jobs"]) == {first, second}
        third = idle(4).json()["job_id"]
        assert states(until(told, lambda e: e["data"]["id"] == third)) == {third: "queued"}
        client.delete(f"/v1/jobs/{third}")
        assert states(until(told, lambda e: e["data"]["state"] == "cancelled")) == {third: "cancelled"}
        client.delete(f"/v1/jobs/{third}")
        assert until(told, lambda e: e["event"] == "erased")[-1]["data"] == {"id": third}
        platform.resume()
        left, seen = {first, second}, []
        while left:
            seen.append(next(told)["data"])
            left -= {seen[-1]["id"]} if seen[-1]["state"] == "succeeded" else set()
        assert {data["id"] for data in seen} == {first, second}
        assert seen[-1]["progress"] == {"done": 5, "total": 5}
        assert len(seen[-1]["findings"]) == 5, "what has ended comes with its findings"
        row = client.get("/v1/jobs").json()["items"]
        assert seen[-1] in row, "an event is the row that the list has"


def test_after_a_gap_nothing_is_missed(idle: Idle, client: httpx.Client, platform: Platform) -> None:
    kept, ended, erased = (idle(seed).json()["job_id"] for seed in (1, 2, 3))
    with stream(client) as told:
        last = until(told, opened)[-1]["id"]
    for job in (ended, erased, erased):
        client.delete(f"/v1/jobs/{job}")
    for resumed in (stream(client, last), stream(client, params={"since": last})):
        with resumed as told:
            events = until(told, opened)
            assert states(events) == {kept: "queued", ended: "cancelled"}
            assert events[-1]["data"] == {"jobs": [kept]}, "the erased one is not open any more"
            assert [e["data"]["id"] for e in events if e["event"] == "erased"] == [erased]
    with stream(client) as told:
        assert states(until(told, opened)) == {kept: "queued"}, "without an id only what is open"


def test_the_loss_of_the_listening_connection_loses_no_change(
    idle: Idle, client: httpx.Client, platform: Platform
) -> None:
    job = idle(1).json()["job_id"]
    with stream(client) as told:
        until(told, opened)
        platform.sql("select pg_terminate_backend(pid) from pg_stat_activity where query ^@ 'listen '")
        client.delete(f"/v1/jobs/{job}")
        assert states(until(told, lambda e: e["data"].get("state") == "cancelled")) == {job: "cancelled"}


def test_an_unknown_event_id_resets_the_client(client: httpx.Client) -> None:
    for since in ("x", "9" * 20, str(int((time.time() - 90_000) * 1000))):  # the last is too long ago
        with stream(client, since) as told:
            assert [e["event"] for e in until(told, opened)] == ["reset", "open"]


@pytest.mark.parametrize("since", ["abc", "", "-1", "1.5", "9" * 14])
def test_a_moment_that_is_not_one_is_refused(client: httpx.Client, since: str) -> None:
    problem(client.get("/v1/events", params={"since": since}), Code.VALIDATION)


def test_a_burst_of_changes_resets_the_client(idle: Idle, client: httpx.Client, platform: Platform) -> None:
    job = idle(1).json()["job_id"]
    with stream(client) as told:
        until(told, opened)
        platform.sql(
            "with s as (insert into studies (id, tenant_id) select gen_random_uuid(), tenant_id from jobs, "
            "generate_series(1, 2500) where jobs.id = %s returning id) "
            "insert into jobs (id, tenant_id, study_id, owner, state, bundle_digest, steps_total, finished_at) "
            "select gen_random_uuid(), j.tenant_id, s.id, '', 'cancelled', bundle_digest, 1, now() from s, jobs j "
            "where j.id = %s returning 1", job, job,
        )  # fmt: skip
        last = idle(2).json()["job_id"]
        events = until(told, lambda e: e["event"] == "reset" or e["data"].get("id") == last)
        told_one_by_one = {event["data"].get("id") for event in events if event["event"] == "job"}
        # Where the notifications come in parts that are small enough, each change is told.
        assert events[-1]["event"] == "reset" or len(told_one_by_one) > 2500


def test_listening_needs_the_read_scope(platform: Platform) -> None:
    problem(httpx.get(f"{platform.base}/v1/events"), Code.UNAUTHENTICATED)
    with platform.client(scope="studies:write") as writer:
        problem(writer.get("/v1/events"), Code.FORBIDDEN)


def test_a_finished_job_is_reported_again_after_its_retry(client: httpx.Client) -> None:
    job = finished(client, post(client, chest_png(1)[:3000]).headers["location"])
    assert job["state"] == "failed"
    with stream(client) as told:
        until(told, opened)
        assert client.post(f"/v1/jobs/{job['id']}/retry").status_code == 202
        again = until(told, lambda e: e["data"].get("state") == "failed")
        assert again[-1]["data"]["error"]["code"] == Code.UNREADABLE_IMAGE


@pytest.mark.slow
def test_a_stream_ends_with_its_token(platform: Platform) -> None:
    token = platform.issuer.token(uuid4(), life_s=5)
    headers = {"Authorization": f"Bearer {token}"}
    with httpx.Client(base_url=platform.base, headers=headers) as client, stream(client) as told:
        assert [event["event"] for event in told] == ["open"], "it ends, and so does this loop"
