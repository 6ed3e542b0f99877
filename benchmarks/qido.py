"""`python benchmarks/qido.py [--studies 100000] [--explain]`: QIDO-RS's search of studies, as the gateway's role, in a database of its own.

An embedded Postgres gets one tenant's studies of one instance each, one in ten with three objects of Thorax' own, and as many of another
tenant. Each query runs for pages of 100, its text as the gateway sends it; the table shows milliseconds at the 50th and 95th percentile.

`--beside`: over HTTP, in turns with an Orthanc (DICOMweb plugin, SQLite, its default settings) that has the same instances.
"""

import argparse
import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from datetime import date, timedelta
from io import BytesIO
from pathlib import Path
from urllib.parse import urlencode
from uuid import UUID, uuid4

import httpx
import psycopg
from pydicom import Dataset, FileMetaDataset
from pydicom.uid import ComputedRadiographyImageStorage, ExplicitVRLittleEndian
from sqlalchemy import text

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.throughput import started
from gateway.dicomweb import queries
from gateway.dicomweb.keys import INSTANCE_KEYS, SERIES_KEYS, STUDY_KEYS, parse
from tests.factories.bundles import make_bundle
from tests.factories.stores import Postgres, login
from tests.factories.orthanc import run_orthanc
from thorax.http.database import async_engine, tenant_autocommit
from thorax.schema import migrate

FIRST = 100_001  # the studies' numbers have six digits
STUDIES = """
with made as (
  insert into studies (id, tenant_id, study_instance_uid, study_date, accession)
  select gen_random_uuid(), %(tenant)s, '1.2.3.' || n, date '2020-01-01' + (n %% 2500), 'A' || n
  from generate_series(%(first)s, %(last)s) n returning id, study_instance_uid as uid, right(study_instance_uid, 6)::int as n)
insert into instances (id, study_id, tenant_id, position, file_name, media_type, size_bytes, sha256, sop_instance_uid,
  series_instance_uid, modality, sop_class_uid, transfer_syntax)
select gen_random_uuid(), id, %(tenant)s, 0, 'x', 'application/dicom', 1, '', uid || '.1.1', uid || '.1',
  case n %% 10 when 0 then 'DX' else 'CR' end, '1.2.840.10008.5.1.4.1.1.1', '1.2.840.10008.1.2.1' from made"""
OWN = """
with said as (
  insert into jobs (id, tenant_id, study_id, owner, state, bundle_digest, steps_total, finished_at)
  select gen_random_uuid(), tenant_id, id, '', 'succeeded', '', 1, now() from studies
  where tenant_id = %(tenant)s and right(study_instance_uid, 1) = '1' returning id, tenant_id, study_id),
asked as (insert into derivations (job_id, tenant_id, made_at) select id, tenant_id, now() from said)
insert into derived (id, job_id, tenant_id, study_instance_uid, series_instance_uid, sop_instance_uid, sop_class_uid, modality,
  transfer_syntax, size_bytes, sha256)
select gen_random_uuid(), said.id, said.tenant_id, s.study_instance_uid, s.study_instance_uid || '.' || m, s.study_instance_uid || '.' || m || '.1',
  '', m, '1.2.840.10008.1.2.1', 1, ''
from said join studies s on s.id = said.study_id cross join unnest(array['SR', 'OT', 'PR']) m"""


