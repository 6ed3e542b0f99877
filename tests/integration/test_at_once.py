"""An image that one worker prepares, infers and answers at once comes out as one that was done step by step."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text

from aggregator.config import AggregatorSettings
from aggregator.recovery import Recovery
from aggregator.tasks import AggregateHandler
from model_worker.bundle_cache import BundleCache
from model_worker.config import WorkerSettings
from model_worker.tasks import InferenceHandler
from tests.factories.bundles import make_bundle, make_cascade
from tests.factories.images import SAMPLE
from tests.integration.test_ledger import JOB, Book
from thorax import database
from thorax.bundle import Bundle, Cascade
from thorax.states import StepKind
from thorax.storage import ORIGINAL, BlobStore
from thorax.work import ledger
from thorax.work.hints import Hints


class House(Book):
    """A database with a tiny bundle, and handlers of both services with their own rights."""

    def __init__(
        self,
        tmp_path: Path,
        owner: str,
        url_as: Callable[[str], str],
        redis_url: str,
        cascade: Cascade | None = None,
    ) -> None:
        worker, aggregator = (
            database.engine(url_as(role), autocommit=True) for role in ("thorax_worker", "thorax_aggregator")
        )
        super().__init__(database.engine(owner), worker)
        self.bundle: Bundle = make_bundle(tmp_path / "models" / "tiny", 3, cascade=cascade)
        self.blobs = BlobStore(str(tmp_path / "blobs"))
        settings = WorkerSettings(
            database_url=url_as("thorax_worker"),
            redis_url=redis_url,
            max_batch=1,
            blobs=str(tmp_path / "blobs"),
        )
        cache = BundleCache(tmp_path / "models", "all", cpu_fallback=True)
        hints = Hints(redis_url)
        self.handler = InferenceHandler(settings, worker, self.blobs, cache, hints)
        self.aggregating = AggregateHandler(aggregator, hints, quorum=0)
        self.do(
            "insert into bundles (digest, name, version, manifest, card) values (:digest, 'n', '2', :manifest, '')",
            digest=self.bundle.digest,
            manifest=self.bundle.manifest.model_dump_json(),
        )

    def upload(self, images: int = 1) -> UUID:
        """A job with images that wait to be prepared."""
        job, image, study = uuid4(), uuid4(), uuid4()
        with self.owner.begin() as connection:
            connection.execute(JOB, {"job": job, "image": image, "study": study, "priority": 1})
            connection.execute(
                text("update jobs set bundle_digest = :d, steps_total = :n, images_below = 9 where id = :id"),
                {"d": self.bundle.digest, "n": images + 1, "id": job},
            )
            ids = [image]
            for place in range(1, images):
                ids.append(uuid4())
                connection.execute(
                    text(
                        "insert into instances (id, study_id, tenant_id, position, file_name, media_type, size_bytes, sha256)"
                        " values (:id, :study, :study, :place, 'x', 'image/png', 1, '')"
                    ),
                    {"id": ids[-1], "study": study, "place": place},
                )
            ledger.add(connection, [(job, ledger.NewStep(StepKind.PREPARE, i)) for i in ids])
        for i in ids:
            self.blobs.put(i, ORIGINAL, SAMPLE.read_bytes())
        return job

    def take(self) -> list[ledger.Claim]:
        return self.claim(self.handler.capabilities())

    def step_by_step(self, job: UUID) -> None:
        """As workers do that share an image, and the aggregator after them."""
        self.handler.run([replace(self.take()[0], alone=False)])
        self.handler.run(self.take())
        self.aggregate()

    def aggregate(self) -> None:
        self.aggregating.run(self.claim(self.aggregating.capabilities()))

    def answer(self, job: UUID) -> list[list[object]]:
        """What clients can see of a job, without ids and times."""
        return [
            self.do(f"select {columns} from {table} where {key} = :job order by 1, 2", job=job)
            for columns, table, key in (
                ("state, steps_total, steps_done, missing_backbones, error_code", "jobs", "id"),
                ("backbone, probabilities, map_shape, maps", "predictions", "job_id"),
                (
                    "instance_id is null, finding, probability, threshold, positive, disagreement, verdict, point",
                    "study_findings",
                    "job_id",
                ),
                ("map_shape, maps", "heatmaps", "job_id"),
                ("kind, backbone, state, attempts, worker, bundle_digest, priority", "steps", "job_id"),
            )
        ]


@pytest.fixture
def house(tmp_path: Path, database_url: str, url_as: Callable[[str], str], redis_url: str) -> House:
    return House(tmp_path, database_url, url_as, redis_url)


@pytest.mark.parametrize("reading", [None, '{"thresholds": {"edema": 0.1}}'])
def test_the_answer_and_the_ledger_are_the_same(house: House, reading: str | None) -> None:
    one, other = house.upload(), house.upload()
    if reading:
        house.do("insert into tenant_readings (tenant_id, reading) select tenant_id, :r from jobs", r=reading)
    house.step_by_step(one)
    (claim,) = house.take()
    assert (claim.alone, claim.only) == (True, True)
    house.handler.run([claim])
    assert house.take() == []
    assert house.answer(other) == house.answer(one)
    assert house.answer(one)[0][0][0] == "succeeded"  # type: ignore[index]
    seen = house.do("select timings, started_at, finished_at from jobs where id = :job", job=other)[0]
    assert set(seen.timings) == {"queued_s", "prepare_s", "infer_s", "aggregate_s", "total_s"}
    assert all(0 <= seconds < 60 for seconds in seen.timings.values())
    steps = house.do("select * from steps where job_id = :job order by finished_at, id", job=other)
    assert [step.kind for step in steps] == ["prepare", *["infer"] * 3, "aggregate"]
    assert all(step.started_at <= step.finished_at for step in steps)
    assert steps[0].finished_at <= steps[1].started_at


def test_of_several_images_the_last_adds_aggregate(house: House) -> None:
    job = house.upload(2)
    for _ in range(2):
        (claim,) = house.take()
        assert (claim.alone, claim.only) == (True, False)
        house.handler.run([claim])
    assert house.take() == []
    waiting = house.do("select kind from steps where state = 'waiting'")
    assert waiting == [("aggregate",)]
    house.aggregate()
    assert house.answer(job)[0] == [("succeeded", 9, 9, [], None)]
    assert len(house.answer(job)[2]) == 15


def test_a_claim_that_was_lost_writes_nothing(house: House) -> None:
    job = house.upload()
    (claim,) = house.take()
    house.do("update steps set attempts = 2")
    house.handler.run([claim])
    assert [len(rows) for rows in house.answer(job)] == [1, 0, 0, 0, 1]
    assert house.do("select state from jobs where id = :job", job=job) == [("running",)]


@pytest.mark.parametrize("change", [{"alone": False}, {"attempts": 2}])
def test_shared_and_repeated_images_are_done_step_by_step(house: House, change: dict[str, int]) -> None:
    house.upload()
    (claim,) = house.take()
    for name, value in change.items():
        if name == "attempts":
            house.do("update steps set attempts = :value", value=value)
    house.handler.run([replace(claim, **change)])
    assert house.do("select count(*) from steps where kind = 'infer' and state = 'waiting'") == [(3,)]


def test_a_worker_is_not_alone_when_another_could_help(house: House) -> None:
    house.do(
        "insert into workers (id, service, kinds, backbones, bundles, loaded, provider, seen_at) select n, 'model-worker',"
        " '{}', :names, array[:digest], array[:digest], '', now() from unnest(array['a', 'b']) n",
        names=list(house.bundle.names),
        digest=house.bundle.digest,
    )
    house.upload()
    house.upload()
    assert [house.take()[0].alone for _ in range(2)] == [True, False]


def asked(house: House, job: UUID) -> list[str]:
    """The backbones that ran, in the order in which the ledger has their steps."""
    steps = house.do("select backbone from steps where job_id = :job and kind = 'infer' order by id", job=job)
    return [step.backbone for step in steps]


@pytest.mark.parametrize(
    ("sure", "full", "ran"),
    [(True, False, 2), (False, False, 3), (True, True, 3)],
    ids=["sure", "not sure", "all are asked for"],
)
def test_of_a_cascade_the_rest_run_where_the_first_are_not_sure(
    tmp_path: Path,
    database_url: str,
    url_as: Callable[[str], str],
    redis_url: str,
    sure: bool,
    full: bool,
    ran: int,
) -> None:
    """At once by one worker, or step by step with a second round that the aggregator asks for: the same answer."""
    house = House(tmp_path, database_url, url_as, redis_url, make_cascade("tiny_0", "tiny_2", sure=sure))
    one, other = house.upload(), house.upload()
    house.do("update jobs set full_ensemble = :full", full=full)
    house.step_by_step(one)
    if not sure:
        assert house.do("select state from jobs where id = :job", job=one) == [("running",)]
        assert asked(house, one) == ["tiny_0", "tiny_2", "tiny_1"]
        house.handler.run([c for c in house.take() if c.job_id == one])
        house.aggregate()
    house.handler.run(house.take())
    assert set(asked(house, one)) == set(asked(house, other))
    assert len(asked(house, one)) == ran
    assert house.answer(one)[1:4] == house.answer(other)[1:4]
    rounds = 1 if sure else 2
    assert house.answer(one)[0] == [("succeeded", 1 + ran + rounds, 1 + ran + rounds, [], None)]
    assert house.answer(other)[0] == [("succeeded", 2 + ran, 2 + ran, [], None)]


def test_where_one_of_the_first_is_lost_the_rest_answer(
    tmp_path: Path, database_url: str, url_as: Callable[[str], str], redis_url: str
) -> None:
    house = House(tmp_path, database_url, url_as, redis_url, make_cascade("tiny_0", "tiny_2", sure=True))
    house.aggregating = AggregateHandler(house.aggregating._engine, house.aggregating._hints, quorum=2)
    settings = AggregatorSettings(
        database_url=url_as("thorax_aggregator"), redis_url=redis_url, quorum=2, deadline_s=1
    )
    recovery = Recovery(settings, house.aggregating._engine, house.aggregating._hints)
    job = house.upload()
    house.handler.run([replace(house.take()[0], alone=False)])
    lost, rest = house.take()
    house.handler.run([rest])
    house.do("update jobs set started_at = now() - interval '9 seconds'")
    recovery.degrade()
    house.aggregate()
    assert house.do("select state from jobs where id = :job", job=job) == [("running",)]
    house.handler.run(house.take())
    house.aggregate()
    ((state, *_, missing, _),) = house.answer(job)[0]  # type: ignore[misc]
    assert (state, missing) == ("succeeded", [lost.backbone])
