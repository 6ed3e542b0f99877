"""The ledger with 10 million steps and 10 million predictions, beside one with 10,000: `python benchmarks/ten_million.py`.

Rows are made by SQL in an embedded Postgres without durability. Both databases are asked in turns, so that a busy machine
slows both. Exit code 1 unless a claim's p95 is at most 1.5 times that of the small one and a study is erased within 20 ms.
"""

import argparse
import asyncio
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from types import ModuleType
from typing import Any

import psycopg
import yaml
from sqlalchemy import Engine, TextClause, text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from aggregator import housekeeping, ledger_metrics, recovery
from benchmarks.throughput import quantile, row
from gateway.jobs import repository
from local_stack.roles import create_database
from local_stack.stores import Postgres
from thorax import database, queries
from thorax.schema import migrate
from thorax.states import StepKind
from thorax.work import ledger

SMALL = 10_000
BACKBONES = tuple(f"net{n}" for n in range(5))
WAITING = 2000  # THORAX_HIGH_WATER_STEPS
CLAIMS, ERASURES = 400, 60
ASKED: list[tuple[ModuleType, list[str]]] = [
    (recovery, ["any_open", "revive", "exhausted_jobs", "late_jobs"]),
    (housekeeping, ["unserved_jobs", "delete_old_steps", "delete_old_keys"]),
    (ledger_metrics, ["open_work", "totals"]),
    (ledger, ["waiting"]),
]
VALUES: dict[str, Any] = {"max_attempts": 5, "deadline_s": 60, "quorum": 3, "age_s": 3600}
# Jobs of one image, all done but the last; `:rows` counts predictions, five of each image. A job's steps are seven.
FILL = """
set session_replication_role = replica;
insert into bundles (digest, name, version, manifest, card, active) values ('d', 'b', '1', '{"backbones": []}', '', true);
create temporary table made as
select gen_random_uuid() as job, gen_random_uuid() as study, gen_random_uuid() as image, n, n > :jobs - :waiting as open,
  md5((n % 50)::text)::uuid as tenant, now() - make_interval(secs => (:jobs - n) * 0.2) as at
from generate_series(1, :jobs) n;
insert into studies (id, tenant_id, created_at) select study, tenant, at from made;
insert into instances (id, study_id, tenant_id, position, file_name, media_type, size_bytes, sha256, state)
select image, study, tenant, 0, 'a.dcm', 'application/dicom', 1, md5(n::text), 'prepared' from made;
insert into jobs (id, tenant_id, study_id, owner, state, bundle_digest, steps_total, steps_done, created_at, finished_at)
select job, tenant, study, 'o', case when open then 'queued' else 'succeeded' end, 'd', 7, case when open then 0 else 7 end,
  at, case when open then null else at + interval '2 s' end from made;
insert into steps (job_id, instance_id, kind, backbone, bundle_digest, priority, state, attempts, worker, created_at, not_before,
  started_at, finished_at)
select job, case when k < 7 then image end, case k when 1 then 'prepare' when 7 then 'aggregate' else 'infer' end,
  case when k between 2 and 6 then 'net' || k - 2 end, 'd', 1, case when open then 'waiting' else 'done' end,
  case when open then 0 else 1 end, 'w', at, at, at, at from made, generate_series(1, 7) k where k = 1 or not open order by n, k;
insert into predictions (job_id, instance_id, backbone, probabilities, maps, map_shape)
select job, image, 'net' || k, array_fill(0.5::real, array[14]), '\\x00', '{1,1,1}'
from made, generate_series(0, 4) k where not open order by n;
insert into heatmaps (job_id, instance_id, maps, map_shape) select job, image, '\\x00', '{1,1,1}' from made where not open;
insert into study_findings (job_id, finding, probability, threshold, positive, disagreement, verdict)
select job, 'effusion', 0.5, 0.4, true, 0, 'likely' from made where not open;
"""