def keys_of(studies: int) -> dict[str, dict[str, str]]:
    """Queries by name, for so many studies."""
    number = str(FIRST + studies * 7 // 9)
    return {
        "everything": {},
        "one UID": {"StudyInstanceUID": f"1.2.3.{number}"},
        "one day": {"StudyDate": "20230505"},
        "a year": {"StudyDate": "20230101-20231231"},
        "accession": {"AccessionNumber": f"A{number}"},
        "A1234*": {"AccessionNumber": f"A{number[:4]}*"},
        "A*": {"AccessionNumber": "A*"},
        "*23456": {"AccessionNumber": f"*{number[1:]}"},
        "A?23456": {"AccessionNumber": f"A?{number[1:]}"},
        "*2345*": {"AccessionNumber": f"*{number[1:5]}*"},
        "nothing*": {"AccessionNumber": "nothing*"},
        "DX": {"ModalitiesInStudy": "DX"},
        "MR (none)": {"ModalitiesInStudy": "MR"},
        "offset 1000": {"offset": "1000"},
        "offset 9900": {"offset": "9900"},
        "series": {},
        "series DX": {"Modality": "DX"},
        "series MR": {"Modality": "MR"},
        "series one": {"SeriesInstanceUID": f"1.2.3.{number}.1"},
        "instance": {},
        "instance one": {"SOPInstanceUID": f"1.2.3.{number}.1.1"},
    }


NAMES = list(keys_of(1))


def level_of(name: str) -> str:
    """What a query finds."""
    return name.split(maxsplit=1)[0] if name.startswith(("series", "instance")) else "study"


def percentiles(times: Sequence[float]) -> tuple[float, float]:
    """The 50th and the 95th, in milliseconds."""
    return statistics.median(times) * 1e3, statistics.quantiles(times, n=20)[-1] * 1e3


async def measure(
    url: str, tenant: UUID, keys: Mapping[str, Mapping[str, str]], rounds: int, *, explain: bool
) -> None:
    """Print a row per query; with `explain` its plan as well."""
    engine = async_engine(url, pooled=False)
    async with tenant_autocommit(engine, tenant) as connection:  # the gateway keeps its connections, too
        await queries.search(connection, tenant, "study", parse([], STUDY_KEYS))
    print(f"{'query':14} {'found':>6} {'p50 ms':>8} {'p95 ms':>8}")
    for name, pairs in keys.items():
        level, query = level_of(name), parse(pairs.items(), STUDY_KEYS | SERIES_KEYS | INSTANCE_KEYS)
        times, found = list[float](), 0
        for _ in range(rounds):
            began = time.perf_counter()
            async with tenant_autocommit(engine, tenant) as connection:
                found = len(await queries.search(connection, tenant, level, query))
            times.append(time.perf_counter() - began)
        half, most = percentiles(times)
        print(f"{name:14} {found:6} {half:8.1f} {most:8.1f}", flush=True)
        if explain:
            statement, values = queries.statement_of(tenant, level, query)
            async with tenant_autocommit(engine, tenant) as connection:
                plan = await connection.execute(text(f"explain (analyze, buffers) {statement}"), values)
            print("\n".join(f"    {line}" for line in plan.scalars()))
    await engine.dispose()


def in_database(options: argparse.Namespace, keys: Mapping[str, Mapping[str, str]]) -> None:
    """Fill a database, and measure."""
    tenant, last = uuid4(), FIRST + options.studies - 1
    with tempfile.TemporaryDirectory() as folder, Postgres(Path(folder), fast=True) as server:
        with psycopg.connect(server.dsn("postgres"), autocommit=True) as connection:
            connection.execute("create database qido")
        migrate(server.url_of("qido"))
        with psycopg.connect(server.dsn("qido"), autocommit=True) as connection:
            connection.execute("set session_replication_role = replica")  # a trigger would lock each UID
            for owner in (tenant, uuid4()):
                connection.execute(STUDIES, {"tenant": owner, "first": FIRST, "last": last})
                connection.execute(OWN, {"tenant": owner})
            connection.execute(
                "checkpoint"
            )  # or the rows are not known to be visible to all yet, and no index answers alone
            connection.execute("vacuum analyze")
        url = login(server, "qido", "thorax_gateway")
        asyncio.run(measure(url, tenant, keys, options.rounds, explain=options.explain))


def image(number: int, template: bytes) -> bytes:
    """The DICOM file of a study's only instance; the template is that of study 999999."""
    day = date(2020, 1, 1) + timedelta(number % 2500)
    filled = template.replace(b"999999", b"%d" % number).replace(b"18000101", day.strftime("%Y%m%d").encode())
    return filled if number % 10 else filled.replace(b"CS\x02\0CR", b"CS\x02\0DX")


def template() -> bytes:
    """An instance without pixels."""
    ds, meta, file = Dataset(), FileMetaDataset(), BytesIO()
    ds.SOPClassUID, ds.SOPInstanceUID = ComputedRadiographyImageStorage, "1.2.3.999999.1.1"
    ds.StudyInstanceUID, ds.SeriesInstanceUID = "1.2.3.999999", "1.2.3.999999.1"
    ds.StudyDate, ds.AccessionNumber, ds.PatientID, ds.PatientName = (
        "18000101",
        "A999999",
        "P999999",
        "P999999^",
    )
    ds.Modality, ds.InstanceNumber, ds.SeriesNumber = "CR", 1, 1
    meta.TransferSyntaxUID, meta.MediaStorageSOPClassUID = ExplicitVRLittleEndian, ds.SOPClassUID
    meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    ds.file_meta = meta
    ds.save_as(file, enforce_file_format=True)
    return file.getvalue()


def fill(orthanc: httpx.Client, studies: int) -> None:
    """Store all instances by Orthanc's REST API."""
    made, began = template(), time.perf_counter()

    def store(number: int) -> None:
        # Orthanc 1.10 ends a kept connection now and then, when it is busy.
        answer = orthanc.post("/instances", content=image(number, made), headers={"Connection": "close"})
        answer.raise_for_status()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(store, range(FIRST, FIRST + studies)))
    print(f"Orthanc took {studies} instances in {time.perf_counter() - began:.0f} s", flush=True)


