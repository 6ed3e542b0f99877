"""What is kept for how long, in a real database and a real folder of blobs."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from click.testing import CliRunner, Result

from aggregator.config import AggregatorSettings
from aggregator.duties import run_once
from aggregator.housekeeping import Housekeeping
from aggregator.retention import Retention
from tests.factories.patience import PATIENCE_S, until
from thorax import database
from thorax.commands.cli import cli
from thorax.storage import DISPLAY, ORIGINAL, BlobStore, input_name

INPUT = input_name("224")
SETUP = "insert into bundles (digest, name, version, manifest, card, active) values ('b', 'n', '1', '{}', '', true)"
STUDY = """
with study as (insert into studies (id, tenant_id, study_instance_uid, created_at)
  values (%(id)s, %(tenant)s, '1.2.3', now() - make_interval(days => %(days)s))),
image as (insert into instances (id, study_id, tenant_id, position, file_name, media_type, size_bytes, sha256)
  values (%(id)s, %(id)s, %(tenant)s, 0, 'x', 'image/png', 1, '')),
job as (insert into jobs (id, tenant_id, study_id, owner, bundle_digest, steps_total, state)
  values (%(id)s, %(tenant)s, %(id)s, 'o', 'b', 2, %(state)s)),
prediction as (insert into predictions values (%(id)s, %(id)s, 'net', '{0.5}', 'maps', '{1}'))
insert into heatmaps values (%(id)s, %(id)s, 'maps', '{1}')"""

ARRIVAL = """
insert into arrivals (study_id, tenant_id, study_instance_uid, source, owner, priority, settles_at)
values (%(id)s, %(tenant)s, '1.2.3', 'STOW-RS', 'o', 1, now())"""

BLOCKED = "select 1 from pg_stat_activity where datname = current_database() and cardinality(pg_blocking_pids(pid)) > 0"


class Kept:
    """A database and blobs, and a sweeper's retention."""

    def __init__(self, folder: Path, url: str, sweeper: str, worker: str) -> None:
        self.url, self.blobs, self.tenant = url, BlobStore(str(folder)), uuid4()
        self._folder, self.worker = folder / "instances", worker.replace("+psycopg", "")
        self.owner = psycopg.connect(url.replace("+psycopg", ""), autocommit=True)
        self.owner.execute(SETUP)
        self.owner.execute("insert into auth.tenants (id) values (%s)", [self.tenant])
        self._engine = database.engine(sweeper)

    def study(self, days: int, state: str = "succeeded", tenant: UUID | None = None) -> UUID:
        """One that is so many days old, with an image and all that can belong to it."""
        id_ = uuid4()
        self.owner.execute(STUDY, {"id": id_, "tenant": tenant or self.tenant, "days": days, "state": state})
        (self._folder / str(id_)).mkdir()
        for name in (ORIGINAL, DISPLAY, INPUT):
            self.blobs.put(id_, name, b"x")
        return id_

    def left(self, id_: UUID) -> set[str]:
        """What is left of a study."""
        files = {file.name for file in (self._folder / str(id_)).iterdir()}
        for name, query in (
            ("results", "select 1 from jobs where id = %s"),
            ("heatmaps", "select 1 from heatmaps where job_id = %s"),
            ("maps", "select 1 from predictions where maps <> '' and job_id = %s"),
        ):
            if self.owner.execute(query.encode(), [id_]).fetchone():
                files.add(name)
        return files

    def sweep(self) -> None:
        run_once(Retention(self._engine, self.blobs).duties)

    def tidy(self) -> None:
        """What else a sweeper deletes: what has expired, and what belongs to tenants that have left."""
        settings = AggregatorSettings(database_url="postgresql+psycopg://u@127.0.0.1/unused")
        Housekeeping(settings, self._engine, self.blobs).expire()

    def run(self, *words: str) -> Result:
        return CliRunner().invoke(cli, ["admin", "retention", *words], env={"THORAX_DATABASE_URL": self.url})

    def audit(self, action: str) -> list[Any]:
        query = "select detail from audit where action = %s and tenant_id = %s order by id"
        return [row[0] for row in self.owner.execute(query, [action, self.tenant])]


