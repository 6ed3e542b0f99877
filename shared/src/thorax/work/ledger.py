"""The work ledger: a row in `steps` is the truth, a message about it only a hint.

Claim  = one UPDATE that sets a lease and raises `attempts`. Complete = guarded by that attempt number, so that a
late twin changes nothing. Whoever completes a job's last step adds the next one in the same statement.

Locks are taken in one order, jobs (by id) before steps; a claim takes step locks only and skips what is locked.
All functions work inside the caller's transaction and never commit.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, TextClause, text

from thorax.states import SHADOW_PRIORITY, StepKind

JOBS_CHANNEL = "thorax_jobs"  # NOTIFY carries id, version and state of the job that changed


@dataclass(frozen=True)
class NewStep:
    """A step to add. `instance_id` is None for steps of a whole job."""

    kind: StepKind
    instance_id: UUID | None = None
    backbone: str | None = None

    @property
    def queue(self) -> str:
        """The Celery queue whose workers can do it."""
        return queue_of(self.kind, self.backbone)


@dataclass(frozen=True)
class Claim:
    """A step that is ours until its lease ends, if `attempts` is still what it was."""

    step_id: int
    attempts: int
    job_id: UUID
    instance_id: UUID | None
    kind: StepKind
    backbone: str | None
    bundle_digest: str
    priority: int
    media_type: str | None  # of the instance
    rest: bool = False  # other steps of the same image are left for other workers

    @property
    def shadow(self) -> bool:
        """Whether a shadow bundle repeats what has been answered already."""
        return self.priority == SHADOW_PRIORITY


@dataclass(frozen=True)
class Capabilities:
    """What a process can do: kinds of steps, backbones, bundles (by digest), and how many images at once."""

    kinds: tuple[StepKind, ...]
    backbones: tuple[str, ...] = ()
    bundles: tuple[str, ...] = ()
    max_batch: int = 1
    loaded: tuple[str, ...] = ()  # bundles that need no loading first


def queue_of(kind: str, backbone: str | None) -> str:
    """`prepare`, `aggregate` or `infer.<backbone>`."""
    return f"{kind}.{backbone}" if backbone else str(kind)


_ADD = text("""
insert into steps (job_id, instance_id, kind, backbone, bundle_digest, priority)
select j.id, new.instance_id, new.kind, new.backbone, j.bundle_digest, j.priority
from unnest(cast(:job_ids as uuid[]), cast(:instance_ids as uuid[]), cast(:kinds as text[]), cast(:backbones as text[]))
  with ordinality as new (job_id, instance_id, kind, backbone, place)
join jobs j on j.id = new.job_id order by new.place""")


def add(connection: Connection, steps: Sequence[tuple[UUID, NewStep]]) -> None:
    """Add steps to their jobs; the caller has counted them in `jobs.steps_total` already."""
    if not steps:
        return
    connection.execute(_ADD, _columns(steps))


def _columns(steps: Sequence[tuple[UUID, NewStep]]) -> dict[str, Any]:
    return {
        "job_ids": [job_id for job_id, _ in steps],
        "instance_ids": [step.instance_id for _, step in steps],
        "kinds": [str(step.kind) for _, step in steps],
        "backbones": [step.backbone for _, step in steps],
    }


# A step that has been claimed twice before may be poison, so it never shares a batch with others. An image that nothing
# else waits for is shared with the other workers (`crew`), so that its backbones run side by side.
_CLAIM = text("""
with head as (
  select id, kind, priority, job_id, instance_id, attempts, bundle_digest from steps
  where state = 'waiting' and kind = any(:kinds) and (backbone is null or backbone = any(:backbones))
    and (kind = 'aggregate' or bundle_digest = any(:bundles)) and not_before <= now()
  order by priority, kind, id limit 1 for update skip locked),
image as (
  select count(*) as steps, count(*) filter (where s.state = 'waiting') as waiting from steps s, head
  where s.job_id = head.job_id and s.instance_id = head.instance_id and s.kind = 'infer'
    and s.backbone = any(:backbones)),
crew as (
  select count(*) as size from workers w, head
  where w.backbones && cast(:backbones as text[]) and head.bundle_digest = any(w.loaded)
    and w.seen_at > now() - interval '15 seconds' and not exists (
      select from steps o where o.state = 'waiting' and o.kind <> 'aggregate' and o.instance_id <> head.instance_id)),