@contextmanager
def thorax(folder: Path, studies: int) -> Iterator[httpx.Client]:
    """A client of a tenant with the same studies; another tenant has as many."""
    with ExitStack() as stack:
        platform, _ = started(stack, make_bundle(folder / "tiny", 1), workers=1)
        tenant = uuid4()
        client = stack.enter_context(platform.client(tenant))
        tables = ("studies", "instances")
        for table in tables:
            platform.sql(f"alter table {table} disable trigger user")
        for owner in (tenant, uuid4()):
            platform.sql(
                STUDIES.replace("%(tenant)s", f"'{owner}'::uuid")
                .replace("%(first)s", str(FIRST))
                .replace("%(last)s", str(FIRST + studies - 1))
            )
        for table in tables:
            platform.sql(f"alter table {table} enable trigger user")
            platform.sql(f"vacuum analyze {table}")
        yield client


def beside(options: argparse.Namespace, keys: Mapping[str, Mapping[str, str]]) -> None:
    """Ask Thorax and Orthanc in turns, and print both."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        ours = stack.enter_context(thorax(folder, options.studies))
        theirs = stack.enter_context(run_orthanc(folder))
        fill(theirs, options.studies)
        print(
            "| query | found | Thorax p50 | p95 | Orthanc p50 | p95 | ratio of p50 |\n|---|---:|---:|---:|---:|---:|---:|"
        )
        for name, pairs in keys.items():
            level = {"study": "studies", "instance": "instances"}.get(level_of(name), "series")
            # Wildcards that are encoded are none to Orthanc 1.10.
            query = urlencode({"limit": "100", **pairs}, safe="*?")
            asked = [(ours, f"/dicomweb/{level}"), (theirs, f"/dicom-web/{level}")]
            times, found = ([], []), [0, 0]
            for _ in range(options.rounds):
                for one, (client, path) in enumerate(asked):
                    began = time.perf_counter()
                    answer = client.get(f"{path}?{query}", headers={"Accept": "application/dicom+json"})
                    answer.raise_for_status()
                    times[one].append(time.perf_counter() - began)
                    found[one] = len(answer.json())
            (half, most), (their_half, their_most) = map(percentiles, times)
            count = f"{found[0]}" if found[0] == found[1] else f"{found[0]}, {found[1]}"
            print(
                f"| {name} | {count} | {half:.1f} | {most:.1f} | {their_half:.1f} | {their_most:.1f} | {their_half / half:.1f} |",
                flush=True,
            )


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--studies", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--explain", action="store_true")
    parser.add_argument("--beside", action="store_true")
    parser.add_argument("--only", nargs="*", default=NAMES, choices=NAMES)
    options = parser.parse_args()
    keys = keys_of(options.studies)
    (beside if options.beside else in_database)(options, {name: keys[name] for name in options.only})


if __name__ == "__main__":
    main()
