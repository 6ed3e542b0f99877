"""Metrics of real processes: at ports of their own, with the ledger's numbers, as a real Prometheus sees them."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import product
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.factories.images import chest_dicom, chest_png
from tests.factories.patience import PATIENCE_S, until
from tests.factories.platform import Platform, finished, post
from tests.factories.prometheus import prometheus

KINDS = ("webhook", "dicomweb", "dicom")
WAITING = "select kind, priority, count(*) from steps where state = 'waiting' group by kind, priority"
QUEUED = 500
QUEUES = (
    'sum(thorax_ledger_steps{state="waiting"})',
    'thorax_ledger_jobs{state="queued", priority="routine"}',
)


def samples(text: str, name: str) -> dict[tuple[str, ...], float]:
    """A metric's values by the values of its labels, which are sorted by name."""
    return {
        tuple(sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == name
    }


def test_no_public_door_shows_metrics(platform: Platform) -> None:
    for path in ("/metrics", "/v1/metrics", "/auth/metrics", "/metrics/"):
        assert "thorax_" not in httpx.get(f"{platform.base}{path}").text


def test_every_process_says_what_it_did(platform: Platform, client: httpx.Client, rest: None) -> None:
    image = chest_png(7)
    before = _results(platform)
    job = post(client, image, chest_png(8)).headers["location"]
    assert finished(client, job)["state"] == "succeeded"
    broken = post(client, chest_dicom(1)[:3000])
    assert finished(client, broken.headers["location"])["state"] == "failed"
    expected = {
        "gateway": ["thorax_jobs_accepted_total", "thorax_upload_bytes_total", "thorax_http_requests_total"],
        "worker-0": [
            "thorax_step_queue_seconds_count",
            "thorax_step_seconds_count",
            "thorax_images_refused_total",
        ],
        "aggregator": ["thorax_job_seconds_count", "thorax_jobs_ended_total", "thorax_step_seconds_count"],
        "sweeper": ["thorax_ledger_up", "thorax_processes", "thorax_ledger_steps"],
    }
    for process, names in expected.items():
        assert "thorax_build_info" in platform.scrape(process)
        for name in names:
            until(partial(_counted, platform, process, name), (process, name))  # after the commit
    alone = finished(client, post(client, chest_png(9)).headers["location"])  # done at once, by a worker
    assert alone["state"] == "succeeded"
    until(lambda: _results(platform) >= before + 2, lambda: (_results(platform), before))
    worker = platform.scrape("worker-0")
    backbones = {backbone for backbone, _ in samples(worker, "thorax_predict_seconds_count")}
    assert backbones == {spec.name for spec in platform.bundle.manifest.backbones}
    assert samples(platform.scrape("gateway"), "thorax_upload_bytes_total")[()] >= len(image)


def _counted(platform: Platform, process: str, name: str) -> bool:
    return sum(samples(platform.scrape(process), name).values()) > 0 or name == "thorax_ledger_steps"


def _results(platform: Platform) -> float:
    """How many jobs have had a result so far."""
    texts = [platform.scrape(name) for name in platform.processes]
    return sum(sum(samples(text, "thorax_job_seconds_count").values()) for text in texts)


def test_a_held_poll_is_counted_while_it_waits(
    platform: Platform, client: httpx.Client, idle: Callable[..., httpx.Response]
) -> None:
    job = idle().headers["location"]
    request = threading.Thread(target=client.get, args=(f"{job}?wait=60",))
    request.start()
    until(lambda: samples(platform.scrape("gateway"), "thorax_held_polls") == {(): 1})
    client.delete(job)
    request.join()
    until(lambda: samples(platform.scrape("gateway"), "thorax_held_polls") == {(): 0})


def test_the_sweeper_reads_the_ledger_at_each_scrape(
    platform: Platform, idle: Callable[..., httpx.Response]
) -> None:
    for seed in range(3):
        idle(seed, priority="stat")
    idle(9)
    text = platform.scrape("sweeper")
    steps = samples(text, "thorax_ledger_steps")
    assert steps["prepare", "stat", "waiting"] == 3
    assert steps["prepare", "routine", "waiting"] == 1
    assert samples(text, "thorax_ledger_jobs")["stat", "queued"] == 3
    oldest = samples(text, "thorax_ledger_oldest_steps_seconds")
    assert 0 < oldest["prepare", "stat", "waiting"] < 60
    assert oldest["infer", "stat", "running"] == 0
    assert len(steps) == 2 * 3 * 4
    counted = "select kind, state, count(*) from deliveries join destinations x on x.id = destination_id group by kind, state"

    def both() -> tuple[object, object]:
        """What is told, and what is: other tests' deliveries may just have moved."""
        told = samples(platform.scrape("sweeper"), "thorax_ledger_deliveries")
        there = {(kind, state): size for kind, state, size in platform.sql(counted)}
        return told, {key: there.get(key, 0) for key in product(KINDS, ("waiting", "sending", "dead"))}

    until(lambda: (pair := both())[0] == pair[1], both)
    until(lambda: samples(platform.scrape("sweeper"), "thorax_ledger_derivations") == {(): 0})  # other tests'
    backbones = {(spec.name,) for spec in platform.bundle.manifest.backbones}
    assert samples(text, "thorax_backbone_workers").keys() == backbones
    assert samples(text, "thorax_broker_up") == {(): 1}
    assert samples(text, "thorax_beat_seconds")["sweeper",] > 0


@pytest.mark.slow
def test_prometheus_shows_what_sql_says_within_a_scrape_however_many_gateways(
    platform: Platform, client: httpx.Client, standstill: None, tmp_path: Path
) -> None:
    with platform.beside("gateway-2", ready=False) as second:  # not as long as no worker lives
        ports = platform.metrics | second.metrics
        del ports["worker-0"]  # it is stopped
        with prometheus(tmp_path, ports) as asked, ThreadPoolExecutor(4) as threads:
            until(lambda: _value(asked, "sum(up)") == len(ports))
            image = chest_png(1, 64)
            with httpx.Client(base_url=second.base, headers=client.headers, timeout=PATIENCE_S) as other:
                answers = [*threads.map(lambda n: post((client, other)[n % 2], image), range(QUEUED))]
            assert {answer.status_code for answer in answers} == {202}
            committed = time.time()
            assert platform.sql(WAITING) == [("prepare", 1, QUEUED)]
            until(lambda: _value(asked, "min(timestamp(up))") > committed)
            told = {query: until(lambda query=query: _value(asked, query)) for query in QUEUES}
            assert told == dict.fromkeys(QUEUES, QUEUED)
            until(lambda: _value(asked, "sum(thorax_jobs_accepted_total)") >= QUEUED)
            [*threads.map(lambda answer: client.delete(answer.headers["location"]), answers)]


def _value(asked: httpx.Client, query: str) -> float:
    """What Prometheus says; 0 for nothing, or as long as it does not answer."""
    try:
        found = asked.get("/query", params={"query": query}).raise_for_status().json()["data"]["result"]
    except httpx.HTTPError:
        return 0
    return float(found[0]["value"][1]) if found else 0
