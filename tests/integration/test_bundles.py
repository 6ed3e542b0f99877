"""Bundles in operation: switched while jobs run, for all or for one tenant; a shadow that clients do not see; comparison."""

import json
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.factories.bundles import finding_points, make_bundle
from tests.factories.forked import ended
from tests.factories.images import chest_png
from tests.factories.patience import PATIENCE_S, until
from tests.factories.platform import Platform, finished, post
from thorax.bundle import Bundle, InputSpec
from thorax.operating_points import MapScale

pytestmark = pytest.mark.slow  # each test starts a platform


@pytest.fixture
def platform(
    tmp_path: Path, database_url: str, url_as: Callable[[str], str], clean_redis_url: str
) -> Iterator[Platform]:
    """A platform that serves the bundle `first` of two backbones."""
    first = make_bundle(tmp_path / "models" / "first", 2, name="first")
    with Platform(tmp_path, first, url_as, database_url, clean_redis_url) as running:
        yield running


def another(platform: Platform, name: str, backbones: int = 3, **manifest: Any) -> Bundle:
    """A bundle beside the platform's own."""
    return make_bundle(platform.bundle.folder.parent / name, backbones, name=name, **manifest)


def thorax(platform: Platform, *words: str, code: int = 0) -> str:
    """What `thorax bundle …` says, as an operator runs it."""
    patient = (
        ["--wait", "240"] if words[0] in ("activate", "shadow") and not {"--wait", "--off"} & {*words} else []
    )
    models = str(platform.bundle.folder.parent)
    environment = {**os.environ, "THORAX_DATABASE_URL": platform.owner_url, "THORAX_MODELS": models}
    done = ended("thorax.commands.cli", "bundle", *words, *patient, env=environment, timeout=PATIENCE_S)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def digest_of(client: httpx.Client, seed: int = 0) -> str:
    """The bundle that answers a job sent now; waits for the answer."""
    job = finished(client, post(client, chest_png(seed)).headers["location"], PATIENCE_S)
    assert job["state"] == "succeeded", job["error"]
    return str(job["bundle"]["digest"])


def test_switching_bundles_during_work_neither_fails_nor_mixes_results(platform: Platform) -> None:
    with platform.client() as client:
        places, stop = [], threading.Event()

        def send() -> None:
            while not stop.is_set():
                places.append(post(client, chest_png(len(places))).headers["location"])
                stop.wait(0.2)

        sender = threading.Thread(target=send)
        sender.start()
        second = another(platform, "second", 4)
        try:
            thorax(platform, "register", str(second.folder))
            thorax(platform, "activate", "second")
        finally:
            stop.set()
            sender.join()
        places.append(post(client, chest_png(0)).headers["location"])
        names = {bundle.digest: set(bundle.names) for bundle in (platform.bundle, second)}
        seen = []
        for place in places:
            job = finished(client, place, PATIENCE_S)
            assert job["state"] == "succeeded", job["error"]
            seen.append(job["bundle"]["digest"])
            assert set(job["images"][0]["findings"][0]["backbones"]) == names[seen[-1]]
        assert seen == sorted(seen, key=[platform.bundle.digest, second.digest].index)
        assert set(seen) == set(names)


def test_a_tenant_has_a_bundle_of_its_own(platform: Platform) -> None:
    second, tenant = another(platform, "second"), uuid4()
    thorax(platform, "register", str(second.folder))
    assert "is the bundle of tenant" in thorax(platform, "activate", "second@1.0", "--tenant", str(tenant))
    with platform.client(tenant) as its, platform.client() as other:
        assert digest_of(its) == second.digest
        assert digest_of(other) == platform.bundle.digest
        shown = [(m["name"], m["active"], m["default"]) for m in its.get("/v1/models").json()["items"]]
        assert shown == [("second", True, False), ("first", False, True)]
        shown = [(m["name"], m["active"]) for m in other.get("/v1/models").json()["items"]]
        assert shown == [("first", True), ("second", False)]
        assert "uses the default again" in thorax(platform, "deactivate", "--tenant", str(tenant))
        assert digest_of(its, 1) == platform.bundle.digest
    said = thorax(platform, "activate", "nobody", code=1)
    assert "No registered bundle is called nobody. Choose from: first@1.0" in said
    assert "Give a UUID" in thorax(platform, "activate", "first", "--tenant", "x", code=2)