def fill(postgres: Postgres, name: str, predictions: int) -> str:
    """A migrated database with so many predictions (and a few more steps); its owner's URL."""
    url = create_database(postgres, name)
    migrate(url)
    with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as connection:
        tables = ("studies", "instances", "jobs", "steps", "predictions", "heatmaps", "study_findings")
        indexes = connection.execute(
            "select indexname, indexdef from pg_indexes where tablename = any(%s) and indexdef not like 'CREATE UNIQUE%%'",
            [list(tables)],
        ).fetchall()
        for index, _ in indexes:
            connection.execute(f'drop index "{index}"')
        for statement in FILL.split(";\n"):
            values = {":jobs": predictions // 5 + WAITING, ":waiting": WAITING}
            for key, value in values.items():
                statement = statement.replace(key, str(value))  # noqa: PLW2901
            connection.execute(statement)
        connection.execute("set maintenance_work_mem = '512MB'")
        for _, definition in indexes:
            connection.execute(definition)
        connection.execute("reset session_replication_role")
        connection.execute("vacuum analyze")
    return url


def claim(engine: Engine) -> None:
    """One claim, as a worker makes it."""
    able = ledger.Capabilities((StepKind.PREPARE, StepKind.INFER), BACKBONES, ("d",), loaded=("d",))
    with engine.begin() as connection:
        assert ledger.claim(connection, able, worker="w", lease_s=30)


def asked() -> dict[str, TextClause]:
    """What the sweeper, Prometheus, the gateway and KEDA ask again and again."""
    found = {}
    for module, names in ASKED:
        found |= {name: queries.load(str(module.__file__))[name] for name in names}
    keda = next(yaml.safe_load_all((ROOT / "k8s/base/keda.yaml").read_text()))
    return found | {"KEDA's query": text(keda["spec"]["triggers"][0]["metadata"]["query"])}


def timed(engine: Engine, statement: TextClause) -> float:
    """Seconds that one statement takes; it is rolled back."""
    values = {name: value for name, value in VALUES.items() if f":{name}" in statement.text}
    with engine.connect() as connection:
        began = time.perf_counter()
        connection.execute(statement, values)
        return time.perf_counter() - began


async def erase(engine: AsyncEngine, count: int) -> list[float]:
    """Seconds that it takes to erase each of some studies, as the gateway does it; committed."""
    seconds = []
    async with engine.connect() as connection:
        sample = text(
            "select id, study_id from jobs where finished_at is not null order by md5(id::text) limit :n"
        )
        found = (await connection.execute(sample, {"n": count})).all()
    for job_id, study_id in found:
        began = time.perf_counter()
        async with engine.begin() as connection:
            await repository.erase(connection, job_id, study_id)
        seconds.append(time.perf_counter() - began)
    await engine.dispose()
    return seconds


def compare(small: str, large: str) -> bool:
    """Print the table; whether both goals are met."""
    engines = [database.engine(url) for url in (small, large)]
    claimed: list[list[float]] = [[], []]
    for _ in range(CLAIMS):
        for engine, seconds in zip(engines, claimed, strict=True):
            began = time.perf_counter()
            claim(engine)
            seconds.append(time.perf_counter() - began)
    p95 = [quantile(seconds[20:], 0.95) for seconds in claimed]
    row("claim, p95 ms", f"{p95[0]:.2f} and {p95[1]:.2f}", f"{p95[1] / p95[0]:.2f} <= 1.5")
    for name, statement in asked().items():
        both = [[timed(engine, statement) for _ in range(5)] for engine in engines]
        row(f"{name}, ms", " and ".join(f"{median(each) * 1000:.2f}" for each in both), "")
    gone = [asyncio.run(erase(create_async_engine(url), ERASURES)) for url in (small, large)]
    row("erasure of a study, median ms", " and ".join(f"{median(each) * 1000:.2f}" for each in gone), "<= 20")
    row("erasure of a study, p95 ms", " and ".join(f"{quantile(each, 0.95):.2f}" for each in gone), "")
    return p95[1] <= 1.5 * p95[0] and median(gone[1]) <= 0.02


def main() -> None:
    """Fill both, and measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000_000, help="predictions; steps are a few more")
    rows = parser.parse_args().rows
    with tempfile.TemporaryDirectory() as folder, Postgres(Path(folder), fast=True) as postgres:
        began = time.perf_counter()
        small, large = fill(postgres, "small", SMALL), fill(postgres, "large", rows)
        print(f"filled in {time.perf_counter() - began:.0f} s\n")
        row(f"{SMALL} and {rows} predictions", "", "goal")
        met = compare(small, large)
    sys.exit(not met)


if __name__ == "__main__":
    main()
