"""A platform whose processes are killed at random, clients that do not give up, and what is counted afterwards."""

import random
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import cv2
import httpx
import numpy as np
import psutil

from local_stack.roles import create_database
from tests.factories.bundles import make_bundle
from tests.factories.images import grey
from tests.factories.patience import PATIENCE_S
from tests.factories.platform import Platform
from tests.factories.stores import Postgres, Valkey, login
from thorax.bundle import load_bundle
from thorax.schema import migrate

BACKBONES = 3
LEASE_S = 4

KINDS_OF_IMAGE = 8
IMAGES = 3  # of each job
WORKERS = 3
# Which process is killed, and how often relative to the others. "child" is the worker's decoding sandbox; "stall" stops a
# worker for longer than its lease, so that it completes too late what another worker has done.
VICTIMS = {
    "worker": 8,
    "child": 6,
    "stall": 4,
    "gateway": 4,
    "aggregator": 4,
    "sweeper": 3,
    "valkey": 4,
    "postgres": 3,
}


def picture(kind: int) -> bytes:
    """One of a few images whose findings differ."""
    image = 255 * (grey(kind, 320) / 255) ** (0.6 + 0.1 * (kind % 8))
    return cv2.imencode(".png", image.astype(np.uint8))[1].tobytes()


@dataclass
class Outcome:
    """What the clients were promised: the job for each Idempotency-Key, and which image they sent."""

    jobs: dict[str, UUID] = field(default_factory=dict)
    images: dict[str, int] = field(default_factory=dict)


@contextmanager
def wrecked_platform(
    folder: Path,
    *,
    sweeper: bool = True,
    worker_code: str | None = None,
    settings: Mapping[str, str] | None = None,
    own_settings: Mapping[str, Mapping[str, str]] | None = None,
) -> Iterator["Wreck"]:
    """Durable Postgres, a Valkey without persistence, some workers; everything may be killed."""
    bundle = make_bundle(folder / "models" / "tiny", BACKBONES)
    with Postgres(folder / "postgres") as postgres, Valkey(folder / "valkey", persistent=False) as valkey:
        owner = create_database(postgres, "thorax")
        migrate(owner)
        platform = Platform(
            folder,
            load_bundle(bundle.folder),
            lambda role: login(postgres, "thorax", role),
            owner,
            valkey.url,
            settings={"THORAX_LEASE_S": str(LEASE_S), "THORAX_HINT_AGAIN_S": "2", **(settings or {})},
            own_settings=own_settings,
            workers=WORKERS,
            worker_code=worker_code,
        )
        with platform:
            if not sweeper:
                platform.kill("sweeper")
                platform.names.remove("sweeper")
            yield Wreck(platform, postgres, valkey)