def test_operating_points_make_three_bands(platform: Platform) -> None:
    with platform.client() as client:

        def read() -> list[dict[str, Any]]:
            job = finished(client, post(client, chest_png(5)).headers["location"], PATIENCE_S)
            assert job["study"]["findings"] == job["images"][0]["findings"]
            return list(job["images"][0]["findings"])

        by_threshold = read()
        assert {f["verdict"] for f in by_threshold} <= {"likely", "unlikely"}
        assert all(f["positive"] == (f["verdict"] == "likely") for f in by_threshold)
        assert {(f["prevalence"], f["times_the_average"]) for f in by_threshold} == {(None, None)}

        # The same networks, with points around what they say: a finding in each band, two bands again.
        said = [f["probability"] for f in by_threshold]
        shifts = [(-2e-3, -1e-3), (-1e-3, 1e-3), (1e-3, 2e-3), (-2e-3, -1e-3), (-1e-3, 1e-3)]
        points = [
            finding_points(p + unlikely, p + likely)
            for p, (unlikely, likely) in zip(said, shifts, strict=True)
        ]
        scale = MapScale(unit="logit", full=(1,) * 5, cuts=(0.5,) * 5)
        likely = [p.likely.threshold for p in points]
        second = another(
            platform, "points", 2, format=2, operating_points=points, maps=scale, thresholds=likely
        )
        thorax(platform, "register", str(second.folder))
        thorax(platform, "activate", "points")
        in_bands = read()
        assert [f["probability"] for f in in_bands] == said
        assert [f["verdict"] for f in in_bands] == ["likely", "uncertain", "unlikely", "likely", "uncertain"]
        for f in in_bands:
            assert f["prevalence"] == 0.05
            assert f["times_the_average"] == pytest.approx(f["probability"] / 0.05, abs=1e-4)
        told = [model["operating_points"] for model in client.get("/v1/models").json()["items"]]
        assert told[0]["edema"] == points[3].model_dump(mode="json")
        assert told[1] is None


def test_a_bundle_that_no_worker_can_load_is_not_activated(platform: Platform, tmp_path: Path) -> None:
    elsewhere = make_bundle(tmp_path / "elsewhere", 2, name="elsewhere")
    thorax(platform, "register", str(elsewhere.folder))
    said = thorax(platform, "activate", "elsewhere", "--wait", "1", code=1)
    assert "no worker has loaded tiny_0, tiny_1" in said
    broken = another(platform, "broken")
    (broken.folder / "tiny_1.onnx").write_bytes(b"something else")
    assert "tiny_1.onnx: its sha256 is" in thorax(
        platform, "register", str(broken.folder), "--activate", code=1
    )
    (model,) = httpx.get(f"{platform.base}/v1/models").json()["items"][:1]
    assert (model["name"], model["active"]) == ("first", True)
    assert "first 1.0  default  loaded by" in thorax(platform, "list")


def shadows(platform: Platform, state: str = "succeeded") -> int:
    query = "select count(*) from jobs where shadow_of is not null and state = %s"
    return int(platform.sql(query, state)[0][0])


