"""Faults staged for real: each makes its alert fire by the shipped rules, and is on the panel and in the runbook that the alert names.

Prometheus is real, its rules are `ops/alerts.yml` sixty times as fast (see `HURRY`), and Alertmanager calls. What grows by itself (age, drift, what was
refused) is staged for all before the first test.
"""

import itertools
import json
import math
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from threading import Event
from typing import Any

import httpx
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families
from pynetdicom import AE

from local_stack.roles import create_database
from local_stack.server import free_port
from tests.factories.bundles import finding_points, make_bundle
from tests.factories.certificates import Authority
from tests.factories.https import Receiver, receiver
from tests.factories.images import chest_dicom, chest_png
from tests.factories.patience import PATIENCE_S, succeeds, until
from tests.factories.platform import Platform, destine, finished, post
from tests.factories.prometheus import OPS, aim, alertmanager, hurried, prometheus
from tests.factories.stores import Postgres, Valkey, login
from thorax.findings import FINDINGS
from thorax.operating_points import MapScale
from thorax.schema import migrate

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
RUNBOOK = OPS.parent / "docs/operations.md"
PANELS = {
    panel["title"]: panel for panel in json.loads((OPS / "grafana-dashboard.json").read_text())["panels"]
}
PANEL_OF = {
    rule["alert"]: rule["annotations"]["panel"]
    for group in yaml.safe_load((OPS / "alerts.yml").read_text())["groups"]
    for rule in group["rules"]
    if "alert" in rule
}
WORKERS = ("worker-0", "worker-1")
LOOKED_AT, REFUSED, SLOW = 10, 8, 30  # jobs, of ten images, of ten files, of one
NARROW = "worker-narrow"
DISK_BYTES = 64_000_000
PASSWORD = "correct horse battery"
DISAGREE = """select f.finding, avg(f.disagreement)::float from study_findings f join jobs j on j.id = f.job_id
where j.tenant_id = %s and j.state = 'succeeded' and f.instance_id is not null group by f.finding"""
REFUSED_SHARES = (
    "select error_code, count(*)::float / sum(count(*)) over () from instances group by error_code"
)


