"""thorax-client and its commands against the real platform."""

import csv
import json
import signal
import subprocess
import sys
from pathlib import Path
from uuid import uuid4

import numpy as np
import pytest
from click.testing import CliRunner, Result

from tests.factories.images import chest_png
from tests.factories.patience import PATIENCE_S, until
from tests.factories.platform import Platform
from thorax.commands.cli import cli
from thorax_client import AsyncClient, Client, Credentials, JobFailedError, ProblemError

SAMPLE = Path(__file__).parents[3] / "samples/chest.dcm"


@pytest.fixture
def credentials(platform: Platform) -> Credentials:
    return Credentials(token=platform.issuer.token(uuid4()))


def test_five_lines_to_a_heatmap(platform: Platform, credentials: Credentials) -> None:
    with Client(platform.base, credentials) as thorax:
        job = thorax.analyze(SAMPLE)
        maps = thorax.maps(job.images[0])
        assert [f.finding for f in job.findings] == list(maps.findings)
        assert maps["edema"].shape == maps.ensemble.shape[1:]
        assert set(maps.backbones) == {"tiny_0", "tiny_1", "tiny_2"}
        picture = thorax.image(job.images[0])
        assert (picture.dtype, picture.ndim) == (np.uint8, 2)
        assert thorax.overlay(job.images[0], "edema").startswith(b"\x89PNG")
        assert thorax.original(job.images[0]) == SAMPLE.read_bytes()
        assert thorax.models()[0].active


def test_pages_changes_repetitions_and_erasure(platform: Platform, credentials: Credentials) -> None:
    with Client(platform.base, credentials) as thorax:
        first = thorax.submit(("a.png", chest_png(1)), key="the same")
        assert thorax.submit(("a.png", chest_png(1)), key="the same") == first
        states = [job.state for job in thorax.changes(first, 60)]
        assert states[-1] == "succeeded"
        others = [thorax.submit(("b.png", chest_png(seed))) for seed in (2, 3)]
        wanted = {first.job_id, *(receipt.job_id for receipt in others)}
        assert {job.id for job in thorax.jobs(limit=2)} == wanted
        thorax.erase(first)
        with pytest.raises(ProblemError) as caught:
            thorax.job(first)
        assert caught.value.code == "not_found"


async def test_the_same_to_be_awaited(platform: Platform, credentials: Credentials) -> None:
    async with AsyncClient(platform.base, credentials) as thorax:
        job = await thorax.analyze(("a.png", chest_png()))
        assert (await thorax.maps(job.images[0]))["edema"].dtype == np.float16
        assert [one.id async for one in thorax.jobs()] == [job.id]
        with pytest.raises(JobFailedError) as caught:
            await thorax.analyze(("a.png", chest_png()[:500]))
        assert caught.value.code == "unreadable_image"
        assert [j.state async for j in thorax.changes(caught.value.job.id)] == ["failed"]


def test_all_networks_can_be_asked_for(platform: Platform, credentials: Credentials) -> None:
    with Client(platform.base, credentials) as thorax:
        job = thorax.analyze(("a.png", chest_png(5)), full=True)
        assert job.full and thorax.again(job, full=True).full
        assert thorax.job(thorax.submit(("a.png", chest_png(6)), full=True)).full


def test_without_an_account(platform: Platform) -> None:
    with Client(platform.base) as thorax:
        job = thorax.analyze(("a.png", chest_png(9)))
        assert thorax.maps(job.images[0]).ensemble.shape[0] == 5


def run(*words: object) -> Result:
    return CliRunner().invoke(cli, [str(word) for word in words])


@pytest.fixture
def where(platform: Platform, credentials: Credentials) -> list[str]:
    return ["--url", platform.base, "--token", credentials.token]


