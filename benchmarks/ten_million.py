"""The ledger with 10 million steps and 10 million predictions, beside one with 10,000: `python benchmarks/ten_million.py`.

Rows are made by SQL in an embedded Postgres without durability. Both databases are asked in turns, and what counts is the time
that Postgres was on a CPU, so that a busy machine says the same. Exit code 1 unless a claim's p95 is at most 1.5 times that of the small one and a study is erased within 20 ms.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from types import ModuleType
from typing import Any
from uuid import UUID

import psycopg
import yaml
from sqlalchemy import Connection, TextClause, delete, insert, select, text

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from aggregator import housekeeping, ledger_metrics, recovery
from benchmarks.throughput import quantile, row
from gateway.tables import BlobPendingDeletion, Instance, Job, Study
from local_stack.roles import create_database
from tests.factories.stores import Postgres
from thorax import database, queries
from thorax.schema import migrate
from thorax.states import StepKind
from thorax.work import ledger

SMALL = 10_000
BACKBONES = tuple(f"net{n}" for n in range(5))
WAITING = 2000  # THORAX_HIGH_WATER_STEPS
CLAIMS, ERASURES, WARM = 400, 80, 20
ASKED: list[tuple[ModuleType, list[str]]] = [
    (recovery, ["due", "revive", "exhausted_jobs", "late_jobs"]),
    (housekeeping, ["due", "unserved_jobs", "delete_old_steps", "delete_old_keys"]),
    (ledger_metrics, ["open_work", "totals"]),
    (ledger, ["waiting"]),
]
# `age_s`: old enough are 2000 steps, which a round deletes, in the small database too.
VALUES: dict[str, Any] = {"max_attempts": 5, "deadline_s": 60, "quorum": 3, "age_s": 300, "older_than_s": 5}
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


class Backend:
    """One connection, whose server process says how long it was on a CPU: waiting for one is not the database's doing."""

    def __init__(self, url: str) -> None:
        self.connection = database.engine(url).connect()
        pid = self.connection.scalar(text("select pg_backend_pid()"))
        self._times = Path(f"/proc/{pid}/schedstat")
        self.connection.rollback()

    def took(self, statement: Callable[[Connection], object], *, keep: bool = False) -> float:
        """CPU seconds of the server for one transaction."""
        before = self._cpu()
        with self.connection.begin() as transaction:
            statement(self.connection)
            if not keep:
                transaction.rollback()
        return self._cpu() - before

    def _cpu(self) -> float:
        return int(self._times.read_text().split()[0]) / 1e9


def claim(connection: Connection) -> None:
    """One claim, as a worker makes it."""
    able = ledger.Capabilities((StepKind.PREPARE, StepKind.INFER), BACKBONES, ("d",), loaded=("d",))
    assert ledger.claim(connection, able, worker="w", lease_s=30)


def asked() -> dict[str, TextClause]:
    """What the sweeper, Prometheus, the gateway and KEDA ask again and again."""
    found = {}
    for module, names in ASKED:
        of = module.__name__.rpartition(".")[2]
        found |= {f"{of}: {name}": queries.load(str(module.__file__))[name] for name in names}
    keda = next(yaml.safe_load_all((ROOT / "k8s/base/keda.yaml").read_text()))
    return found | {"KEDA's query": text(keda["spec"]["triggers"][0]["metadata"]["query"])}


def erase(connection: Connection, job_id: UUID, study_id: UUID) -> None:
    """What the gateway's repository does, which is asynchronous."""
    connection.execute(delete(Job).where(Job.id == job_id))
    assert connection.execute(select(Job.id).where(Job.study_id == study_id).limit(1)).first() is None
    ids = list(connection.execute(select(Instance.id).where(Instance.study_id == study_id)).scalars())
    connection.execute(insert(BlobPendingDeletion), [{"instance_id": i} for i in ids])
    connection.execute(delete(Study).where(Study.id == study_id))


def compare(backends: list[Backend]) -> bool:
    """Print the table; whether both goals are met."""
    claimed = [[each.took(claim, keep=True) for each in backends] for _ in range(CLAIMS)][WARM:]
    p95 = [quantile([pair[n] for pair in claimed], 0.95) for n in (0, 1)]
    row("claim, p95", f"{p95[0]:.2f} and {p95[1]:.2f}", f"{p95[1] / p95[0]:.2f} <= 1.5")
    for name, statement in asked().items():
        values = {key: value for key, value in VALUES.items() if f":{key}" in statement.text}
        times = [
            median(each.took(lambda c, s=statement, v=values: c.execute(s, v)) for _ in range(9))
            for each in backends
        ]
        row(name, " and ".join(f"{each * 1000:.2f}" for each in times), "")
    gone = [erased(each)[WARM:] for each in backends]
    row("erasure of a study, p95", " and ".join(f"{quantile(each, 0.95):.2f}" for each in gone), "<= 20")
    return p95[1] <= 1.5 * p95[0] and quantile(gone[1], 0.95) <= 20


def erased(backend: Backend) -> list[float]:
    """CPU seconds for each of some studies, from anywhere in the tables."""
    sample = "select id, study_id from jobs where finished_at is not null order by md5(id::text) limit :n"
    found = backend.connection.execute(text(sample), {"n": ERASURES}).all()
    backend.connection.rollback()
    return [backend.took(lambda c, each=each: erase(c, *each), keep=True) for each in found]


def main() -> None:
    """Fill both, and measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000_000, help="predictions; steps are a few more")
    rows = parser.parse_args().rows
    with tempfile.TemporaryDirectory() as folder, Postgres(Path(folder), fast=True) as postgres:
        began = time.perf_counter()
        urls = fill(postgres, "small", SMALL), fill(postgres, "large", rows)
        print(f"filled in {time.perf_counter() - began:.0f} s\n")
        row(f"ms of CPU in Postgres: {SMALL:,} and {rows:,} predictions", "", "goal")
        met = compare([Backend(url) for url in urls])
    sys.exit(not met)


if __name__ == "__main__":
    main()