def test_a_shadow_repeats_jobs_unseen_and_is_deleted_with_them(platform: Platform, tmp_path: Path) -> None:
    shadow = another(platform, "shadow", thresholds=[0.6] * 5)
    thorax(platform, "register", str(shadow.folder))
    thorax(platform, "shadow", "shadow")
    with platform.client() as client:
        places = [post(client, chest_png(i), chest_png(i + 50)).headers["location"] for i in range(4)]
        jobs = [finished(client, place, PATIENCE_S) for place in places]
        until(
            lambda: shadows(platform) == 4,
            lambda: f"the shadow has not repeated all\n{platform.logs()[-4000:]}",
        )

        # On the prepared pixels, after all real work, with its own answers.
        assert platform.sql("select count(*) from steps where kind = 'prepare' and priority = 9") == [(0,)]
        (answers,) = platform.sql(
            "select count(*), count(distinct f.threshold) from study_findings f join jobs j on j.id = f.job_id "
            "where j.shadow_of is not null and f.instance_id is not null"
        )
        assert answers == (4 * 2 * 5, 1)

        # Clients do not see it.
        assert {job["id"] for job in client.get("/v1/jobs").json()["items"]} == {job["id"] for job in jobs}
        for (hidden,) in platform.sql("select id from jobs where shadow_of is not null"):
            assert client.get(f"/v1/jobs/{hidden}").status_code == 404
            assert client.delete(f"/v1/jobs/{hidden}").status_code == 404
        assert [client.get(place).json() for place in places] == jobs
        assert [m["shadow"] for m in client.get("/v1/models").json()["items"]] == [False, True]

        # The report.
        out = tmp_path / "report.json"
        said = thorax(platform, "compare", "first", "shadow", "--out", str(out))
        assert "4 jobs with 8 images that both have seen" in said
        report = json.loads(out.read_text())
        assert (report["a"]["name"], report["b"]["digest"]) == ("first", shadow.digest)
        check_agreement(platform, report["findings"]["edema"])
        assert report["largest"][0]["job"] in {job["id"] for job in jobs}

        # It is deleted with the original.
        assert client.delete(places[0]).status_code in (200, 204)
        assert shadows(platform) == 3
        thorax(platform, "shadow", "--off")
        count = shadows(platform)
        digest_of(client, 9)
        assert shadows(platform) == count
    platform.sql("insert into tenants_pending_deletion (tenant_id) select distinct tenant_id from jobs")
    until(
        lambda: platform.sql("select count(*) from jobs") == [(0,)],
        lambda: f"the tenant's jobs stay\n{platform.logs()[-4000:]}",
    )
    assert platform.sql("select count(*) from predictions") == [(0,)]


def check_agreement(platform: Platform, told: dict[str, Any]) -> None:
    """The report's row of edema, counted here."""
    pairs = platform.sql(
        "select fa.probability, fb.probability, fa.positive <> fb.positive from jobs b join jobs a on a.id = b.shadow_of "
        "join study_findings fa on fa.job_id = a.id join study_findings fb on fb.job_id = b.id "
        "and fb.instance_id = fa.instance_id and fb.finding = fa.finding where fa.finding = 'edema'"
    )
    assert told["n"] == len(pairs) == 8
    assert told["mean_absolute_difference"] == pytest.approx(sum(abs(a - b) for a, b, _ in pairs) / 8)
    assert told["decisions_differ"] == sum(differ for *_, differ in pairs) / 8
    assert -1 <= told["correlation"] <= 1


def test_a_shadow_with_another_input_prepares_it_anew(platform: Platform) -> None:
    spec = {"tiny_0": InputSpec(size=96)}
    shadow = another(platform, "shadow", 2, inputs=spec)
    thorax(platform, "register", str(shadow.folder))
    with platform.client() as client:
        before = finished(client, post(client, chest_png(3)).headers["location"], PATIENCE_S)
        thorax(platform, "shadow", "shadow", "--past-hours", "1")
        until(
            lambda: shadows(platform) == 1,
            lambda: f"the shadow has not repeated it\n{platform.logs()[-4000:]}",
        )
        assert platform.sql("select count(*) from steps where kind = 'prepare' and priority = 9") == [(1,)]
        assert client.get(before["links"]["self"]).json() == before