taken as (
  select s.id from steps s, head
  where s.state = 'waiting' and s.kind = head.kind and s.priority = head.priority
    and (s.backbone is null or s.backbone = any(:backbones))
    and (s.kind = 'aggregate' or s.bundle_digest = any(:bundles)) and s.not_before <= now()
    and case when s.kind <> 'infer' then s.id = head.id
             when head.attempts >= 2 or :max_batch = 1 then s.instance_id = head.instance_id
             else s.attempts < 2 end
  order by s.id limit (select case when :max_batch > 1 then :rows
    else ceil(greatest(image.steps, 1) / greatest(crew.size, 1)::numeric)::bigint end from image, crew)
  for update of s skip locked),
claimed as (
  update steps s set state = 'running', attempts = s.attempts + 1, worker = :worker, started_at = now(),
    lease_until = now() + make_interval(secs => :lease_s)
  from taken where s.id = taken.id
  returning s.id, s.attempts, s.job_id, s.instance_id, s.kind, s.backbone, s.bundle_digest, s.priority),
started as (
  update jobs set state = 'running', started_at = now(), version = version + 1
  where id in (select j.id from jobs j join claimed c on c.job_id = j.id and c.kind = 'prepare'
               where j.state = 'queued' for update of j skip locked)
  returning id, version, state),
told as (select pg_notify('thorax_jobs', concat_ws(' ', id, version, state)) from started)
select claimed.*, (select media_type from instances i where i.id = claimed.instance_id) as media_type,
  kind = 'infer' and (select waiting from image) > count(*) over () as rest
from claimed left join (select count(*) from told) as notified on true order by claimed.id""")


def claim(connection: Connection, capabilities: Capabilities, *, worker: str, lease_s: float) -> list[Claim]:
    """Take the most urgent waiting step that fits, and for `infer` the waiting steps of the same images.

    With a `max_batch` of 1, and if no other image waits, it is this worker's share of them: `Claim.rest` then asks for
    a hint to the others.
    """
    rows = connection.execute(
        _CLAIM,
        {
            "kinds": [str(kind) for kind in capabilities.kinds],
            "backbones": list(capabilities.backbones),
            "bundles": list(capabilities.bundles),
            "max_batch": capabilities.max_batch,
            "rows": max(1, capabilities.max_batch * len(capabilities.backbones)),
            "worker": worker,
            "lease_s": lease_s,
        },
    ).all()
    return [Claim(r[0], r[1], r[2], r[3], StepKind(r[4]), *r[5:]) for r in rows]


HELD = """
mine as (select * from unnest(cast(:ids as bigint[]), cast(:attempts as integer[])) as m (id, attempts)),
locked as (select id from jobs where id = any(:jobs) order by id for no key update),
held as (
  update steps s set state = 'done', finished_at = now(), lease_until = null from mine, locked
  where s.id = mine.id and s.job_id = locked.id and s.attempts = mine.attempts and s.state = 'running'
  returning s.id, s.job_id, s.instance_id, s.backbone)"""
"""The head of every statement that completes steps: locks their jobs, and marks as done those that are still ours.

What follows writes for the rows of `held` only, whose names are the columns returned; `held_by` gives its values.
"""


def completing(rest: str) -> TextClause:
    """A statement that completes steps: `HELD` and what follows it."""
    return text(f"with {HELD}, {rest}")


def held_by(claims: Sequence[Claim]) -> dict[str, Any]:
    """The values of `HELD`."""
    return {
        "ids": [c.step_id for c in claims],
        "attempts": [c.attempts for c in claims],
        "jobs": sorted({c.job_id for c in claims}),
    }


_COMPLETE = """
{record}new as (
  select * from unnest(
    cast(:job_ids as uuid[]), cast(:instance_ids as uuid[]), cast(:kinds as text[]), cast(:backbones as text[]))
    with ordinality as n (job_id, instance_id, kind, backbone, place)),
moved as (
  update jobs j set steps_done = j.steps_done + d.done, version = j.version + 1,
    state = case when j.state = 'queued' then 'running' else j.state end,
    steps_total = j.steps_total + d.added
  from (select job_id, count(*) as done, (select count(*) from new where new.job_id = held.job_id) as added
        from held group by job_id) as d
  where j.id = d.job_id and j.state in ('queued', 'running')
  returning j.id, j.version, j.state, j.bundle_digest, j.priority,
    j.steps_done + 1 = j.steps_total as exhausted),
