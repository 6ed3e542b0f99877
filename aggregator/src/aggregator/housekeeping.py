"""The sweeper's housekeeping: shadow jobs, jobs that nobody serves, what has expired, what is to be erased, what is old."""

from datetime import UTC, datetime, timedelta
from time import monotonic
from uuid import UUID

import structlog
from sqlalchemy import Connection, Engine

from aggregator.config import AggregatorSettings
from aggregator.duties import run_due
from thorax import queries
from thorax.database import transactional
from thorax.errors import Code
from thorax.states import JobState
from thorax.storage import BlobStore
from thorax.work import ledger

SHADOWS_AT_ONCE = 20
AUDIT_AT_ONCE = 1000
ORPHAN_AGE = timedelta(hours=1)
ORPHAN_ROUND_S = 600.0
OLD_ROUND_S = 60.0  # what is kept for hours need not be looked for more often
_SQL = queries.load(__file__)
_log = structlog.get_logger(__name__)


class Housekeeping:
    """Duties that are not urgent; several processes may do them at once."""

    def __init__(self, settings: AggregatorSettings, engine: Engine, blobs: BlobStore) -> None:
        self._settings, self._engine, self._blobs = settings, engine, blobs
        self._whole = transactional(engine)
        self._next_orphans = self._next_old = 0.0
        self.duties = (
            self.do_due,
            self.delete_old,
            self.erase_orphans,
            self.chain_audit,
        )

    def do_due(self) -> None:
        """What there is to do, which one look tells. What a duty leaves to the next is there in the next round."""
        with self._engine.connect() as connection:
            due = connection.execute(_SQL["due"]).one()
        run_due(
            {
                self.enqueue_shadow_jobs: due.shadows,
                self.fail_unserved: due.unserved,
                self.expire: due.expired,
                self.erase_blobs: due.expired or due.blobs,
            }
        )

    def enqueue_shadow_jobs(self) -> None:
        """Jobs that have succeeded are repeated by the shadow bundle, if there is one (docs/adr/0011)."""
        with self._engine.begin() as connection:
            connection.execute(_SQL["enqueue_shadow_jobs"], {"at_most": SHADOWS_AT_ONCE})

    def fail_unserved(self) -> None:
        """A job whose bundle no worker has any more fails; a retry is done by the current bundle."""
        with self._engine.connect() as connection:
            jobs = list(connection.execute(_SQL["unserved_jobs"]).scalars())
        for job_id in jobs:
            with self._whole.begin() as connection:
                detail = "No worker has had this job's bundle for an hour. A retry uses the current bundle."
                code = Code.BUNDLE_MISSING
                ended = ledger.end(connection, job_id, JobState.FAILED, code=code, detail=detail)
            if ended:
                ended.tell()

    def expire(self) -> None:
        """Delete the open API's jobs when their time is over, a tenant's when its last user has left."""
        for query in ("delete_expired", "delete_tenants"):
            with self._engine.begin() as connection:
                connection.execute(_SQL[query])

    def erase_blobs(self) -> None:
        """Erase the blobs of deleted instances; what can't be erased now moves to the end of the list."""
        with self._engine.connect() as connection:
            ids = list(connection.execute(_SQL["pending_blobs"]).scalars())
        erased = []
        for instance_id in ids:
            try:
                self._blobs.erase(instance_id)
                erased.append(instance_id)
            except OSError as error:
                _log.warning("not_erased", instance=str(instance_id), error=type(error).__name__)
                with self._whole.begin() as connection:
                    connection.execute(_SQL["postpone_blobs"], {"id": instance_id})
                if isinstance(error, ConnectionError):  # the others would fail as slowly
                    break
        if erased:
            with self._whole.begin() as connection:
                connection.execute(_SQL["blobs_erased"], {"ids": erased})

    def delete_old(self) -> None:
        """Old idempotency keys, tombstones, signs of life, and steps of jobs that have ended."""
        if monotonic() < self._next_old:
            return
        with self._whole.begin() as connection:
            connection.execute(_SQL["delete_old_keys"])
            connection.execute(_SQL["delete_old_tombstones"])
            connection.execute(_SQL["delete_old_workers"])
            values = {"age_s": self._settings.keep_steps_h * 3600}
            more = connection.execute(_SQL["delete_old_steps"], values).rowcount
        self._next_old = monotonic() + (0 if more else OLD_ROUND_S)

    def chain_audit(self) -> None:
        """Link the audit's new rows to the chains of their tenants."""
        linked = AUDIT_AT_ONCE
        while linked == AUDIT_AT_ONCE:
            with self._engine.begin() as connection:
                linked = connection.execute(_SQL["chain_audit"], {"at_most": AUDIT_AT_ONCE}).scalar_one()

    def erase_orphans(self) -> None:
        """Blobs without an instance: an upload that was never acknowledged, or a late write after erasure."""
        if monotonic() < self._next_orphans:
            return
        self._next_orphans = monotonic() + ORPHAN_ROUND_S
        batch: list[UUID] = []
        with self._engine.connect() as connection:
            platform: UUID = connection.execute(_SQL["platform"]).scalar_one()
            if not self._blobs.belong_to(platform):
                _log.error("blobs_of_another_database", platform=str(platform))
                return
            kept_until = self._blobs.unknown_kept_until()
            if kept_until and datetime.now(UTC) < kept_until:
                _log.warning("unknown_blobs_kept", until=kept_until.isoformat())
                return
            for instance_id in self._blobs.older_than(ORPHAN_AGE):
                batch.append(instance_id)
                if len(batch) == 500:
                    self._erase_unknown(connection, batch)
                    batch.clear()
            self._erase_unknown(connection, batch)

    def _erase_unknown(self, connection: Connection, ids: list[UUID]) -> None:
        known = set(connection.execute(_SQL["known_instances"], {"ids": ids}).scalars())
        connection.rollback()
        for instance_id in set(ids) - known:
            self._blobs.erase(instance_id)
            _log.info("orphan_erased", instance=str(instance_id))