class Scene:
    """A platform, its stores, and a Prometheus that watches."""

    def __init__(self, folder: Path, platform: Platform, postgres: Postgres, valkey: Valkey) -> None:
        self.folder, self.platform, self.postgres, self.valkey = folder, platform, postgres, valkey
        self.tenant = platform.tenant()
        self.client = platform.client(self.tenant)
        self.asked: httpx.Client
        self.pager: Receiver
        self.began = self.since = time.time()

    def fires(self, alert: str, **labels: str) -> None:
        """Wait until an alert has fired in this test; the panel that it names shows something, and the runbook has an entry."""
        wanted = {"alertname": alert, "alertstate": "firing", **labels}
        fired = "ALERTS{" + ",".join(f'{name}="{value}"' for name, value in wanted.items()) + "}"
        until(lambda: self.shown(fired, self.since))
        targets = [hurried(target["expr"]) for target in PANELS[PANEL_OF[alert]]["targets"]]
        until(lambda: any(self.shown(query, self.began) for query in targets))
        assert f"\n## {alert}\n" in RUNBOOK.read_text()

    def clears(self, alert: str) -> None:
        """Wait until an alert does not fire any more."""
        until(lambda: alert not in self._firing())

    def paged(self, alert: str) -> tuple[str, str]:
        """State and sentence of the next message of Alertmanager's about an alert."""
        while True:
            for told in json.loads(self.pager.posted.get(timeout=PATIENCE_S).body)["alerts"]:
                if told["labels"]["alertname"] == alert:
                    return told["status"], told["annotations"]["summary"]

    def start(self, *names: str) -> None:
        """Start processes, and let Prometheus know of them."""
        for name in names:
            self.platform.start(name)
        aim(self.folder, self.platform.metrics)

    def end(self, *names: str) -> None:
        """End processes, of which Prometheus still knows."""
        for name in names:
            self.platform.processes[name].send_signal(signal.SIGCONT)
            self.platform.processes[name].terminate()
        for name in names:
            self.platform.processes.pop(name).wait(PATIENCE_S)

    def send(self, *names: str, number: signal.Signals) -> None:
        """Send processes a signal."""
        for name in names:
            self.platform.processes[name].send_signal(number)

    def job(self, *seeds: int) -> str:
        """Where a new job is, of an image for each seed."""
        answer = post(self.client, *(chest_png(seed, 64) for seed in seeds))
        assert answer.status_code == 202, answer.text
        return answer.headers["location"]

    def _firing(self) -> set[str]:
        found = until(lambda: self.ask("alerts"))["alerts"]
        return {each["labels"]["alertname"] for each in found if each["state"] == "firing"}

    def shown(self, query: str, since: float) -> bool:
        """Whether a query has had a value since then."""
        span = {"start": str(since), "end": str(time.time()), "step": "1"}
        found = self.ask("query_range", query=query, **span).get("result", [])
        return any(not math.isnan(float(value)) for each in found for _, value in each["values"])

    def ask(self, path: str, **query: str) -> dict[str, Any]:
        """What Prometheus answers; nothing as long as it does not answer, or for a query that is wrong."""
        try:
            return dict(self.asked.get(path, params=query).raise_for_status().json()["data"])
        except httpx.HTTPError:  # it is not up yet
            return {}


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A small disk, where this user may mount one; else a folder."""
    folder = tmp_path_factory.mktemp("disk")
    words = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(folder)]
    mounted = os.geteuid() == 0 and subprocess.run(words, check=False).returncode == 0
    yield folder
    if mounted:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory, disk: Path) -> Iterator[Scene]:
    """A platform that analysed other images than its bundle's card expects, refused many, and has an old key and old certificates."""
    folder = tmp_path_factory.mktemp("faults")
    authority = Authority(folder, "authority")  # for a day
    (folder / "tls").mkdir()
    shutil.copy(authority.certificate, folder / "tls" / "pacs.ca.pem")
    with ExitStack() as running:
        postgres = running.enter_context(Postgres(folder / "postgres", fast=True))
        valkey = running.enter_context(Valkey(folder / "valkey", persistent=False))
        pager = running.enter_context(receiver(authority.issue("pager")))
        platform = running.enter_context(_platform(folder, disk, postgres, valkey, pager.url))
        scene = Scene(folder, platform, postgres, valkey)
        _age(platform)
        jobs = [scene.job(*range(10 * n, 10 * n + 10)) for n in range(LOOKED_AT)]
        cut = [chest_dicom(n, 64)[:2000] for n in range(10 * REFUSED)]
        broken = [post(scene.client, *cut[10 * n : 10 * n + 10]).headers["location"] for n in range(REFUSED)]
        assert {finished(scene.client, job)["state"] for job in jobs} == {"succeeded"}
        assert {finished(scene.client, job)["state"] for job in broken} == {"failed"}
        scene.pager = pager
        port = running.enter_context(alertmanager(folder, scene.pager.url, authority.certificate))
        scene.asked = running.enter_context(prometheus(folder, platform.metrics, alertmanager=port))
        until(lambda: scene.ask("query", query="up").get("result"))
        yield scene


def _platform(folder: Path, disk: Path, postgres: Postgres, valkey: Valkey, door: str) -> Platform:
    points = [finding_points(0.04, 0.2, prevalence=0.1)] * 5
    scale = MapScale(unit="logit", full=(1, 1, 1, 1, 1), cuts=(0.5, 0.5, 0.5, 0.5, 0.5))
    bundle = make_bundle(folder / "models" / "tiny", 2, format=2, operating_points=points, maps=scale)
    owner = create_database(postgres, "thorax")
    migrate(owner)
    secret = folder / "secret"
    secret.write_text("of destinations' credentials and signing keys")
    settings = {
        "THORAX_BLOBS": str(disk / "blobs"),
        "THORAX_MAX_ATTEMPTS": "2",
        "THORAX_HINT_AGAIN_S": "1",
        "THORAX_DELIVERY_SECRET_FILE": str(secret),
        "THORAX_DICOM_TLS_FOLDER": str(folder / "tls"),
        "THORAX_AUTH_SECRET_FILE": str(secret),
        "THORAX_PUBLIC_URL": door,
        "THORAX_AUTH_PORT": str(free_port()),
    }
    return Platform(
        folder, bundle, lambda role: login(postgres, "thorax", role), owner, valkey.url,
        settings=settings, own_settings={NARROW: {"THORAX_BACKBONES": "tiny_0"}},
    )  # fmt: skip


def _age(platform: Platform) -> None:
    """An auth-service whose key is as old as if nobody had rotated it for 200 days."""
    platform.start("auth")
    aged = "update auth.signing_keys set active_from = active_from - interval '200 days' returning kid"
    until(lambda: platform.sql(aged))
    platform.kill("auth")
    platform.start("auth")


@pytest.fixture(autouse=True)
def _since(scene: Scene) -> None:
    scene.since = time.time()