ALL = {ORIGINAL, DISPLAY, INPUT, "results", "heatmaps", "maps"}


@pytest.fixture
def kept(tmp_path: Path, database_url: str, url_as: Callable[[str], str]) -> Kept:
    return Kept(tmp_path, database_url, url_as("thorax_aggregator"), url_as("thorax_worker"))


def test_without_a_word_everything_is_kept(kept: Kept) -> None:
    study = kept.study(days=10_000)
    kept.sweep()
    assert kept.left(study) == ALL


def test_each_kind_has_its_age(kept: Kept) -> None:
    ages = {days: kept.study(days) for days in (1, 9, 31, 366)}
    assert kept.run("set", "all", "--inputs", "7", "--maps", "30", "--originals", "365").exit_code == 0
    kept.sweep()
    assert kept.left(ages[1]) == ALL
    assert kept.left(ages[9]) == ALL - {INPUT}
    assert kept.left(ages[31]) == ALL - {INPUT, "heatmaps", "maps"}
    assert kept.left(ages[366]) == {"results"}
    assert [row["kinds"] for row in kept.audit("expired")][-1] == ["maps", "inputs", "originals"]


def test_what_a_retry_makes_again_is_erased_again(kept: Kept) -> None:
    study = kept.study(days=31)
    kept.run("set", "all", "--inputs", "7", "--maps", "30")
    kept.sweep()
    kept.blobs.put(study, INPUT, b"x")
    with psycopg.connect(kept.worker, autocommit=True) as worker:
        worker.execute("update instances set state = 'prepared' where id = %s", [study])
        worker.execute("update predictions set maps = 'maps' where job_id = %s", [study])
    assert kept.left(study) == ALL - {"heatmaps"}
    kept.sweep()
    assert kept.left(study) == ALL - {INPUT, "heatmaps", "maps"}


def test_results_end_with_the_whole_study(kept: Kept) -> None:
    old, new = kept.study(100), kept.study(1)
    kept.run("set", str(kept.tenant), "--results", "99")
    kept.sweep()
    assert "results" not in kept.left(old)
    assert kept.owner.execute("select instance_id from blobs_pending_deletion").fetchall() == [(old,)]
    assert kept.left(new) == ALL
    assert kept.audit("erased") == [{"study": str(old)}]


def test_a_tenant_s_own_days_replace_those_of_all(kept: Kept) -> None:
    own, others = kept.study(9), kept.study(9, tenant=uuid4())
    kept.run("set", "all", "--inputs", "7")
    shown = kept.run("set", str(kept.tenant), "--maps", "300").output
    assert f"{kept.tenant}: originals for ever, inputs for ever, maps 300, results for ever" in shown
    nobody = kept.run("set", str(uuid4()), "--maps", "300")
    assert (nobody.exit_code, nobody.output) == (1, "Error: No tenant has this id.\n")
    kept.sweep()
    assert (kept.left(own), kept.left(others)) == (ALL, ALL - {INPUT})


def test_what_is_held_or_in_work_is_kept(kept: Kept) -> None:
    held, working = kept.study(99), kept.study(99, state="running")
    kept.run("hold", str(kept.tenant), str(held))
    kept.run("set", "all", "--originals", "1", "--inputs", "1", "--maps", "1", "--results", "1")
    kept.sweep()
    assert kept.left(held) == kept.left(working) == ALL
    refused = kept.run("erase", str(kept.tenant), str(held))
    assert (refused.exit_code, "under legal hold" in refused.output) == (1, True)
    assert kept.audit("held") == [{}]
    kept.run("release", str(kept.tenant), str(held))
    kept.sweep()
    assert "results" not in kept.left(held)


