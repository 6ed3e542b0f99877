"""`python benchmarks/qido.py [--studies 100000] [--explain]`: QIDO-RS's search of studies, as the gateway's role, in a database of its own.

An embedded Postgres gets one tenant's studies of one instance each, and as many of other tenants'. Each query runs for pages of 100, its text as the
gateway sends it; the table shows milliseconds at the 50th and 95th percentile.
"""

import argparse
import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from uuid import UUID, uuid4

import psycopg
from sqlalchemy import text

sys.path.insert(0, str(Path(__file__).parents[1]))

from gateway.dicomweb import queries
from gateway.dicomweb.keys import INSTANCE_KEYS, SERIES_KEYS, STUDY_KEYS, parse
from tests.factories.stores import Postgres, login
from thorax.http.database import async_engine, tenant_autocommit
from thorax.schema import migrate

FILL = """
with made as (
  insert into studies (id, tenant_id, study_instance_uid, study_date, accession)
  select gen_random_uuid(), %(tenant)s, '1.2.3.' || %(root)s || '.' || n, date '2020-01-01' + (n %% 2500), 'A' || lpad(n::text, 7, '0')
  from generate_series(1, %(studies)s) n returning id)
insert into instances (id, study_id, tenant_id, position, file_name, media_type, size_bytes, sha256, sop_instance_uid,
  series_instance_uid, modality, transfer_syntax)
select gen_random_uuid(), id, %(tenant)s, 0, 'x', 'application/dicom', 1, '', id::text, id::text, case when random() < 0.1 then 'DX' else 'CR' end,
  '1.2.840.10008.1.2.1' from made"""
QUERIES = {
    "everything": {},
    "one UID": {"StudyInstanceUID": "1.2.3.1.77777"},
    "one day": {"StudyDate": "20230505"},
    "a year": {"StudyDate": "20230101-20231231"},
    "accession": {"AccessionNumber": "A0077777"},
    "A00777*": {"AccessionNumber": "A00777*"},
    "A*": {"AccessionNumber": "A*"},
    "*77777": {"AccessionNumber": "*77777"},
    "A?077777": {"AccessionNumber": "A?077777"},
    "nothing*": {"AccessionNumber": "nothing*"},
    "DX": {"ModalitiesInStudy": "DX"},
    "MR (none)": {"ModalitiesInStudy": "MR"},
    "offset 1000": {"offset": "1000"},
    "offset 10000": {"offset": "10000"},
    "series": {},
    "series DX": {"Modality": "DX"},
    "series MR": {"Modality": "MR"},
    "series one": {"SeriesInstanceUID": "1.2.3"},
    "instance": {},
    "instance one": {"SOPInstanceUID": "1.2.3"},
}


async def measure(url: str, tenant: UUID, names: Sequence[str], rounds: int, *, explain: bool) -> None:
    """Print a row per query; with `explain` its plan as well."""
    engine = async_engine(url, pooled=False)
    print(f"{'query':14} {'found':>6} {'p50 ms':>8} {'p95 ms':>8}")
    for name in names:
        level = name.split()[0] if name.startswith(("series", "instance")) else "study"
        query = parse(list(QUERIES[name].items()), STUDY_KEYS | SERIES_KEYS | INSTANCE_KEYS)
        times, found = list[float](), 0
        for _ in range(rounds):
            began = time.perf_counter()
            async with tenant_autocommit(engine, tenant) as connection:
                found = len(await queries.search(connection, tenant, level, query))
            times.append((time.perf_counter() - began) * 1e3)
        print(
            f"{name:14} {found:6} {statistics.median(times):8.1f} {statistics.quantiles(times, n=20)[-1]:8.1f}",
            flush=True,
        )
        if explain:
            statement, values = queries.statement_of(tenant, level, query)
            async with tenant_autocommit(engine, tenant) as connection:
                plan: Sequence[str] = (
                    (await connection.execute(text(f"explain (analyze, buffers) {statement}"), values))
                    .scalars()
                    .all()
                )
            print("\n".join(f"    {line}" for line in plan))
    await engine.dispose()


def main() -> None:
    """Fill a database, and measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--studies", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--explain", action="store_true")
    parser.add_argument("--only", nargs="*", default=list(QUERIES), choices=list(QUERIES))
    arguments = parser.parse_args()
    tenant = uuid4()
    with tempfile.TemporaryDirectory() as folder, Postgres(Path(folder), fast=True) as server:
        with psycopg.connect(server.dsn("postgres"), autocommit=True) as connection:
            connection.execute("create database qido")
        migrate(server.url_of("qido"))
        with psycopg.connect(server.dsn("qido"), autocommit=True) as connection:
            connection.execute("set session_replication_role = replica")  # a trigger would lock each UID
            for root, owner in enumerate((tenant, uuid4()), 1):
                connection.execute(FILL, {"tenant": owner, "root": str(root), "studies": arguments.studies})
            connection.execute("vacuum analyze studies, instances")
        asyncio.run(
            measure(
                login(server, "qido", "thorax_gateway"),
                tenant,
                arguments.only,
                arguments.rounds,
                explain=arguments.explain,
            )
        )


if __name__ == "__main__":
    main()
