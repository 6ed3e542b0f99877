"""The sweeper: revives what was dropped, hints at what was overlooked, buries what can't be done, erases what is due.

Several may run at once: every round takes only rows that nobody else has locked.
"""

import signal
import threading
from collections.abc import Callable
from datetime import timedelta
from time import monotonic
from uuid import UUID

import structlog
from sqlalchemy import Connection, Engine, text

from aggregator.config import AggregatorSettings
from thorax import database, telemetry
from thorax.errors import Code
from thorax.states import SHADOW_PRIORITY, JobState, StepKind
from thorax.storage import BlobStore
from thorax.work import ledger, recovery
from thorax.work.hints import Hints, celery_app
from thorax.work.worker import Heartbeat, process_name

HINTS_AT_ONCE = 8  # enough to wake the workers; each goes on until nothing is left
ORPHAN_AGE = timedelta(hours=1)
ORPHAN_ROUND_S = 600.0
HOUSEWORK_S = 5.0
SHADOWS_AT_ONCE = 20
_log = structlog.get_logger(__name__)

# A job may be answered by fewer backbones once every usable image has `quorum` predictions and only `infer` is open.
_LATE = text("""
select j.id from jobs j where j.state = 'running' and j.started_at < now() - make_interval(secs => :deadline_s)
  and not exists (select from steps s where s.job_id = j.id and s.kind <> 'infer' and s.state <> 'done')
  and exists (select from steps s where s.job_id = j.id and s.kind = 'infer' and s.state in ('waiting', 'running', 'dead'))
  and not exists (
    select from instances i where i.study_id = j.study_id and i.state = 'prepared'
      and (select count(*) from predictions p where p.job_id = j.id and p.instance_id = i.id) < :quorum)
order by j.id limit 100""")
_GIVE_UP = text("""
with given_up as (
  update steps set state = 'cancelled', finished_at = now()
  where job_id = :job_id and kind = 'infer' and state in ('waiting', 'running', 'dead') returning id)
update jobs set steps_total = steps_done + 1, version = version + 1
where id = :job_id and state = 'running' and exists (select from given_up) returning id""")
_TOO_FEW_LEFT = text("""
select instance_id from steps where job_id = :job_id and kind = 'infer'
group by instance_id having count(*) filter (where state <> 'dead') < :quorum limit 1""")
_CAST_SHADOWS = text("select cast_shadows(:at_most)")
_LOCK = text("select id from jobs where id = :job_id and state = 'running' for no key update")

_EXPIRED = text("""
with expired as (
  select id, study_id from jobs where expires_at < now() order by expires_at limit 50 for update skip locked),
gone as (delete from jobs where id in (select id from expired)),
images as (
  insert into doomed_blobs (instance_id)
  select i.id from instances i join expired e on e.study_id = i.study_id on conflict do nothing)
delete from studies where id in (select study_id from expired) returning id""")
# A tenant whose last user has left; open jobs go with it. It stays on the list until its last access token has ended,
# since until then one may still upload.
_TENANTS_GONE = text("""
with gone as (select tenant_id from doomed_tenants for update skip locked),
batch as (select s.id from studies s join gone g on g.tenant_id = s.tenant_id limit 200),
images as (
  insert into doomed_blobs (instance_id)
  select i.id from instances i join batch on batch.id = i.study_id on conflict do nothing),
own_bundle as (delete from tenant_bundles where tenant_id in (select tenant_id from gone)),
erased as (delete from studies where id in (select id from batch)),
secrets as (delete from patient_secrets where tenant_id in (select tenant_id from gone))
delete from doomed_tenants where tenant_id in (select tenant_id from gone)
  and doomed_at < now() - interval '15 minutes' and not exists (select from batch)""")
_DOOMED = text("select instance_id from doomed_blobs order by doomed_at limit 50")
_LATER = text("update doomed_blobs set doomed_at = now() where instance_id = :id")
_ERASED = text("delete from doomed_blobs where instance_id = any(:ids)")
_OLD = (
    text("delete from idempotency_keys where created_at < now() - interval '24 hours'"),
    text("delete from workers where seen_at < now() - interval '10 minutes'"),
)
_OLD_STEPS = text("""
delete from steps where id in (
  select s.id from (select id, job_id from steps order by id limit 2000) s join jobs j on j.id = s.job_id
  where j.finished_at < now() - make_interval(secs => :age_s))""")