def test_analyze_goes_on_where_it_stopped(tmp_path: Path, where: list[str]) -> None:
    folder = tmp_path / "images"
    (folder / "deep").mkdir(parents=True)
    (folder / "a.png").write_bytes(chest_png(1))
    (folder / "deep" / "IM1").write_bytes(SAMPLE.read_bytes())
    (folder / "notes.txt").write_text("no image")
    table = tmp_path / "out.csv"
    assert run("analyze", folder / "a.png", *where, "--csv", table).exit_code == 0
    (folder / "b.png").write_bytes(chest_png()[:500])
    ended = run("analyze", folder, *where, "--csv", table, "--overlay", tmp_path / "overlays")
    assert ended.exit_code == 3, ended.output
    rows = {Path(row["image"]).name: row for row in csv.DictReader(table.open())}
    assert set(rows) == {"a.png", "b.png", "IM1"}
    assert len(table.read_text().splitlines()) == 4
    assert rows["b.png"]["error"] == "unreadable_image"
    assert 0 < float(rows["IM1"]["edema"]) < 1
    assert rows["IM1"]["view"] == "PA"
    likely = [f for f in rows["IM1"] if rows["IM1"][f] == "likely"]
    assert len(list((tmp_path / "overlays").glob("*IM1*.png"))) == len(likely) > 0
    assert (
        run("analyze", folder, *where, "--csv", table).exit_code == 3
    )  # the refused one again, beside two results
    assert len(table.read_text().splitlines()) == 4
    (folder / "b.png").unlink()
    assert "have a result" in run("analyze", folder, *where, "--csv", table).stderr
    (tmp_path / "labels.csv").write_text("image,edema\na.png,1\n")
    for other in (tmp_path / "labels.csv", tmp_path / "missing" / "out.csv"):
        refused = run("analyze", folder, *where, "--csv", other)
        assert refused.exit_code == 1
        assert str(other) in refused.stderr
    assert (tmp_path / "labels.csv").read_text() == "image,edema\na.png,1\n"


def test_a_platform_that_is_away_is_one_line_and_makes_no_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.modules["thorax_client.commands.login"], "PATIENCE_S", 0)
    ended = run("analyze", SAMPLE, SAMPLE, "--url", "http://127.0.0.1:1", "--csv", tmp_path / "out.csv")
    assert (ended.exit_code, ended.stdout) == (1, "")
    assert ended.stderr.count("\n") == 1 and "Is the platform running" in ended.stderr
    assert not (tmp_path / "out.csv").exists()


def test_ctrl_c_while_it_waits_is_one_line(
    tmp_path: Path, where: list[str], platform: Platform, credentials: Credentials, standstill: None
) -> None:
    (tmp_path / "a.png").write_bytes(chest_png(8))
    command = [sys.executable, "-m", "thorax_client.commands", "analyze", str(tmp_path), *where]
    running = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    with Client(platform.base, credentials) as thorax:
        until(lambda: list(thorax.jobs()) or running.poll() is not None)
        running.send_signal(signal.SIGINT)
        told, errors = running.communicate(timeout=PATIENCE_S)
        thorax.erase(next(thorax.jobs()).id)
    assert (running.returncode, told) == (130, "")
    assert errors.splitlines()[-1] == "Stopped. Run it again to get the results of what was sent."
    assert "Traceback" not in errors and "Exception" not in errors


def test_analyze_jobs_and_models_say_what_there_is(tmp_path: Path, where: list[str]) -> None:
    ended = run("analyze", SAMPLE, SAMPLE, *where, "--json")
    first, second = (json.loads(line) for line in ended.stdout.splitlines())
    assert first["job"]["id"] == second["job"]["id"], "the same file within a day is one job"
    newer = json.loads(run("analyze", SAMPLE, *where, "--again", "--json").stdout)["job"]["id"]
    assert newer != first["job"]["id"], "asked for, a known DICOM image is analysed anew"
    assert first["job"]["id"] in run("jobs", *where).stdout
    assert "tiny 1.0  active" in run("models", *where).stdout
    (tmp_path / "a.png").write_bytes(chest_png(3))
    full = json.loads(run("analyze", tmp_path / "a.png", *where, "--full", "--json").stdout)["job"]
    assert (
        full["full"]
        and not json.loads(run("analyze", tmp_path / "a.png", *where, "--json").stdout)["job"]["full"]
    )
    jobs = [
        json.loads(run("analyze", tmp_path / "a.png", *where, "--again", "--no-wait", "--json").stdout)[
            "job"
        ]["id"]
        for _ in range(2)
    ]
    assert jobs[0] != jobs[1]
    (tmp_path / "a.png").unlink()
    assert run("analyze", tmp_path, *where).exit_code == 1