class Wreck:
    """The platform and what kills it. Children die with the thread that starts them: use it from the main one."""

    def __init__(self, platform: Platform, postgres: Postgres, valkey: Valkey) -> None:
        self.platform, self.postgres, self.valkey = platform, postgres, valkey
        self.strikes: list[str] = []
        self._stalled: list[tuple[float, str]] = []

    def strike(self, chance: random.Random, victims: Mapping[str, int]) -> None:
        """One random SIGKILL (or stall), and the restart that a supervisor would do."""
        victim = chance.choices(list(victims), list(victims.values()))[0]
        self.strikes.append(victim)
        worker = chance.choice([n for n in self.platform.names if n.startswith("worker")])
        if victim == "worker":
            self._restart(worker)
        elif victim == "child":
            with suppress(psutil.NoSuchProcess):  # it has just ended by itself
                for child in psutil.Process(self.platform.processes[worker].pid).children(recursive=True):
                    child.kill()
        elif victim == "stall":
            self.platform.processes[worker].send_signal(19)
            self._stalled.append((time.monotonic() + LEASE_S + chance.uniform(1, 4), worker))
        elif victim == "valkey":
            self.valkey.kill()
            self.valkey.start()
        elif victim == "postgres":
            self.postgres.kill()
            self.postgres.start()
        elif victim in self.platform.names:
            self._restart(victim)

    def _restart(self, name: str) -> None:
        self.platform.kill(name)
        self.platform.start(name)

    def tend(self) -> None:
        """Continue the workers that have stalled long enough, and restart processes that ended by themselves."""
        for moment, worker in list(self._stalled):
            if time.monotonic() > moment:
                self._stalled.remove((moment, worker))
                self.platform.processes[worker].send_signal(18)
        for name in self.platform.names:
            if self.platform.processes[name].poll() is not None:
                self.platform.start(name)

    def rage(self, jobs: int, kills: int, seed: int, victims: Mapping[str, int] = VICTIMS) -> Outcome:
        """Post `jobs` jobs from four clients while striking `kills` times; returns when all are acknowledged."""
        chance, outcome, tenant = random.Random(seed), Outcome(), uuid4()
        keys = [f"job-{i}" for i in range(jobs)]
        threads = [
            threading.Thread(target=self._clients, args=(keys[i::4], outcome, tenant), daemon=True)
            for i in range(4)
        ]
        for thread in threads:
            thread.start()
        for _ in range(kills):
            self._pass(chance.uniform(0.2, 1.2))
            self.strike(chance, victims)
        while any(thread.is_alive() for thread in threads) or self._stalled:
            self._pass(0.2)
        return outcome

    def _pass(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.tend()
            time.sleep(0.05)

    def _clients(self, keys: list[str], outcome: Outcome, tenant: UUID) -> None:
        for key in keys:
            kind = int(key.split("-")[1]) % KINDS_OF_IMAGE
            outcome.images[key] = kind
            outcome.jobs[key] = self._insist(key, [picture(kind * IMAGES + i) for i in range(IMAGES)], tenant)
            time.sleep(0.05)

    def _insist(self, key: str, images: list[bytes], tenant: UUID) -> UUID:
        """Post until there is a 202, as a careful client does."""
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            try:
                with self.platform.client(tenant) as client:
                    client.timeout = httpx.Timeout(10)
                    files = [("files", ("x.png", image, "image/png")) for image in images]
                    answer = client.post("/v1/jobs", files=files, headers={"Idempotency-Key": key})
                if answer.status_code == 202:
                    return UUID(answer.json()["job_id"])
                assert answer.status_code in (429, 503), answer.text
            except httpx.HTTPError:
                pass
            time.sleep(0.2)
        raise AssertionError(f"{key} was not acknowledged in {PATIENCE_S} s")

    def wait_until_final(self, jobs: int) -> list[tuple[Any, ...]]:
        """Wait until every job is final, at most `PATIENCE_S`; the jobs that are not."""
        deadline = time.monotonic() + PATIENCE_S
        query = "select id, state, steps_done, steps_total from jobs where state in ('queued', 'running')"
        while True:
            self.tend()
            left = self.platform.sql(query)
            if not left and self.platform.sql("select count(*) from jobs") == [(jobs,)]:
                return []
            if time.monotonic() > deadline:
                return left or [("jobs", *self.platform.sql("select count(*) from jobs")[0])]
            time.sleep(0.25)

    def damage(self, outcome: Outcome) -> list[str]:
        """Everything that is lost, double or wrong, in words; empty if nothing is."""
        jobs = len(outcome.jobs)
        found = [f"not final: {row}" for row in self.wait_until_final(jobs)]
        sql = self.platform.sql
        if len(set(outcome.jobs.values())) != jobs:
            found.append("two keys got the same job")
        states = dict(sql("select state, count(*) from jobs group by state"))
        if states != {"succeeded": jobs}:
            found.append(f"states: {states}, {sql('select distinct error_code, error_detail from jobs')}")
        counts = sql("""select (select count(*) from predictions), (select count(*) from study_findings),
            (select count(*) from heatmaps), (select count(*) from steps where state <> 'done')""")[0]
        images = jobs * IMAGES
        if counts != (images * BACKBONES, (images + jobs) * 5, images, 0):
            found.append(f"predictions, findings, heatmaps, open steps: {counts} of {jobs} jobs")
            failed = "select error_code, error_detail from instances where state = 'failed'"
            found.append(f"images: {sql(failed)}, {self.platform.logs()[-3000:]}")
        steps = images * (1 + BACKBONES) + jobs
        counted = sql("select coalesce(sum(steps_done), 0), (select count(*) from steps) from jobs")[0]
        if counted != (steps, steps):
            found.append(f"steps counted as done, and there: {counted} instead of {steps}")
        return found + self._wrong(outcome)

    def _wrong(self, outcome: Outcome) -> list[str]:
        """Equal images must have equal findings, and different ones different."""
        answers: dict[int, set[tuple[float, ...]]] = {}
        rows = dict(
            self.platform.sql("""select job_id, array_agg(probability order by finding) from study_findings
            where instance_id is null group by job_id""")
        )
        for key, job in outcome.jobs.items():
            answers.setdefault(outcome.images[key], set()).add(tuple(rows.get(job, ())))
        several = [kind for kind, values in answers.items() if len(values) != 1]
        same = len({value for values in answers.values() for value in values}) < len(answers)
        return [f"image {kind} has several answers" for kind in several] + (
            ["images share an answer"] if same else []
        )