_PLATFORM = text("select id from platform")
# Jobs that nobody can do: workers live, and none has their bundle an hour later (a rollout took it away). A shadow may wait.
_UNSERVED = text("""
with living as (select bundles from workers where service = 'model-worker' and seen_at > now() - interval '30 seconds')
select distinct s.job_id from steps s
where s.state = 'waiting' and s.kind <> 'aggregate' and s.priority < :shadow and s.created_at < now() - interval '1 hour'
  and exists (select from living) and not exists (select from living where s.bundle_digest = any(bundles)) limit 100""")
_KNOWN = text("select id from instances where id = any(:ids)")


class Sweeper:
    """One round after another; a round that fails is logged and tried again."""

    def __init__(self, settings: AggregatorSettings, engine: Engine, blobs: BlobStore, hints: Hints) -> None:
        self._settings, self._engine, self._blobs, self._hints = settings, engine, blobs, hints
        self._whole = engine.execution_options(isolation_level="READ COMMITTED")
        self._orphans_at = 0.0
        self._rounds: dict[str, float] = {}
        self.stopping = threading.Event()

    def run(self) -> None:
        """Sweep until `stopping` is set; a blob store that is slow does not hold up the ledger's duties."""
        house = threading.Thread(target=self._repeat, args=(self.keep_house, HOUSEWORK_S), daemon=True)
        house.start()
        self._repeat(self.round, self._settings.sweep_s)
        house.join(5)

    def busy_since(self) -> float | None:
        """When the oldest round that has not ended began."""
        return min(list(self._rounds.values()), default=None)

    def round(self) -> None:
        """The ledger's duties."""
        self._do(self.revive, self.degrade, self.mark_dead, self.hint)

    def keep_house(self) -> None:
        """What can wait a little."""
        self._do(self.shadow, self.unserved, self.expire, self.erase, self.forget, self.orphans)

    def _repeat(self, what: Callable[[], None], pause_s: float) -> None:
        while not self.stopping.wait(pause_s):
            self._rounds[what.__name__] = monotonic()
            what()
            del self._rounds[what.__name__]

    def _do(self, *duties: Callable[[], None]) -> None:
        for duty in duties:
            try:
                duty()
            except Exception as error:  # whatever it is, the other duties go on
                _log.warning("duty_failed", duty=duty.__name__, error=type(error).__name__)

    def revive(self) -> None:
        """Steps whose worker did not come back are claimable again."""
        with self._engine.begin() as connection:
            count = recovery.revive(connection, max_attempts=self._settings.max_attempts)
        if count:
            _log.warning("leases_ran_out", steps=count)

    def mark_dead(self) -> None:
        """A job with a step that failed too often fails, with that step's code."""
        limit = self._settings.max_attempts
        with self._engine.connect() as connection:
            jobs = recovery.spent(connection, max_attempts=limit)
        for job_id in jobs:
            with self._whole.begin() as connection:
                dead = recovery.mark_dead(connection, job_id, max_attempts=limit)
                if not dead or self._quorum_may_do(connection, job_id, dead):
                    continue
                names = ", ".join(sorted({step.queue for step in dead}))
                detail = f"{names} failed {limit} times."
                ledger.end(connection, job_id, JobState.FAILED, code=Code.STEP_DEAD, detail=detail)
            _log.error("job_failed", job=str(job_id), dead=names)

    def unserved(self) -> None:
        """A job whose bundle no worker has any more fails, and is done by today's bundle when it is retried."""
        with self._engine.connect() as connection:
            jobs = list(connection.execute(_UNSERVED, {"shadow": SHADOW_PRIORITY}).scalars())
        for job_id in jobs:
            with self._whole.begin() as connection:
                detail = "No worker has had this job's bundle for an hour. A retry uses the current bundle."
                ledger.end(connection, job_id, JobState.FAILED, code=Code.BUNDLE_MISSING, detail=detail)
            _log.error("job_unserved", job=str(job_id))

    def _quorum_may_do(self, connection: Connection, job_id: UUID, dead: list[ledger.NewStep]) -> bool:
        """Whether what has died still leaves each image as many backbones as the quorum."""
        quorum = self._settings.quorum
        if not quorum or any(step.kind is not StepKind.INFER for step in dead):
            return False
        return not connection.execute(_TOO_FEW_LEFT, {"job_id": job_id, "quorum": quorum}).first()

    def degrade(self) -> None:
        """With a quorum set, jobs past the deadline are answered by the backbones that did."""
        if not self._settings.quorum:
            return
        values = {"deadline_s": self._settings.deadline_s, "quorum": self._settings.quorum}
        with self._engine.connect() as connection:
            late = list(connection.execute(_LATE, values).scalars())
        for job_id in late:
            with self._whole.begin() as connection:
                connection.execute(_LOCK, {"job_id": job_id})
                if connection.execute(_GIVE_UP, {"job_id": job_id}).first():
                    ledger.add(connection, [(job_id, ledger.NewStep(StepKind.AGGREGATE))])
                    _log.warning("job_degraded", job=str(job_id))

    def shadow(self) -> None:
        """Jobs that have succeeded are repeated by the shadow bundle, if there is one (docs/adr/0011)."""
        with self._whole.begin() as connection:
            connection.execute(_CAST_SHADOWS, {"at_most": SHADOWS_AT_ONCE})

    def hint(self) -> None:
        """Waiting steps whose hint got lost are hinted again."""
        with self._engine.begin() as connection:
            counts = recovery.overdue(connection, older_than_s=self._settings.hint_again_s)
        # A worker listens for the backbones that it knew at its start, and for this, which stands for any other.
        counts[StepKind.INFER] = sum(
            count for queue, count in counts.items() if queue.startswith(StepKind.INFER)
        )
        self._hints.send(queue for queue, count in counts.items() for _ in range(min(count, HINTS_AT_ONCE)))

    def expire(self) -> None:
        """The open API's jobs go when their day is over, a tenant's when nobody of it is left."""
        with self._whole.begin() as connection:
            connection.execute(_EXPIRED)
        with self._whole.begin() as connection:
            connection.execute(_TENANTS_GONE)

    def erase(self) -> None:
        """Delete the blobs of erased instances; what can't be deleted now goes to the end of the list."""
        with self._engine.connect() as connection:
            ids = list(connection.execute(_DOOMED).scalars())
        erased = []
        for instance_id in ids:
            try:
                self._blobs.erase(instance_id)
                erased.append(instance_id)
            except OSError as error:
                _log.warning("not_erased", instance=str(instance_id), error=type(error).__name__)
                with self._whole.begin() as connection:
                    connection.execute(_LATER, {"id": instance_id})
                if isinstance(error, ConnectionError):  # the others would fail as slowly
                    break
        with self._whole.begin() as connection:
            connection.execute(_ERASED, {"ids": erased})

    def forget(self) -> None:
        """Old keys, signs of life and steps of ended jobs."""
        with self._whole.begin() as connection:
            for statement in _OLD:
                connection.execute(statement)
            connection.execute(_OLD_STEPS, {"age_s": self._settings.keep_steps_h * 3600})

    def orphans(self) -> None:
        """Blobs without an instance: an upload that was never acknowledged, or a late write after erasure."""
        if monotonic() < self._orphans_at:
            return
        self._orphans_at = monotonic() + ORPHAN_ROUND_S
        batch: list[UUID] = []
        with self._engine.connect() as connection:
            platform: UUID = connection.execute(_PLATFORM).scalar_one()
            if not self._blobs.belong_to(platform):
                _log.error("blobs_of_another_database", platform=str(platform))
                return
            for instance_id in self._blobs.older_than(ORPHAN_AGE):
                batch.append(instance_id)
                if len(batch) == 500:
                    self._erase_unknown(connection, batch)
                    batch.clear()
            self._erase_unknown(connection, batch)

    def _erase_unknown(self, connection: Connection, ids: list[UUID]) -> None:
        known = set(connection.execute(_KNOWN, {"ids": ids}).scalars())
        connection.rollback()
        for instance_id in set(ids) - known:
            self._blobs.erase(instance_id)
            _log.info("orphan_erased", instance=str(instance_id))


def main() -> None:
    """`sweeper`: sweep until told to stop."""
    settings = AggregatorSettings()
    telemetry.configure("sweeper", level=settings.log_level, form=settings.log_format)
    engine = database.engine(settings.database_url.get_secret_value(), autocommit=True)
    hints = Hints(celery_app(settings.redis_url.get_secret_value(), "sweeper"))
    sweeper = Sweeper(settings, engine, BlobStore(settings.blobs), hints)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sweeper.stopping.set())
    heartbeat = Heartbeat(
        engine,
        name=process_name("sweeper"),
        busy_since=sweeper.busy_since,
        service="sweeper",
        capabilities=lambda: ledger.Capabilities(()),
        kinds=["sweep"],
        file=settings.heartbeat_file,
    )
    heartbeat.start()
    try:
        sweeper.run()
    finally:
        heartbeat.stop()


if __name__ == "__main__":
    main()
