"""The ledger's rules on a real Postgres, with the rights of the model worker."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Engine, text

from aggregator.config import AggregatorSettings
from aggregator.recovery import Recovery
from thorax import database
from thorax.states import StepKind
from thorax.work import ledger
from thorax.work.hints import Hints
from thorax.work.ledger import Capabilities, Claim, NewStep

JOB = text("""
with study as (insert into studies (id, tenant_id) values (:study, :study)),
image as (insert into instances (id, study_id, tenant_id, position, file_name, media_type, size_bytes, sha256)
  values (:image, :study, :study, 0, 'x', 'image/png', 1, ''))
insert into jobs (id, tenant_id, study_id, owner, bundle_digest, steps_total, priority)
values (:job, :study, :study, 'o', 'b', 2, :priority)""")
WHOLE = Capabilities((StepKind.PREPARE, StepKind.INFER), ("x", "y", "z"), ("b",))


class Book:
    """A database with a bundle, and short ways to jobs and claims."""

    def __init__(self, owner: Engine, worker: Engine) -> None:
        self.owner, self.worker = owner, worker
        self.do(
            "insert into bundles (digest, name, version, manifest, card) values ('b', 'n', '1', '{}', '')"
        )

    def do(self, statement: str, **values: Any) -> list[Any]:
        with self.owner.begin() as connection:
            result = connection.execute(text(statement), values)
            return list(result.all()) if result.returns_rows else []

    def job(self, priority: int = 1) -> tuple[UUID, UUID]:
        """A job with one image that waits to be prepared."""
        job, image = uuid4(), uuid4()
        with self.owner.begin() as connection:
            connection.execute(JOB, {"job": job, "image": image, "study": uuid4(), "priority": priority})
            ledger.add(connection, [(job, NewStep(StepKind.PREPARE, image))])
        return job, image

    def claim(self, capabilities: Capabilities = WHOLE, lease_s: float = 30) -> list[Claim]:
        with self.worker.begin() as connection:
            return ledger.claim(connection, capabilities, worker="w", lease_s=lease_s)

    def complete(self, claims: list[Claim], follow_ups: list[tuple[UUID, NewStep]] | None = None) -> int:
        with self.worker.begin() as connection:
            return len(ledger.complete(connection, claims, follow_ups or ()).held)

    def alive(self, name: str, bundle: str = "b") -> None:
        """A worker that can do all of it gave a sign of life."""
        self.do(
            "insert into workers (id, service, kinds, backbones, bundles, loaded, provider, seen_at) values "
            "(:id, 'model-worker', '{}', '{x,y,z}', array[:bundle], array[:bundle], '', now())",
            id=name,
            bundle=bundle,
        )

    def prepared(self, priority: int = 1) -> tuple[UUID, UUID]:
        """A job whose image is prepared, with three infer steps waiting."""
        job, image = self.job(priority)
        (claim,) = self.claim(Capabilities((StepKind.PREPARE,), (), ("b",)))
        self.complete([claim], [(job, NewStep(StepKind.INFER, image, name)) for name in WHOLE.backbones])
        return job, image


@pytest.fixture
def book(database_url: str, url_as: Callable[[str], str]) -> Book:
    return Book(database.engine(database_url), database.engine(url_as("thorax_worker"), pool_size=8))


@pytest.fixture
def recovery(url_as: Callable[[str], str], redis_url: str) -> Recovery:
    url = url_as("thorax_aggregator")
    settings = AggregatorSettings(database_url=url, redis_url=redis_url)
    return Recovery(settings, database.engine(url), Hints(redis_url))


def test_a_claim_takes_an_image_s_infer_steps_together(book: Book) -> None:
    _, image = book.prepared()
    book.prepared()
    claims = book.claim()
    assert [(c.instance_id, c.backbone) for c in claims] == [(image, "x"), (image, "y"), (image, "z")]


def test_an_image_is_shared_with_other_workers_when_nothing_else_waits(book: Book) -> None:
    for name in ("one", "two"):
        book.alive(name)
    book.alive("of another bundle", bundle="c")
    book.prepared()
    book.prepared()
    assert [(c.backbone, c.rest) for c in book.claim()] == [("x", False), ("y", False), ("z", False)]
    assert [(c.backbone, c.rest) for c in book.claim()] == [("x", True), ("y", True)]
    assert [(c.backbone, c.rest) for c in book.claim()] == [("z", False)]
    book.do("update workers set seen_at = now() - interval '1 minute'")
    book.prepared()
    assert len(book.claim()) == 3


def test_a_claim_tells_what_was_left_and_whether_readers_wait(book: Book) -> None:
    def told() -> list[tuple[bool, bool]]:
        return [(c.more, c.forms) for c in book.claim()]

    book.prepared()
    assert told() == [(False, False)] * 3
    book.job()
    _, image = book.job()
    assert [told(), told()] == [[(True, False)], [(False, False)]]
    book.job()
    book.do("update instances set forms_wanted_at = now() where id = :id", id=image)
    assert told() == [(True, True)]
    book.job()
    changed = "forms_wanted_at = null, error_code = 'instance_conflict'"
    book.do(f"update instances set {changed} where id = :id", id=image)
    assert told() == [(True, False)]


def test_a_worker_claims_its_own_backbones_only(book: Book) -> None:
    book.prepared()
    assert [c.backbone for c in book.claim(Capabilities((StepKind.INFER,), ("y",), ("b",)))] == ["y"]
    assert book.claim(Capabilities((StepKind.INFER,), ("q",), ("b",))) == []
    assert book.claim(Capabilities((StepKind.INFER,), ("x",), ("another bundle",))) == []


def test_a_batch_grows_with_the_backlog(book: Book) -> None:
    for _ in range(5):
        book.prepared()
    assert len(book.claim(Capabilities((StepKind.INFER,), ("x",), ("b",), max_batch=4))) == 4


def test_a_step_that_failed_before_is_not_batched(book: Book) -> None:
    for _ in range(3):
        book.prepared()
    book.do("update steps set attempts = 2 where id = (select min(id) from steps where backbone = 'x')")
    batch = Capabilities((StepKind.INFER,), ("x",), ("b",), max_batch=8)
    assert [c.attempts for c in book.claim(batch)] == [3]
    assert [c.attempts for c in book.claim(batch)] == [1, 1]


def test_stat_overtakes_and_started_jobs_are_finished_first(book: Book) -> None:
    started, _ = book.prepared()
    book.job()
    stat, _ = book.job(priority=0)
    assert [c.job_id for c in book.claim()] == [stat]
    assert {c.job_id for c in book.claim()} == {started}


def test_batches_form_as_preparation_runs_ahead(book: Book) -> None:
    """One process that prepares and infers, with twice as many images as a batch holds."""
    batching = Capabilities(WHOLE.kinds, WHOLE.backbones, WHOLE.bundles, max_batch=32)
    for _ in range(64):
        book.job()
    batches = []
    while claims := book.claim(batching):
        follow_ups = list[tuple[UUID, NewStep]]()
        if claims[0].kind is StepKind.PREPARE:
            (claim,) = claims
            follow_ups = [
                (claim.job_id, NewStep(StepKind.INFER, claim.instance_id, n)) for n in WHOLE.backbones
            ]
        else:
            batches.append(len({claim.instance_id for claim in claims}))
        book.complete(claims, follow_ups)
    assert batches == [32, 32]


def test_an_urgent_image_does_not_wait_for_a_batch(book: Book) -> None:
    batching = Capabilities(WHOLE.kinds, WHOLE.backbones, WHOLE.bundles, max_batch=32)
    _, urgent = book.prepared(priority=0)
    book.job()
    assert {claim.instance_id for claim in book.claim(batching)} == {urgent}
    assert [claim.kind for claim in book.claim(batching)] == [StepKind.PREPARE]


def test_the_last_step_adds_aggregate_once(book: Book) -> None:
    job, _ = book.prepared()
    claims = book.claim()
    with ThreadPoolExecutor(3) as pool:
        assert sum(pool.map(lambda claim: book.complete([claim]), claims)) == 3
    assert book.do("select kind, state from steps where kind = 'aggregate'") == [("aggregate", "waiting")]
    assert book.do("select steps_done, steps_total from jobs where id = :job", job=job) == [(4, 5)]


def test_a_late_duplicate_changes_nothing(book: Book, recovery: Recovery) -> None:
    book.prepared()
    late = book.claim(lease_s=-1)
    recovery.revive()
    again = book.claim()
    assert len(again) == 3
    assert book.complete(late) == 0
    assert book.complete(again) == 3
    assert book.complete(again) == 0
    assert book.do("select steps_done from jobs") == [(4,)]


def test_parallel_claims_never_share_a_step(book: Book) -> None:
    for _ in range(20):
        book.job()
    with ThreadPoolExecutor(8) as pool:
        claims = [c for taken in pool.map(lambda _: book.claim(), range(30)) for c in taken]
    assert len(claims) == 20 == len({c.step_id for c in claims})


def test_a_released_step_waits_longer_each_time_and_its_job_fails_in_the_end(
    book: Book, recovery: Recovery
) -> None:
    book.job()
    for attempt in range(1, 6):
        (claim,) = book.claim()
        assert claim.attempts == attempt
        with book.worker.begin() as connection:
            ledger.release(connection, [claim], code="internal_error", delay_s=10)
        assert book.claim() == []
        ((waits,),) = book.do("select extract(epoch from not_before - now()) from steps")
        assert 10 * 2 ** (attempt - 2) < waits <= 10 * 2 ** (attempt - 1)
        assert book.do("select state from jobs") == [("running",)]
        book.do("update steps set not_before = now()")
    recovery.fail_exhausted()
    assert book.do("select kind, state, error_code from steps") == [("prepare", "dead", "internal_error")]
    failed = ("failed", "step_gave_up", "prepare failed 5 times.")
    assert book.do("select state, error_code, error_detail from jobs") == [failed]


def test_a_cancelled_job_stays_cancelled_whatever_completes_later(book: Book) -> None:
    job, _ = book.prepared()
    claims = book.claim()
    with book.owner.begin() as connection:
        assert ledger.end(connection, job, "cancelled", code="cancelled", detail="x")
    assert book.complete(claims) == 0
    assert book.do("select state, steps_done from jobs") == [("cancelled", 1)]
    assert book.do("select count(*) from steps where state in ('waiting', 'running')") == [(0,)]


def test_only_overdue_steps_are_hinted_again(book: Book, recovery: Recovery) -> None:
    book.job()
    assert recovery.overdue() == {}
    book.do("update steps set hinted_at = now() - interval '6 seconds'")
    assert recovery.overdue() == {"prepare": 1}
    assert recovery.overdue() == {}
