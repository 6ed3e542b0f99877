"""Waiting for a job: the held answer and the event stream, both driven by the database's NOTIFY."""

import asyncio
import json
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID, uuid4

import httpx
import psycopg
import pytest

from gateway.jobs.notifications import Change, JobNotifications
from tests.factories.images import chest_png
from tests.factories.patience import PATIENCE_S, until
from tests.factories.platform import Platform, finished, post
from tests.integration.gateway.problem import problem
from thorax.errors import Code
from thorax.states import JOBS_CHANNEL, JobState

Idle = Callable[..., httpx.Response]
Done = tuple[httpx.Client, dict[str, Any]]
MOST_S = 60  # that a client may ask to wait for: who does not answer before has not noticed what it waits for


def held_polls(platform: Platform, gateway: str = "gateway") -> float:
    """How many requests wait for a job at this moment."""
    (line,) = [x for x in platform.scrape(gateway).splitlines() if x.startswith("thorax_held_polls ")]
    return float(line.split()[1])


def later(seconds: float, what: Callable[[], object]) -> threading.Timer:
    timer = threading.Timer(seconds, what)
    timer.start()
    return timer


@pytest.mark.parametrize(
    "how", [{"params": {"wait": "60"}}, {"headers": {"Prefer": "respond-async, wait=60"}}]
)
def test_a_held_answer_comes_with_the_end_of_the_job_not_of_the_time(
    idle: Idle, client: httpx.Client, platform: Platform, how: dict[str, Any]
) -> None:
    job = idle().headers["location"]
    later(0.5, platform.resume)
    began = time.monotonic()
    view = client.get(job, **how).json()
    assert view["state"] == "succeeded"
    assert time.monotonic() - began < MOST_S


def test_without_an_end_the_answer_comes_when_the_time_is_up(idle: Idle, client: httpx.Client) -> None:
    job, began = idle().headers["location"], time.monotonic()
    view = client.get(job, params={"wait": "1"}).json()
    assert (view["state"], 1 <= time.monotonic() - began < MOST_S) == ("queued", True)


def test_with_an_entity_tag_any_change_ends_the_wait(
    idle: Idle, client: httpx.Client, platform: Platform
) -> None:
    job = idle().headers["location"]
    tag, began = client.get(job).headers["etag"], time.monotonic()
    same = client.get(job, params={"wait": "0.3"}, headers={"If-None-Match": tag})
    assert (same.status_code, time.monotonic() - began >= 0.3) == (304, True)
    with platform.client() as stranger:
        problem(stranger.get(job, params={"wait": "30"}, headers={"If-None-Match": tag}), Code.NOT_FOUND)
    later(0.3, lambda: client.delete(job))
    began = time.monotonic()
    changed = client.get(job, params={"wait": "60"}, headers={"If-None-Match": tag})
    assert (changed.status_code, changed.json()["state"]) == (200, "cancelled")
    assert time.monotonic() - began < MOST_S


def test_what_is_heard_of_an_open_job_is_kept_for_its_tenant_until_it_ends(database_url: str) -> None:
    tenant, job = uuid4(), uuid4()

    async def scenario() -> None:
        notifications = JobNotifications(database_url)
        listening = asyncio.create_task(notifications.run())
        tells = await psycopg.AsyncConnection.connect(database_url.replace("+psycopg", ""), autocommit=True)

        async def told(version: int, state: str) -> None:
            """Repeated, as nobody may listen yet."""
            async with notifications.watch(job) as watch:
                changes: dict[UUID, Change | None] | None = None
                while not changes or changes.get(job) != (version, state):
                    payload = f"{tenant} {job} {version} {state}"
                    await tells.execute("select pg_notify(%s, %s)", [JOBS_CHANNEL, payload])
                    changes = await watch.next(1)

        await told(0, "queued")
        assert notifications.heard(tenant, job) == (0, JobState.QUEUED)
        assert notifications.heard(uuid4(), job) is None
        await told(1, "running")
        assert notifications.heard(tenant, job) == (1, JobState.RUNNING)
        await told(2, "succeeded")
        assert notifications.heard(tenant, job) is None
        await told(3, "queued")
        await tells.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity where query like 'listen %' "
            "and datname = current_database()"
        )
        async with asyncio.timeout(PATIENCE_S):
            while notifications.heard(tenant, job):
                await asyncio.sleep(0.01)
        listening.cancel()
        await tells.close()

    asyncio.run(scenario())


def test_a_job_that_has_ended_is_not_waited_for(done: Done) -> None:
    client, job = done
    began = time.monotonic()
    assert client.get(job["links"]["self"], params={"wait": "60"}).status_code == 200
    assert time.monotonic() - began < MOST_S


@pytest.mark.parametrize("wait", ["-1", "61", "nan", "inf", "1e400", "soon"])
def test_an_impossible_wait_is_refused(done: Done, wait: str) -> None:
    client, job = done
    problem(client.get(job["links"]["self"], params={"wait": wait}), Code.VALIDATION)


@pytest.mark.parametrize(
    "prefer", ["wait=-1", "wait=99999", "wait=", "wait=x, return=minimal", "\u00b2", "wait=\u00b2"]
)
def test_an_impossible_preference_is_ignored(done: Done, prefer: str) -> None:
    client, job = done
    assert client.get(job["links"]["self"], headers={"Prefer": prefer.encode()}).status_code == 200


