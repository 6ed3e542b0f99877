"""What a shadow bundle is given to repeat, by the schema's function on a real Postgres."""

from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import orjson
import pytest
from sqlalchemy import Engine, text

from aggregator.config import AggregatorSettings
from aggregator.housekeeping import Housekeeping
from thorax import database
from thorax.states import SHADOW_PRIORITY, StepKind
from thorax.storage import BlobStore
from thorax.work import ledger
from thorax.work.ledger import Capabilities, NewStep

JOB = text("""
with study as (insert into studies (id, tenant_id) values (:study, :tenant)),
image as (insert into instances (id, study_id, tenant_id, position, file_name, media_type, size_bytes, sha256, state)
  values (:image, :study, :tenant, 0, 'x', 'image/png', 1, '', :image_state))
insert into jobs (id, tenant_id, study_id, owner, bundle_digest, steps_total, steps_done, state, finished_at,
  missing_backbones)
values (:job, :tenant, :study, 'o', 'real', 3, 3, :state, now() - interval '10 seconds', :missing)""")
INPUT = {"size": 64, "equalise": False, "crop": None, "channels": 1}
BOTH = Capabilities((StepKind.PREPARE, StepKind.INFER), ("x", "y"), ("real", "shadow"))


class Book:
    """A database with the bundles `real` (active) and `shadow`, of backbones x and y."""

    def __init__(self, owner: Engine, aggregator: Engine, gateway: Engine) -> None:
        self.owner, self.aggregator, self.gateway = owner, aggregator, gateway
        self.bundle("real", INPUT, active=True)

    def do(self, statement: str, **values: Any) -> list[Any]:
        with self.owner.begin() as connection:
            result = connection.execute(text(statement), values)
            return list(result.all()) if result.returns_rows else []

    def bundle(self, digest: str, spec: dict[str, Any], *, active: bool = False, share: Any = None) -> None:
        manifest = orjson.dumps({"backbones": [{"name": name, "input": spec} for name in "xy"]}).decode()
        self.do(
            "insert into bundles (digest, name, version, manifest, card, active, shadow_share, shadow_seen) "
            "values (:digest, :digest, '1', cast(:manifest as jsonb), '', :active, :share, now() - interval '1 hour')",
            digest=digest,
            manifest=manifest,
            active=active,
            share=share,
        )

    def job(self, state: str = "succeeded", image: str = "prepared", missing: tuple[str, ...] = ()) -> UUID:
        ids = {name: uuid4() for name in ("job", "study", "tenant", "image")}
        with self.owner.begin() as connection:
            connection.execute(JOB, {**ids, "state": state, "image_state": image, "missing": list(missing)})
        return ids["job"]

    def enqueue(self, at_most: int = 20) -> int:
        """As the sweeper does it, with the sweeper's rights."""
        with self.aggregator.begin() as connection:
            return int(
                connection.execute(text("select enqueue_shadow_jobs(:n)"), {"n": at_most}).scalar_one()
            )

    def steps(self) -> list[Any]:
        return self.do(
            "select s.kind, s.backbone, s.bundle_digest, s.priority from steps s join jobs j on j.id = s.job_id "
            "where j.shadow_of is not null order by s.id"
        )


@pytest.fixture
def book(database_url: str, url_as: Callable[[str], str]) -> Book:
    roles = (database.engine(url_as(f"thorax_{role}")) for role in ("aggregator", "gateway"))
    return Book(database.engine(database_url), *roles)


@pytest.mark.parametrize(("full", "asked"), [(False, ["y"]), (True, ["x", "y"])])
def test_a_shadow_with_a_cascade_asks_its_first(book: Book, full: bool, asked: list[str]) -> None:
    book.bundle("shadow", INPUT, share=1)
    book.do(
        """update bundles set manifest = manifest || '{"cascade"\\: {"first"\\: ["y"]}}' where digest = 'shadow'"""
    )
    job = book.job()
    book.do("update jobs set full_ensemble = :full where id = :job", full=full, job=job)
    assert book.enqueue() == 1
    assert [step.backbone for step in book.steps()] == asked


def test_without_a_shadow_nothing_is_repeated(book: Book) -> None:
    book.job()
    assert book.enqueue() == 0


