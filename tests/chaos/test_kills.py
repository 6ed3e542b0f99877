"""An acknowledged upload is neither lost nor answered twice, whatever is killed."""

import os
import signal
import time
from pathlib import Path
from uuid import UUID

import pytest

from tests.chaos.scenario import IMAGES, Outcome, Wreck, picture, wrecked_platform
from tests.factories.patience import until
from tests.factories.platform import finished, post

pytestmark = pytest.mark.slow
LONG = os.environ.get("THORAX_CHAOS") == "long"
JOBS, KILLS, SEEDS = (200, 40, (1, 2, 3)) if LONG else (30, 12, (1,))

# A worker that has computed its first predictions and stalls before it records them, until the test continues it.
STALLING = """
import os, pathlib, time
import thorax.work.ledger as ledger
from model_worker.tasks import InferenceHandler
complete, run = ledger.complete, InferenceHandler.run
folder = os.environ.get("STALL") and pathlib.Path(os.environ["STALL"])
def stalling(connection, claims, *rest, **options):
    inferred = claims[0].kind == "infer" or any(step.ran for _, step in rest[0])
    if folder and inferred and not folder.exists():
        folder.mkdir()
        while not (folder / "go").exists():
            time.sleep(0.02)
    return complete(connection, claims, *rest, **options)
def performing(self, claims):
    run(self, claims)
    if folder and folder.exists():
        (folder / "done").touch()
ledger.complete, InferenceHandler.run = stalling, performing
"""
UNGUARDED = """
guard = " and s.attempts = mine.attempts and s.state = 'running'"
assert guard in ledger.HELD
ledger.HELD = ledger.HELD.replace(guard, "")
"""
RUN = "from model_worker.__main__ import main; main()"
POISONED = """
import os, signal
import model_worker.tasks as handler
decode = handler.decode
def poisoned(data, *rest, **options):
    if data.endswith(b"poison"):
        os.kill(os.getpid(), signal.SIGKILL)
    return decode(data, *rest, **options)
handler.decode = poisoned
from model_worker.__main__ import main
main()
"""


@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", SEEDS)
def test_nothing_is_lost_or_doubled_under_random_kills(tmp_path: Path, seed: int) -> None:
    with wrecked_platform(tmp_path) as wreck:
        began = time.monotonic()
        outcome = wreck.rage(JOBS, KILLS, seed)
        raged = time.monotonic() - began
        damage = wreck.damage(outcome)
        print(
            f"seed {seed}: {JOBS} jobs, strikes {wreck.strikes}, {raged:.0f} s, then {time.monotonic() - began - raged:.0f} s"
        )
        assert not damage, damage


@pytest.mark.timeout(900)
@pytest.mark.skipif(not LONG, reason="`make chaos` proves that this test can fail; CI has no time for it")
def test_the_chaos_test_fails_without_the_sweeper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.chaos.scenario.PATIENCE_S", 60)
    with wrecked_platform(tmp_path, sweeper=False) as wreck:
        damage = wreck.damage(wreck.rage(100, 40, 1))
        print(damage[:3])
        assert damage


@pytest.mark.timeout(600)
@pytest.mark.parametrize("guarded", [True, False])
def test_a_late_duplicate_changes_nothing_only_because_of_the_attempt_guard(
    tmp_path: Path, guarded: bool
) -> None:
    """worker-0 stalls beyond its lease, worker-2 does its steps again, and then worker-0 completes them too.

    worker-1 stalls within its lease, so that the job is not at its end when the late twin comes.
    """
    late, slow = tmp_path / "late", tmp_path / "slow"
    with wrecked_platform(
        tmp_path,
        worker_code=STALLING + ("" if guarded else UNGUARDED) + RUN,
        settings={"THORAX_LEASE_S": "1000"},
        own_settings={"worker-0": {"STALL": str(late)}, "worker-1": {"STALL": str(slow)}},
    ) as wreck:
        sql, platform = wreck.platform.sql, wreck.platform
        platform.kill("worker-2")
        with platform.client() as client:
            job = UUID(post(client, *(picture(i) for i in range(IMAGES))).json()["job_id"])
        until(lambda: late.exists() and slow.exists())
        stalled = f"%-{platform.processes['worker-0'].pid}-%"
        lost = "update steps set lease_until = now() - interval '1 second' where state = 'running' and worker like %s"
        sql(lost, stalled)
        platform.start("worker-2")
        of_the_slow = f"%-{platform.processes['worker-1'].pid}-%"
        until(
            lambda: (
                not sql(
                    "select 1 from steps where state <> 'done' and coalesce(worker, '') not like %s",
                    of_the_slow,
                )
            )
        )
        for stall in (late, slow):
            (stall / "go").touch()
            until((stall / "done").exists)
        damage = wreck.damage(Outcome({"job-0": job}, {"job-0": 0}))
        print(damage)
        assert bool(damage) is not guarded, damage


def test_a_killed_step_runs_again_after_its_lease(tmp_path: Path) -> None:
    with wrecked_platform(tmp_path) as wreck, wreck.platform.client() as client:
        workers = [process for name, process in wreck.platform.processes.items() if name.startswith("worker")]
        for worker in workers:  # none may do the step while it is written that one runs it
            worker.send_signal(signal.SIGSTOP)
        answer = post(client, picture(0))
        sql = wreck.platform.sql
        sql("update steps set state = 'running', attempts = 1, lease_until = now() + interval '4 seconds'")
        for worker in workers:
            worker.send_signal(signal.SIGCONT)
        until(lambda: sql("select max(attempts) from steps where kind = 'prepare'") != [(1,)])
        assert finished(client, answer.headers["location"])["state"] == "succeeded"


@pytest.mark.timeout(600)
def test_poison_is_isolated(tmp_path: Path) -> None:
    poison, good = (20, 100) if LONG else (2, 10)
    with wrecked_platform(tmp_path, worker_code=POISONED, settings={"THORAX_LEASE_S": "2"}) as wreck:
        _poison(wreck, poison, good)


def _poison(wreck: Wreck, poison: int, good: int) -> None:
    with wreck.platform.client() as client:
        bad = [post(client, picture(0) + b"poison").headers["location"] for _ in range(poison)]
        fine = [post(client, picture(i)).headers["location"] for i in range(good)]
        deadline = time.monotonic() + 400
        while wreck.platform.sql("select count(*) from jobs where finished_at is null") != [(0,)]:
            wreck.tend()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert {client.get(job).json()["state"] for job in fine} == {"succeeded"}
        failed = [client.get(job).json() for job in bad]
        assert {(job["state"], job["error"]["code"]) for job in failed} == {("failed", "step_gave_up")}
        attempts = wreck.platform.sql("select distinct attempts from steps where state = 'dead'")
        assert attempts == [(5,)]


def test_acknowledged_means_durable(tmp_path: Path) -> None:
    jobs = 50 if LONG else 8
    with wrecked_platform(tmp_path) as wreck:
        client = wreck.platform.client()
        for i in range(jobs):
            answer = post(client, picture(i))
            assert answer.status_code == 202
            wreck.platform.kill("gateway")
            wreck.platform.start("gateway")
            wreck.platform.wait_ready()
        until(lambda: wreck.platform.sql("select count(*) from jobs where state = 'succeeded'") == [(jobs,)])