def test_waiting_clients_do_not_hold_a_database_connection(
    idle: Idle, client: httpx.Client, platform: Platform
) -> None:
    """The engine's pool has 20 connections; 60 waiting clients need none of them."""
    job = idle().headers["location"]
    answers: list[str] = []

    def wait() -> None:
        with httpx.Client(base_url=platform.base, headers=client.headers) as waiter:
            answers.append(waiter.get(job, params={"wait": "60"}).json()["state"])

    crowd = [threading.Thread(target=wait) for _ in range(60)]
    for one in crowd:
        one.start()
    until(lambda: held_polls(platform) >= 60, "they do not all wait")
    assert (client.get(job).json()["state"], answers) == ("queued", []), "not only once some have left"
    client.delete(job)
    for one in crowd:
        one.join()
    assert answers == ["cancelled"] * 60


def events(client: httpx.Client, job: str, **headers: str) -> Iterator[dict[str, Any]]:
    """The job's events as dicts with `event`, `id` and the parsed `data`."""
    with client.stream("GET", f"{job}/events", headers=headers) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream"), answer.read()
        event: dict[str, Any] = {}
        for line in answer.iter_lines():
            if line:
                name, _, value = line.partition(": ")
                event[name] = json.loads(value) if name == "data" else value
            elif "data" in event:
                yield event
                event = {}


def test_the_stream_reports_each_change_and_ends_with_the_job(
    client: httpx.Client, platform: Platform
) -> None:
    job = post(client, chest_png(1)).headers["location"]
    told = list(events(client, job))
    versions = [int(event["id"]) for event in told]
    assert versions == sorted(set(versions))
    assert told[-1]["data"]["state"] == "succeeded"
    assert told[-1]["data"]["progress"] == {"done": 5, "total": 5}
    assert all(event["event"] == "job" for event in told)


def test_a_stream_resumes_after_its_last_event(idle: Idle, client: httpx.Client, platform: Platform) -> None:
    job = idle().headers["location"]
    first = next(events(client, job))
    assert first["data"]["state"] == "queued"
    later(0.5, platform.resume)
    resumed = list(events(client, job, **{"Last-Event-ID": first["id"]}))
    assert first["id"] not in [event["id"] for event in resumed]
    assert resumed[-1]["data"]["state"] == "succeeded"
    ended = client.get(f"{job}/events", headers={"Last-Event-ID": resumed[-1]["id"]})
    assert (ended.status_code, ended.content) == (204, b""), "EventSource would reconnect for ever"


def test_the_stream_of_an_erased_job_says_so(idle: Idle, client: httpx.Client) -> None:
    job = idle().headers["location"]
    told = []
    for event in events(client, job):
        told.append(event["event"] if event["event"] == "erased" else event["data"]["state"])
        if told == ["queued"]:
            client.delete(job)
    assert told == ["queued", "cancelled"]
    problem(client.get(f"{job.replace(job[-8:], '00000000')}/events"), Code.NOT_FOUND)


@pytest.mark.slow
def test_a_waiting_client_survives_the_loss_of_the_listening_connection(
    idle: Idle, client: httpx.Client, platform: Platform
) -> None:
    job = idle().headers["location"]

    def cut() -> None:
        platform.sql("select pg_terminate_backend(pid) from pg_stat_activity where query ^@ 'listen '")
        client.delete(job)

    later(0.3, cut)
    began = time.monotonic()
    assert client.get(job, params={"wait": "60"}).json()["state"] == "cancelled"
    assert time.monotonic() - began < MOST_S
    job = idle(1).headers["location"]
    later(2, lambda: client.delete(job))
    began = time.monotonic()
    assert client.get(job, params={"wait": "60"}).json()["state"] == "cancelled"
    assert time.monotonic() - began < MOST_S, "it does not listen again"


def test_a_stopping_gateway_answers_waiting_clients(
    idle: Idle, client: httpx.Client, platform: Platform
) -> None:
    job = idle().headers["location"]
    with platform.beside("leaving", ready=False) as leaving, ThreadPoolExecutor() as pool:

        def ask(path: str) -> httpx.Response:
            return httpx.get(leaving.base + path, headers=client.headers)

        asked = pool.submit(ask, f"{job}?wait=60")
        until(lambda: held_polls(leaving, "leaving") == 1, "it does not wait")
        with httpx.stream("GET", f"{leaving.base}{job}/events", headers=client.headers) as stream:
            lines = stream.iter_lines()
            first = next(lines)
            leaving.processes["leaving"].send_signal(signal.SIGTERM)
            told = [first, *lines]
        assert (asked.result().status_code, asked.result().json()["state"]) == (200, "queued")
        assert (stream.status_code, told.count("event: job")) == (200, 1)


def test_finished_is_a_fact_for_everybody_at_once(client: httpx.Client) -> None:
    job = finished(client, post(client, chest_png(2)).headers["location"])
    assert client.get("/v1/jobs", params={"state": "succeeded"}).json()["items"][0]["id"] == job["id"]
