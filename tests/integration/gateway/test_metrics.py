"""Metrics of real processes: at ports of their own, with the ledger's numbers, as a real Prometheus sees them."""

import json
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from local_stack.server import free_port
from tests.factories.images import chest_dicom, chest_png
from tests.factories.platform import Platform, finished, post

ROOT = Path(__file__).parents[3]
WAITING = "select kind, priority, count(*) from steps where state = 'waiting' group by kind, priority"


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


def test_every_process_says_what_it_did(platform: Platform, client: httpx.Client) -> None:
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
        text = platform.scrape(process)
        assert "thorax_build_info" in text
        for name in names:
            assert sum(samples(text, name).values()) > 0 or name == "thorax_ledger_steps", (process, name)
    alone = finished(client, post(client, chest_png(9)).headers["location"])  # done at once, by a worker
    assert (alone["state"], _results(platform)) == ("succeeded", before + 2)
    worker = platform.scrape("worker-0")
    backbones = {backbone for backbone, _ in samples(worker, "thorax_predict_seconds_count")}
    assert backbones == {spec.name for spec in platform.bundle.manifest.backbones}
    assert samples(platform.scrape("gateway"), "thorax_upload_bytes_total")[()] >= len(image)


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
    _until(lambda: samples(platform.scrape("gateway"), "thorax_held_polls") == {(): 1})
    client.delete(job)
    request.join(30)
    _until(lambda: samples(platform.scrape("gateway"), "thorax_held_polls") == {(): 0})


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
    deliveries = dict(platform.sql("select state, count(*) from deliveries group by state"))
    told = samples(text, "thorax_ledger_deliveries")
    assert told == {(state,): deliveries.get(state, 0) for state in ("waiting", "sending", "dead")}


@pytest.fixture
def prometheus(tmp_path: Path) -> Iterator[Callable[[list[dict[str, Any]]], httpx.Client]]:
    """`prometheus(targets)`: a real one that scrapes them each second."""
    program = shutil.which("prometheus")
    if program is None:
        pytest.skip("prometheus is not installed")
    started = []

    def start(targets: list[dict[str, Any]]) -> httpx.Client:
        config = yaml.safe_load((ROOT / "ops/prometheus-local.yml").read_text())
        config["global"] = {"scrape_interval": "1s"}
        (scraped,) = config["scrape_configs"]
        scraped["file_sd_configs"][0]["files"] = [str(tmp_path / "targets.json")]
        (tmp_path / "targets.json").write_text(json.dumps(targets))
        (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(config))
        port = free_port()
        options = [
            f"--config.file={tmp_path / 'prometheus.yml'}",
            f"--storage.tsdb.path={tmp_path / 'tsdb'}",
            f"--web.listen-address=127.0.0.1:{port}",
            "--log.level=error",
        ]
        started.append(subprocess.Popen([program, *options], stdout=subprocess.DEVNULL))
        return httpx.Client(base_url=f"http://127.0.0.1:{port}/api/v1", timeout=10)

    yield start
    for process in started:
        process.terminate()
        process.wait(30)


@pytest.mark.slow
def test_prometheus_shows_what_sql_says_within_a_scrape_however_many_gateways(
    platform: Platform,
    client: httpx.Client,
    standstill: None,
    prometheus: Callable[[list[dict[str, Any]]], httpx.Client],
) -> None:
    with platform.beside("gateway-2") as second:
        ports = platform.metrics | second.metrics
        del ports["worker-0"]  # it is stopped
        asked = prometheus(
            [
                {"targets": [f"127.0.0.1:{port}"], "labels": {"job": name.rstrip("-0123456789")}}
                for name, port in ports.items()
            ]
        )

        def value(query: str) -> float:
            """What it says; -1 for nothing."""
            found = asked.get("/query", params={"query": query}).raise_for_status().json()["data"]["result"]
            return float(found[0]["value"][1]) if found else -1

        def up() -> bool:
            try:
                return value("sum(up)") == len(ports)
            except httpx.HTTPError:
                return False

        _until(up)
        with httpx.Client(base_url=second.base, headers=client.headers, timeout=70) as other:
            jobs = [post((client, other)[n % 2], chest_png(n, 64)).headers["location"] for n in range(40)]
        committed = time.time()
        ((kind, priority, count),) = platform.sql(WAITING)
        assert (kind, priority, count) == ("prepare", 1, 40)
        _until(lambda: value("max(timestamp(thorax_ledger_up))") > committed)
        assert value('sum(thorax_ledger_steps{state="waiting"})') == 40
        assert value('thorax_ledger_jobs{state="queued", priority="routine"}') == 40
        assert value("sum(thorax_jobs_accepted_total)") >= 40
        for job in jobs:
            client.delete(job)


def _until(true: Callable[[], bool], timeout_s: float = 60) -> None:
    deadline = time.monotonic() + timeout_s
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)
