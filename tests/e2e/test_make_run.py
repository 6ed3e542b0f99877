"""`make run` as a person sees it: it starts, shows a result, stops at once, and leaves nothing behind."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner, Result
from tests.e2e import guide
from tests.factories.bundles import make_bundle
from tests.factories.patience import PATIENCE_S, until

from local_stack.server import free_port
from thorax.commands.cli import cli

pytestmark = pytest.mark.slow
COMMAND = Path(sys.executable).parent / "thorax-local"
SAMPLE = Path(__file__).parents[2] / "samples" / "chest.png"
PROMISED_STOP_S = 5  # docs/reference: Ctrl-C ends everything in this time
START_S = 300  # a bound against hanging; the time of a warm start is measured by `make bench`


class Run:
    """One `thorax-local run` with a tiny bundle and a state folder of its own."""

    def __init__(self, folder: Path, **env: str) -> None:
        self.state = folder / "state"
        bundle = folder / "models" / "tiny"
        if not bundle.exists():
            make_bundle(bundle)
        self.port = free_port()
        self.shown, self.told, self.jobs, self.start_s, self.stop_s = "", dict[str, Any](), 0, 0.0, 0.0
        own = {"THORAX_STATE": str(self.state), "BUNDLE": str(bundle), "PORT": str(self.port)}
        # Two that start at the same moment would both find 11112 free.
        own |= {"THORAX_DICOM_PORT": str(free_port())}
        own |= {"THORAX_SAMPLE": str(SAMPLE), "THORAX_MODEL_WORKERS": "1"}
        self.output = folder / f"output-{self.port}"
        with self.output.open("w") as output:
            self.process = subprocess.Popen(
                [COMMAND, "run"], env={**os.environ, **own, **env}, stdout=output, stderr=subprocess.STDOUT
            )

    @classmethod
    def running(cls, state: Path) -> "Run":
        """One that somebody else has started."""
        run = cls.__new__(cls)
        run.state = state
        run.port = int(run.about()["base_url"].rsplit(":", 1)[1])
        return run

    def until_ready(self) -> str:
        """Its output, once the last line of its greeting is there."""
        deadline = time.monotonic() + START_S
        while "Ctrl-C stops it" not in self.output.read_text():
            assert self.process.poll() is None, self.output.read_text()
            assert time.monotonic() < deadline, self.output.read_text()
            time.sleep(0.1)
        return self.output.read_text()

    def about(self) -> dict[str, Any]:
        """What run.json says."""
        return dict(json.loads((self.state / "run.json").read_text()))

    def family(self) -> list[str]:
        """Every living process that belongs to it: by its environment, or by where it works (Postgres)."""
        return [entry.name for entry in Path("/proc").iterdir() if self._mine(entry)]

    def _mine(self, entry: Path) -> bool:
        try:
            zombie = ") Z " in (entry / "stat").read_text()
            marked = f"THORAX_STATE={self.state}".encode() in (entry / "environ").read_bytes()
            return not zombie and (marked or (entry / "cwd").readlink().is_relative_to(self.state))
        except (OSError, ValueError):
            return False

    def until_gone(self, patience: float) -> float:
        """How long it takes until no process is left."""
        began = time.monotonic()
        while self.process.poll() is None or self.family():
            assert time.monotonic() - began < patience, self.family()
            time.sleep(0.05)
        return time.monotonic() - began


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("run")


@pytest.fixture(scope="module")
def stopped(folder: Path) -> Run:
    """The first start, stopped by Ctrl-C when it had shown its result."""
    run = Run(folder)
    try:
        began = time.monotonic()
        run.shown = run.until_ready()
        run.start_s = time.monotonic() - began
        run.told = run.about()
        run.jobs = job_count(run.told)
        run.process.send_signal(signal.SIGINT)
        run.stop_s = run.until_gone(PATIENCE_S)
    finally:
        run.process.kill()
    return run


@pytest.fixture(scope="module")
def run(folder: Path, stopped: Run) -> Iterator[Run]:
    """The second start, on the state that the first one left."""
    run = Run(folder)
    run.until_ready()
    yield run
    run.process.kill()
    run.process.wait()


def job_count(about: dict[str, Any]) -> int:
    form = {"grant_type": "password", "username": about["user"], "password": about["password"]}
    token = httpx.post(f"{about['base_url']}/auth/token", data=form).json()["access_token"]
    jobs = httpx.get(f"{about['base_url']}/v1/jobs", headers={"Authorization": f"Bearer {token}"}).json()
    return len(jobs["items"])


def test_it_shows_findings_overlay_and_addresses(stopped: Run) -> None:
    assert re.search(r"Pleural Effusion +\d+\.\d%", stopped.shown)
    assert f"http://127.0.0.1:{stopped.port}/docs" in stopped.shown
    assert stopped.told["password"] in stopped.shown
    assert stopped.jobs == 1
    assert (stopped.state / "chest-overlay.png").read_bytes().startswith(b"\x89PNG")


def test_ctrl_c_stops_it_cleanly(stopped: Run) -> None:
    assert stopped.process.returncode == 0
    # Twice, since other tests run at the same time; where these starve it, its start was slow as well.
    assert stopped.stop_s < max(2 * PROMISED_STOP_S, stopped.start_s)


def test_the_run_file_is_its_owners_only(run: Run) -> None:
    assert (run.state / "run.json").stat().st_mode & 0o777 == 0o600
    assert httpx.get(f"{run.about()['base_url']}/healthz").status_code == 200


def test_state_survives_a_restart(run: Run, stopped: Run) -> None:
    assert run.about()["password"] == stopped.told["password"]
    assert job_count(run.about()) == 2


def test_no_secret_is_seen_in_the_list_of_processes(run: Run) -> None:
    files = [
        run.state / name for name in ("first-user", "auth-secret", "postgres/password", "valkey/password")
    ]
    files += (run.state / "postgres" / "roles").iterdir()
    secrets = {path.read_text().strip() for path in files}
    assert len(secrets) == 8
    for pid in run.family():
        with suppress(OSError):  # it may just have ended
            arguments = Path(f"/proc/{pid}/cmdline").read_text()
            assert not [secret for secret in secrets if secret in arguments]


def test_login_and_analyze_from_the_command_line(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    told = run.about()

    def thorax(*words: object) -> Result:
        return CliRunner().invoke(cli, [str(word) for word in words])

    wrong = thorax(
        "login", "--url", told["base_url"], "--user", told["user"], "--password", "wrong wrong wrong"
    )
    assert (wrong.exit_code, "password is wrong" in wrong.output) == (1, True)
    ended = thorax("login", "--url", told["base_url"], "--user", told["user"], "--password", told["password"])
    assert ended.exit_code == 0, ended.output
    (kept,) = tmp_path.rglob("login.json")
    assert kept.stat().st_mode & 0o077 == 0
    assert told["password"] not in kept.read_text()
    ended = thorax("analyze", SAMPLE, "--csv", tmp_path / "out.csv")
    assert ended.exit_code == 0, ended.output
    assert len(thorax("jobs").stdout.splitlines()) >= 2
    assert thorax("jobs", "--url", "http://127.0.0.1:1").exit_code == 1  # the login is sent nowhere else


@pytest.fixture(scope="module")
def reader(run: Run) -> dict[str, str]:
    """The variables that the guides take for given, of a reader who is the first user of `run`."""
    about = run.about()
    form = {"grant_type": "password", "username": about["user"], "password": about["password"]}
    token = httpx.post(f"{about['base_url']}/auth/token", data=form).json()["access_token"]
    me = httpx.get(f"{about['base_url']}/auth/me", headers={"Authorization": f"Bearer {token}"}).json()
    return {
        **{"B": about["base_url"], "BASE": about["base_url"], "TENANT": me["tenant_id"]},
        **{"TOKEN": token, "ADMIN_TOKEN": token, "NAME": about["user"], "PASSWORD": about["password"]},
        **{"THORAX_STATE": str(run.state), "BUNDLE": str(run.state.parent / "models" / "tiny")},
    }


@pytest.mark.parametrize("page", guide.FOLLOWED, ids=lambda page: page.stem)
def test_each_command_of_a_guide_does_what_it_says(
    page: Path, reader: dict[str, str], tmp_path: Path
) -> None:
    said = guide.follow(page, tmp_path, reader)
    for words in guide.FOLLOWED[page].says:
        assert words in said, said


def test_a_second_one_on_the_same_state_is_refused(run: Run, folder: Path) -> None:
    second = Run(folder)
    assert second.process.wait(START_S) == 1
    refusal = f"thorax: Thorax already runs here: another process uses {run.state}.\n"
    assert second.output.read_text() == refusal


def test_a_killed_worker_is_restarted(run: Run) -> None:
    killed = run.about()["pids"]["model-worker-1"]
    os.kill(killed, signal.SIGKILL)
    until(lambda: run.about()["pids"].get("model-worker-1", killed) != killed)
    assert "model-worker-1 was ended by SIGKILL" in run.output.read_text()
    assert set(map(str, run.about()["pids"].values())) <= set(run.family()), "run.json names a dead process"


def test_a_killed_supervisor_leaves_no_process_behind(run: Run) -> None:
    assert len(run.family()) > 8
    run.process.kill()
    run.until_gone(PATIENCE_S)


def test_a_taken_port_is_one_sentence(tmp_path: Path, redis_url: str) -> None:
    port = redis_url.rpartition(":")[2].partition("/")[0]
    refused = Run(tmp_path, PORT=port)
    assert refused.process.wait(START_S) == 1
    assert refused.output.read_text() == (
        f"thorax: Port {port} is taken by another program; choose another one by PORT=.\n"
    )


def test_a_missing_bundle_is_one_sentence(tmp_path: Path) -> None:
    refused = Run(tmp_path, BUNDLE="/nowhere")
    assert refused.process.wait(START_S) == 1
    assert refused.output.read_text() == (
        "thorax: No model bundle is in /nowhere; name the folder of one by BUNDLE=.\n"
    )


def test_a_database_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    url = f"postgresql+psycopg://me:secret@127.0.0.1:{free_port()}/thorax"
    refused = Run(tmp_path, THORAX_DATABASE_URL=url)
    assert refused.process.wait(START_S) == 1
    said = refused.output.read_text()
    assert said.startswith("thorax: THORAX_DATABASE_URL cannot be used: connection failed")
    assert said.count("\n") == 1
    assert "secret" not in said