def test_a_job_is_repeated_once_on_its_prepared_pixels(book: Book) -> None:
    book.bundle("shadow", INPUT, share=1)
    job = book.job()
    assert [book.enqueue(), book.enqueue()] == [1, 0]
    assert book.steps() == [("infer", name, "shadow", SHADOW_PRIORITY) for name in "xy"]
    ((origin, total, tenants),) = book.do(
        "select s.shadow_of, s.steps_total, s.tenant_id = j.tenant_id from jobs s join jobs j on j.id = s.shadow_of"
    )
    assert (origin, total, tenants) == (job, 3, True)
    book.job()
    assert book.enqueue() == 0, "what ended in the past has been looked at"


def test_another_input_is_prepared_first(book: Book) -> None:
    book.bundle("shadow", {**INPUT, "equalise": True}, share=1)
    book.job()
    assert book.enqueue() == 1
    assert book.steps() == [("prepare", None, "shadow", SHADOW_PRIORITY)]


def test_only_whole_answers_of_another_bundle_are_repeated(book: Book) -> None:
    book.bundle("shadow", INPUT, share=1)
    book.job(state="failed")
    book.job(state="running")
    book.job(missing=("x",))
    book.do("update jobs set bundle_digest = 'shadow' where id = :id", id=book.job())
    assert book.enqueue() == 0


def test_a_share_is_drawn_by_the_job(book: Book) -> None:
    book.bundle("shadow", INPUT, share=0.3)
    for _ in range(100):
        book.job()
    assert 10 <= book.enqueue(1000) <= 55
    assert book.enqueue(1000) == 0


def test_many_jobs_are_repeated_a_few_at_a_time(book: Book) -> None:
    book.bundle("shadow", INPUT, share=1)
    for number in range(5):
        book.do(
            "update jobs set finished_at = finished_at - make_interval(secs => :n) where id = :id",
            n=number,
            id=book.job(),
        )
    assert [book.enqueue(2) for _ in range(4)] == [2, 2, 1, 0]


def test_a_backlog_of_the_shadow_does_not_grow(book: Book) -> None:
    book.bundle("shadow", INPUT, share=1)
    for _ in range(60):
        book.job()
    assert book.enqueue(50) == 50
    assert book.enqueue(50) == 0, "100 of its steps wait"


def test_real_work_comes_first_and_only_it_counts(book: Book) -> None:
    book.bundle("shadow", INPUT, share=1)
    book.job()
    book.enqueue()
    late = book.job(state="queued", image="received")
    with book.owner.begin() as connection:
        (image,) = connection.execute(
            text("select i.id from instances i join jobs j on j.study_id = i.study_id where j.id = :id"),
            {"id": late},
        ).one()
        ledger.add(connection, [(late, NewStep(StepKind.PREPARE, image))])
        assert ledger.waiting(connection) == 1
        claims = [ledger.claim(connection, BOTH, worker="w", lease_s=30) for _ in range(2)]
    assert [(c.job_id == late, c.shadow) for (c, *_) in claims] == [(True, False), (False, True)]


def test_the_gateway_does_not_see_shadow_jobs_of_its_own_tenant(book: Book) -> None:
    book.bundle("shadow", INPUT, share=1)
    job = book.job()
    book.enqueue()
    ((tenant,),) = book.do("select tenant_id from jobs where id = :id", id=job)
    with book.gateway.begin() as connection:
        connection.execute(text("select set_config('thorax.tenant', :t, true)"), {"t": str(tenant)})
        assert list(connection.execute(text("select id from jobs")).scalars()) == [job]
        connection.execute(text("delete from jobs where id = :id"), {"id": job})
    assert book.do("select count(*) from jobs") == [(0,)]
    assert book.do("select count(*) from steps") == [(0,)]


def test_an_expired_job_takes_its_shadow_along(book: Book, tmp_path: Path) -> None:
    book.bundle("shadow", INPUT, share=1)
    job = book.job()
    book.enqueue()
    book.do("update jobs set expires_at = now() where id = :id", id=job)
    settings = AggregatorSettings(database_url="postgresql+psycopg://u@127.0.0.1/unused")
    Housekeeping(settings, book.aggregator, BlobStore(str(tmp_path))).expire()
    for table in ("jobs", "steps", "studies"):
        assert book.do(f"select count(*) from {table}") == [(0,)]
    assert book.do("select count(*) from blobs_pending_deletion") == [(1,)]