@pytest.mark.parametrize("named_by", ["the door", "a worker"])
def test_what_comes_under_the_uid_of_a_held_study_is_kept(kept: Kept, named_by: str) -> None:
    kept.study(99)
    assert kept.run("hold", str(kept.tenant), "1.2.3").output == "1 studies are held.\n"
    later, others = kept.study(99), kept.study(99, tenant=uuid4())
    if named_by == "a worker":
        kept.owner.execute(
            "update studies set study_instance_uid = null, held_since = null where id = %s", [later]
        )
        with psycopg.connect(kept.worker) as worker:
            worker.execute("update studies set study_instance_uid = '1.2.3' where id = %s", [later])
    kept.run("set", "all", "--results", "1")
    kept.sweep()
    assert kept.left(later) == ALL and "results" not in kept.left(others)
    assert kept.run("erase", str(kept.tenant), str(later).upper()).exit_code == 1
    assert kept.run("release", str(kept.tenant), "1.2.3").output == "2 studies are not held.\n"


def test_what_came_late_is_analysed_before_its_old_study_is_erased(kept: Kept) -> None:
    study = kept.study(99)
    kept.owner.execute(ARRIVAL, {"id": study, "tenant": kept.tenant})
    kept.run("set", "all", "--results", "1")
    kept.sweep()
    assert kept.left(study) == ALL
    kept.owner.execute("update arrivals set settles_at = null")
    kept.sweep()
    assert "results" not in kept.left(study)


@pytest.mark.parametrize("why", ["asked", "old", "left", "expired"])
def test_an_erasure_and_a_sender_of_the_same_study_do_not_wait_for_each_other(kept: Kept, why: str) -> None:
    """Each would hold what the other needs, and the database would end one of them."""
    study = kept.study(99)
    kept.owner.execute(ARRIVAL, {"id": study, "tenant": kept.tenant})
    kept.owner.execute("update arrivals set settles_at = null")
    kept.run("set", "all", *(["--results", "1"] if why == "old" else []))
    if why == "left":
        kept.owner.execute("insert into tenants_pending_deletion (tenant_id) values (%s)", [kept.tenant])
    if why == "expired":
        kept.owner.execute("update jobs set expires_at = now()")
    erasure: Callable[[], object] = {
        "asked": lambda: kept.run("erase", str(kept.tenant), str(study)),
        "old": kept.sweep,
    }.get(why, kept.tidy)
    with ThreadPoolExecutor() as at_once, psycopg.connect(kept.url.replace("+psycopg", "")) as sender:
        sender.execute("select lock_studies(%s, array['1.2.3'])", [kept.tenant])
        done = at_once.submit(erasure)
        until(lambda: kept.owner.execute(BLOCKED).fetchone())
        sender.execute(
            "insert into instances (id, study_id, tenant_id, position, file_name, media_type, size_bytes, sha256) "
            "values (gen_random_uuid(), %s, %s, 1, 'x', 'image/png', 1, '')",
            [study, kept.tenant],
        )
        sender.commit()
        done.result(PATIENCE_S)
    assert "results" not in kept.left(study)
    assert kept.owner.execute("select count(*) from blobs_pending_deletion").fetchone() == (2,)


def test_a_disk_that_fills_costs_maps_then_inputs_and_never_originals(
    kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = kept.study(0)
    monkeypatch.setattr(kept.blobs, "room", lambda: (2**30, 2**40))
    rounds = []
    for _ in range(3):
        kept.sweep()
        rounds.append(ALL - kept.left(study))
    assert rounds == [{"heatmaps", "maps"}, {"heatmaps", "maps", INPUT}, {"heatmaps", "maps", INPUT}]


def test_erasure_on_request_has_a_receipt(kept: Kept) -> None:
    study = kept.study(0)
    erased = kept.run("erase", str(kept.tenant), "1.2.3")
    assert (erased.exit_code, f"erased {study}" in erased.output) == (0, True), erased.output
    assert "results" not in kept.left(study)
    kept.owner.execute("delete from blobs_pending_deletion")  # as the sweeper does when the files are gone
    assert f"files_erased {study}" in kept.run("receipt", str(kept.tenant), str(study)).output
    assert kept.run("erase", str(kept.tenant), "1.2.3").exit_code == 1
