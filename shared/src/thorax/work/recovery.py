"""What the sweeper does to the ledger: steps that were dropped, spent or overlooked.

As in `ledger`, all functions work inside the caller's transaction and never commit.
"""

from uuid import UUID

from sqlalchemy import Connection, text

from thorax.errors import Code
from thorax.states import StepKind
from thorax.work import ledger

_REVIVE = text("""
update steps set state = 'waiting', lease_until = null, not_before = now(), hinted_at = '-infinity'
where id in (select id from steps where state = 'running' and lease_until < now() and attempts < :max_attempts
             for update skip locked) returning id""")


def revive(connection: Connection, *, max_attempts: int) -> int:
    """Make steps whose lease ran out claimable again; returns how many."""
    return len(connection.execute(_REVIVE, {"max_attempts": max_attempts}).all())


_SPENT = text("""
select distinct job_id from steps where attempts >= :max_attempts
  and (state = 'waiting' or (state = 'running' and lease_until < now())) order by job_id limit 100""")
_BURY = text("""
update steps set state = 'dead', finished_at = now(), error_code = coalesce(error_code, :code)
where job_id = :job_id and attempts >= :max_attempts
  and (state = 'waiting' or (state = 'running' and lease_until < now())) returning kind, backbone""")


def spent(connection: Connection, *, max_attempts: int) -> list[UUID]:
    """Jobs that have a step without attempts left."""
    return list(connection.execute(_SPENT, {"max_attempts": max_attempts}).scalars())


def mark_dead(connection: Connection, job_id: UUID, *, max_attempts: int) -> list[ledger.NewStep]:
    """Mark a job's spent steps dead and return them; the caller decides what that means for the job."""
    connection.execute(ledger.LOCK_JOBS, {"ids": [job_id]})
    rows = connection.execute(
        _BURY, {"job_id": job_id, "max_attempts": max_attempts, "code": str(Code.STEP_DEAD)}
    )
    return [ledger.NewStep(StepKind(row.kind), backbone=row.backbone) for row in rows]


_OVERDUE = text("""
update steps set hinted_at = now() where id in (
  select id from steps where state = 'waiting' and not_before <= now()
    and hinted_at < now() - make_interval(secs => :older_than_s)
  order by priority, kind, id limit 1000 for update skip locked)
returning kind, backbone""")


def overdue(connection: Connection, *, older_than_s: float) -> dict[str, int]:
    """Waiting steps whose last hint is old, counted by queue; they count as hinted from now on."""
    counts: dict[str, int] = {}
    for kind, backbone in connection.execute(_OVERDUE, {"older_than_s": older_than_s}):
        queue = ledger.queue_of(kind, backbone)
        counts[queue] = counts.get(queue, 0) + 1
    return counts