def test_the_sweeper_is_dead(scene: Scene) -> None:
    scene.platform.kill("sweeper")
    scene.fires("SweeperMissing")
    told = "No sweeper answers Prometheus: what waits is not known."
    assert scene.paged("SweeperMissing") == ("firing", told)
    scene.start("sweeper")
    scene.clears("SweeperMissing")
    assert scene.paged("SweeperMissing") == ("resolved", told)


def test_postgres_is_away(scene: Scene) -> None:
    scene.postgres.kill()
    scene.fires("DatabaseAway")
    scene.postgres.start()
    scene.clears("DatabaseAway")
    scene.platform.wait_ready()
    assert finished(scene.client, scene.job(201))["state"] == "succeeded"


def test_the_broker_is_away(scene: Scene) -> None:
    scene.valkey.kill()
    job = scene.job(202)
    scene.fires("BrokerAway")
    scene.valkey.start()
    scene.clears("BrokerAway")
    assert finished(scene.client, job)["state"] == "succeeded"


def test_the_disk_is_nearly_full(scene: Scene, disk: Path) -> None:
    if not disk.is_mount():
        pytest.skip("only root may mount a small disk")
    filler = disk / "filler"
    room = os.statvfs(disk)
    filler.write_bytes(bytes(room.f_bavail * room.f_frsize - DISK_BYTES // 100))
    answer = post(scene.client, chest_png(203, 64))
    assert (answer.status_code, answer.json()["code"]) == (507, "storage_full")
    scene.fires("DiskFills")
    filler.unlink()
    scene.clears("DiskFills")


def test_a_pacs_refuses(scene: Scene) -> None:
    pacs = AE("PACS")
    pacs.require_called_aet = True
    pacs.add_supported_context("1.2.840.10008.1.1")
    server = pacs.start_server(("127.0.0.1", 0), block=False)
    tenant = scene.platform.tenant()
    try:
        destine(scene.platform, tenant, f"dicom://127.0.0.1:{server.server_address[1]}/OTHER")
        with scene.platform.client(tenant) as client:
            job = post(client, chest_dicom(204, 64), name="chest.dcm").headers["location"]
            finished(client, job)
            scene.fires("DeliveriesDead", kind="dicom")
    finally:
        server.shutdown()


def test_an_image_was_lost(scene: Scene, disk: Path) -> None:
    _lose(scene, disk, 205)
    scene.fires("JobsFail")
    scene.fires("StepsDead")


def _lose(scene: Scene, disk: Path, seed: int) -> None:
    """A job fails, since its image is not in the store any more."""
    scene.send(*WORKERS, number=signal.SIGSTOP)
    job = scene.job(seed)
    ((image,),) = scene.platform.sql(
        "select i.id from jobs j join instances i using (study_id) where j.id = %s", job.rpartition("/")[2]
    )
    shutil.rmtree(disk / "blobs" / "instances" / str(image))
    scene.send(*WORKERS, number=signal.SIGCONT)
    assert finished(scene.client, job)["error"]["code"] == "step_gave_up"


def test_a_worker_is_stuck_and_work_waits(scene: Scene) -> None:
    scene.send(*WORKERS, number=signal.SIGSTOP)
    jobs = [scene.job(300 + n) for n in range(SLOW)]
    scene.platform.sql(
        "update jobs set created_at = now() - interval '10 minutes' where state in ('queued', 'running')"
    )
    scene.fires("ProcessStuck", service="model-worker")
    scene.fires("WorkWaits", priority="routine")
    scene.send(*WORKERS, number=signal.SIGCONT)
    assert {finished(scene.client, job)["state"] for job in jobs} == {"succeeded"}
    scene.fires("ResultsSlow")
    scene.clears("WorkWaits")
    scene.clears("ProcessStuck")


def test_no_worker_is_left_and_then_none_for_a_network(scene: Scene) -> None:
    scene.end(*WORKERS)
    scene.fires("ProcessMissing", service="model-worker")
    scene.start(NARROW)
    scene.fires("NoWorkerForBackbone", backbone="tiny_1")
    scene.clears("ProcessMissing")
    scene.start(*WORKERS)
    scene.clears("NoWorkerForBackbone")


def test_the_key_is_old_and_a_certificate_ends(scene: Scene) -> None:
    scene.fires("SigningKeyOld")
    door = scene.pager.url.removeprefix("https://")
    for certificate in ("pacs.ca.pem", door):
        scene.fires("CertificateEnds", job="sweeper", certificate=certificate)


def test_clients_send_tokens_of_a_retired_key(scene: Scene) -> None:
    """The real auth-service ends its key as compromised; a gateway that has its keys refuses the tokens, as long as they come."""
    auth = f"http://127.0.0.1:{scene.platform.setting('AUTH_PORT')}"
    until(lambda: succeeds(f"{auth}/readyz"))
    httpx.post(f"{auth}/auth/register", json={"name": "ada", "password": PASSWORD}).raise_for_status()
    old = _token(auth)
    with scene.platform.beside("gateway-own", AUTH_URL=auth) as own:
        aim(scene.folder, scene.platform.metrics | own.metrics)
        assert _listed(own, old) == 200
        scene.platform.run("auth", "rotate-keys", "--compromised")
        scene.platform.kill("auth")
        scene.platform.start("auth")
        until(lambda: succeeds(f"{auth}/readyz"))
        aim(scene.folder, scene.platform.metrics | own.metrics)
        new = _token(auth)
        until(lambda: _listed(own, new) == 200)  # the keys are asked for at most every ten seconds
        enough = Event()
        with ThreadPoolExecutor(1) as clients:
            answers = clients.submit(_keep_sending, own, old, enough)
            try:
                scene.fires("TokensRefused")
            finally:
                enough.set()
            assert answers.result() == {401}
        assert _listed(own, new) == 200
        scene.clears("TokensRefused")
    aim(scene.folder, scene.platform.metrics)


def _token(auth: str) -> str:
    form = {"grant_type": "password", "username": "ada", "password": PASSWORD}
    return str(httpx.post(f"{auth}/auth/token", data=form).raise_for_status().json()["access_token"])


def _listed(platform: Platform, token: str) -> int:
    own = {"Authorization": f"Bearer {token}"}
    return httpx.get(f"{platform.base}/v1/jobs", headers=own, timeout=PATIENCE_S).status_code


def _keep_sending(platform: Platform, token: str, enough: Event) -> set[int]:
    answers = {_listed(platform, token)}
    while not enough.wait(0.2):
        answers.add(_listed(platform, token))
    return answers


def test_the_images_are_others_than_the_card_expects(scene: Scene) -> None:
    scene.fires("Drift")
    scene.fires("ManyRefused")


def test_drift_is_what_the_day_s_images_say(scene: Scene) -> None:
    """The networks of the scene's bundle disagree. A sweeper reads the day when it starts."""
    under_way = "select 1 from jobs where state in ('queued', 'running')"
    until(lambda: not scene.platform.sql(under_way))
    scene.platform.kill("sweeper")
    scene.start("sweeper")
    until(lambda: succeeds(f"http://127.0.0.1:{scene.platform.metrics['sweeper']}/metrics"))
    until(lambda: "thorax_drift_disagreement{" in scene.platform.scrape("sweeper"))
    families = text_string_to_metric_families(scene.platform.scrape("sweeper"))
    told = {
        family.name: {(*sample.labels.values(),): sample.value for sample in family.samples}
        for family in families
    }
    disagree = {(finding,): mean for finding, mean in scene.platform.sql(DISAGREE, scene.tenant)}
    assert len(disagree) == len(FINDINGS) and min(disagree.values()) > 0
    assert told["thorax_drift_disagreement"] == pytest.approx(disagree)
    shares = {(code,): share for code, share in scene.platform.sql(REFUSED_SHARES) if code}
    assert sum(shares.values()) > 0.3
    assert told["thorax_drift_refused_share"] == pytest.approx(shares)


def test_each_panel_shows_something_and_each_rule_is_evaluated(scene: Scene, disk: Path) -> None:
    """Grafana itself is not to be had where this was written: what it asks Prometheus is asked here."""
    _lose(scene, disk, 400)  # a step is given back
    seeds = itertools.count(401)
    queries = [target["expr"] for panel in PANELS.values() for target in panel["targets"]]

    def empty() -> list[str]:
        """Which queries have shown nothing; rates are of what happens meanwhile."""
        assert post(scene.client, b"no image").status_code == 415
        finished(scene.client, scene.job(next(seeds)))
        return [query for query in queries if not scene.shown(hurried(query), scene.since)]

    until(lambda: not empty(), empty, pause_s=1)
    groups = yaml.safe_load((OPS / "alerts.yml").read_text())["groups"]
    rules = [rule["expr"] for group in groups for rule in group["rules"]]
    for query in queries + rules:  # as they are shipped
        scene.asked.get("query", params={"query": query}).raise_for_status()

    def evaluated() -> list[str]:
        return [rule["health"] for group in scene.ask("rules").get("groups", []) for rule in group["rules"]]

    until(lambda: evaluated() == ["ok"] * len(rules), evaluated)
