"""promises.md, rows 1 to 3: an acknowledged upload is never lost nor done twice, whatever is killed."""

import os
import time
from pathlib import Path

import pytest

from tests.chaos.scenario import LEASE_S, STALLS, Wreck, picture, wrecked_platform
from tests.factories.platform import finished, post

LONG = os.environ.get("THORAX_CHAOS") == "long"
JOBS, KILLS, SEEDS = (200, 40, (1, 2, 3)) if LONG else (30, 12, (1,))

UNGUARDED = """
import sqlalchemy, thorax.ledger as ledger
sql = str(ledger._HOLD.text)
guard = " and s.attempts = mine.attempts and s.state = 'running'"
assert guard in sql
ledger._HOLD = sqlalchemy.text(sql.replace(guard, ""))
from model_worker.__main__ import main
main()
"""
POISONED = """
import os, signal
import model_worker.craft as craft
decode = craft.decode
def poisoned(data, *rest, **options):
    if data.endswith(b"poison"):
        os.kill(os.getpid(), signal.SIGKILL)
    return decode(data, *rest, **options)
craft.decode = poisoned
from model_worker.__main__ import main
main()
"""


@pytest.mark.chaos
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


@pytest.mark.chaos
@pytest.mark.timeout(900)
@pytest.mark.skipif(not LONG, reason="`make chaos` proves that this test can fail; CI has no time for it")
def test_it_fails_without_the_sweeper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.chaos.scenario.PATIENCE_S", 60)
    with wrecked_platform(tmp_path, sweeper=False) as wreck:
        damage = wreck.damage(wreck.rage(100, 40, 1))
        print(damage[:3])
        assert damage


@pytest.mark.chaos
@pytest.mark.timeout(900)
@pytest.mark.skipif(not LONG, reason="`make chaos` proves that this test can fail; CI has no time for it")
@pytest.mark.parametrize("guarded", [True, False])
def test_it_fails_without_the_attempt_guard(
    tmp_path: Path, guarded: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Workers that stall for longer than their lease, and then complete what others have completed."""
    monkeypatch.setattr("tests.chaos.scenario.PATIENCE_S", 60)
    monkeypatch.setattr("tests.chaos.scenario.IMAGES", 6)  # more time in which a job is not done yet
    with wrecked_platform(tmp_path, worker_code=None if guarded else UNGUARDED) as wreck:
        damage = wreck.damage(wreck.rage(40, 30, 1, STALLS))
        print(damage[:3])
        assert bool(damage) is not guarded, damage


@pytest.mark.chaos
def test_a_killed_step_comes_back_within_its_lease_and_ten_seconds(tmp_path: Path) -> None:
    with wrecked_platform(tmp_path) as wreck, wreck.platform.client() as client:
        for name in ("worker-0", "worker-1"):
            wreck.platform.processes[name].send_signal(19)
        answer = post(client, picture(0))
        sql = wreck.platform.sql
        sql("update steps set state = 'running', attempts = 1, lease_until = now() + interval '4 seconds'")
        for name in ("worker-0", "worker-1"):
            wreck.platform.processes[name].send_signal(18)
        began = time.monotonic()
        while sql("select max(attempts) from steps where kind = 'prepare'") == [(1,)]:
            assert time.monotonic() - began < LEASE_S + 10
            time.sleep(0.1)
        assert finished(client, answer.headers["location"])["state"] == "succeeded"


@pytest.mark.chaos
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


@pytest.mark.chaos
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
        deadline = time.monotonic() + 120
        while wreck.platform.sql("select count(*) from jobs where state = 'succeeded'") != [(jobs,)]:
            assert time.monotonic() < deadline
            time.sleep(0.2)