added as (
  insert into steps (job_id, instance_id, kind, backbone, bundle_digest, priority)
  select moved.id, new.instance_id, new.kind, new.backbone, bundle_digest, priority
  from new join moved on moved.id = new.job_id order by new.place),
last as (
  insert into steps (job_id, kind, bundle_digest, priority)
  select id, 'aggregate', bundle_digest, priority from moved where exhausted),
told as (select pg_notify('thorax_jobs', concat_ws(' ', id, version, state)) from moved)
select held.id, held.job_id, coalesce(moved.exhausted, false) as exhausted
from held left join moved on moved.id = held.job_id left join (select count(*) from told) as notified on true"""


@cache
def _recording(record: str) -> TextClause:
    return completing(_COMPLETE.format(record=record and f"{record}, "))


@dataclass(frozen=True)
class Completion:
    """What completing came to: the steps that were still ours (by id), and those that were added, for hints."""

    held: frozenset[int]
    added: tuple[NewStep, ...]


def complete(
    connection: Connection,
    claims: Sequence[Claim],
    follow_ups: Sequence[tuple[UUID, NewStep]] = (),
    *,
    record: str = "",
    values: Mapping[str, Any] | None = None,
) -> Completion:
    """Mark the claims as done, write their results, count them and add what follows, all in one statement.

    `record` is SQL, one or more CTEs that write `values` for the rows of `held` (see `HELD`): a claim that was lost
    writes nothing. `follow_ups` are of the claims' jobs. `aggregate` follows by itself where a job has no other step
    left; `jobs.steps_total` counts it from the beginning.
    """
    rows = connection.execute(
        _recording(record), {**(values or {}), **held_by(claims), **_columns(follow_ups)}
    ).all()
    jobs = {row.job_id: row.exhausted for row in rows}
    added = [step for job_id, step in follow_ups if job_id in jobs]
    added += [NewStep(StepKind.AGGREGATE) for exhausted in jobs.values() if exhausted]
    return Completion(frozenset(row.id for row in rows), tuple(added))


_RELEASE = text("""
update steps s set state = 'waiting', lease_until = null, error_code = :code,
  not_before = now() + make_interval(secs => :delay_s * power(2, least(s.attempts, 8) - 1))
from unnest(cast(:ids as bigint[]), cast(:attempts as integer[])) as mine (id, attempts)
where s.id = mine.id and s.attempts = mine.attempts and s.state = 'running'""")


def release(connection: Connection, claims: Sequence[Claim], *, code: str, delay_s: float = 1.0) -> None:
    """Give claims back after a failure that may pass; the wait doubles with each attempt.

    A step without attempts left is buried by the sweeper, as one whose worker died would be.
    """
    connection.execute(
        _RELEASE,
        {
            "ids": [c.step_id for c in claims],
            "attempts": [c.attempts for c in claims],
            "code": code,
            "delay_s": delay_s,
        },
    )


LOCK_JOBS = text("select id from jobs where id = any(:ids) order by id for no key update")

_END = text("""
with ended as (
  update jobs set state = :state, error_code = :code, error_detail = :detail, finished_at = now(),
    version = version + 1 where id = :job_id and state in ('queued', 'running') returning id, version, state),
stopped as (
  update steps set state = 'cancelled', finished_at = now()
  where job_id in (select id from ended) and state in ('waiting', 'running'))
select pg_notify('thorax_jobs', concat_ws(' ', id, version, state)) from ended""")


def end(connection: Connection, job_id: UUID, state: str, *, code: str, detail: str) -> bool:
    """End an open job without a result and cancel its open steps; False if it had ended already."""
    connection.execute(LOCK_JOBS, {"ids": [job_id]})
    return bool(
        connection.execute(_END, {"job_id": job_id, "state": state, "code": code, "detail": detail}).all()
    )


_WAITING = text("select count(*) from steps where state = 'waiting' and priority < :shadow")


def waiting(connection: Connection) -> int:
    """How many steps of real work wait, over all tenants: what scaling and the high-water mark go by."""
    return int(connection.execute(_WAITING, {"shadow": SHADOW_PRIORITY}).scalar_one())
