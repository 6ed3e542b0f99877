"""The work ledger: a row in `steps` is the truth, a message about it only a hint.

Claim  = one UPDATE that sets a lease and raises `attempts`. Complete = guarded by that attempt number, so that a
late twin changes nothing. The completion of a job's last step adds the next one in the same statement.

Locks are taken in one order, jobs (by id) before steps; a claim takes step locks only and skips what is locked.
All functions work inside the caller's transaction and never commit.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from time import monotonic
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import Connection, TextClause

from thorax import queries
from thorax.states import SHADOW_PRIORITY, JobState, StepKind
from thorax.work.ending import Ended

_SQL = queries.load(__file__)


@dataclass(frozen=True)
class NewStep:
    """A step to add. `instance_id` is None for steps of a whole job.

    `ran`: from when to when, by `time.monotonic`, where the worker that adds the step has done it already.
    """

    kind: StepKind
    instance_id: UUID | None = None
    backbone: str | None = None
    ran: tuple[float, float] | None = None

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
    force: bool  # whether its clinical refusals are overruled
    tenant_id: UUID | None  # of the instance
    rest: bool = False  # other steps of the same image are left for other workers
    contests: UUID | None = None  # the image that came before under the same SOP Instance UID
    alone: bool = False  # nobody would help with this image: other images wait, or no other worker lives
    only: bool = False  # it is the job's only image
    reading: dict[str, Any] | None = None  # how the instance's tenant reads probabilities, if it has said so
    waited_s: float = 0.0  # since it could have been claimed
    full: bool = False  # all backbones are asked, whatever a cascade says
    traceparent: str | None = None  # of its job's upload
    more: bool = False  # other steps, or chores, were left for whoever looks again
    forms: bool = False  # readers wait for forms of an image

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


def add(connection: Connection, steps: Sequence[tuple[UUID, NewStep]]) -> None:
    """Add steps to their jobs; the caller has counted them in `jobs.steps_total` already."""
    if steps:
        connection.execute(_SQL["add"], _steps(steps))


def _steps(steps: Sequence[tuple[UUID, NewStep]]) -> dict[str, Any]:
    """The values of `new`. Of steps that were done: how many seconds ago; `ended`: when the steps before them were."""
    now, rows = monotonic(), list[dict[str, Any]]()
    for job_id, step in steps:
        ago = [now - moment for moment in step.ran or ()]
        row = {
            "job_id": job_id,
            "instance_id": step.instance_id,
            "kind": step.kind,
            "backbone": step.backbone,
        }
        rows.append({**row, **dict(zip(("began", "ended"), ago, strict=False))})
    before = max((row["began"] for row in rows if "began" in row), default=0.0)
    return {"steps": orjson.dumps(rows).decode(), "ended": before}


def claim(connection: Connection, capabilities: Capabilities, *, worker: str, lease_s: float) -> list[Claim]:
    """Take the most urgent waiting step that fits, and for `infer` the waiting steps of the same images.

    With a `max_batch` of 1, and if no other image waits, it is this worker's share of them: `Claim.rest` then asks for
    a hint to the others. With more, `infer` waits until a batch is prepared, or nothing is left to be prepared.
    """
    kinds = capabilities.kinds
    if capabilities.max_batch > 1 and StepKind.PREPARE in kinds and _has_to_prepare(connection, capabilities):
        kinds = (StepKind.PREPARE,)
    rows = connection.execute(
        _SQL["claim"],
        {
            "kinds": [str(kind) for kind in kinds],
            "able": [str(kind) for kind in capabilities.kinds],
            "backbones": list(capabilities.backbones),
            "bundles": list(capabilities.bundles),
            "max_batch": capabilities.max_batch,
            "rows": max(1, capabilities.max_batch * len(capabilities.backbones)),
            "worker": worker,
            "lease_s": lease_s,
        },
    ).all()
    return [Claim(r[0], r[1], r[2], r[3], StepKind(r[4]), *r[5:]) for r in rows]


def overlooked(connection: Connection, capabilities: Capabilities, *, for_s: float) -> bool:
    """Whether a step that fits could have been claimed for so many seconds."""
    values = {
        "kinds": [str(kind) for kind in capabilities.kinds],
        "backbones": list(capabilities.backbones),
        "bundles": list(capabilities.bundles),
        "for_s": for_s,
    }
    return bool(connection.execute(_SQL["overlooked"], values).scalar_one())


def _has_to_prepare(connection: Connection, capabilities: Capabilities) -> bool:
    values = {
        "backbones": list(capabilities.backbones),
        "bundles": list(capabilities.bundles),
        "max_batch": capabilities.max_batch,
    }
    return bool(connection.execute(_SQL["ahead"], values).scalar_one())


HELD = _SQL["held"].text
"""The head of every statement that completes steps: locks their jobs, and marks as done those that are still ours.

What follows writes for the rows of `held` only, whose names are the columns returned; `held_by` gives its values.
"""


def completing(rest: str) -> TextClause:
    """A statement that completes steps: `HELD` and what follows it. Without line breaks, as what is longer than
    4096 characters psycopg (3.3) takes apart each time anew."""
    return queries.statement(re.sub(r"\s*\n\s*", " ", f"with {HELD}, {rest}"))


def held_by(claims: Sequence[Claim]) -> dict[str, Any]:
    """The values of `HELD`."""
    return {
        "ids": [c.step_id for c in claims],
        "attempts": [c.attempts for c in claims],
        "jobs": sorted({c.job_id for c in claims}),
        "ended": 0.0,
    }


@cache
def _recording(record: str, name: str) -> TextClause:
    return completing(", ".join(filter(None, [_SQL["new"].text, record, _SQL[name].text])))


@dataclass(frozen=True)
class Completion:
    """What completing came to: the steps that were still ours (by id), those that were added, for hints, and the job's
    end if this was it."""

    held: frozenset[int]
    added: tuple[NewStep, ...]
    ended: Ended | None = None


def complete(
    connection: Connection,
    claims: Sequence[Claim],
    follow_ups: Sequence[tuple[UUID, NewStep]] = (),
    *,
    record: str = "",
    values: Mapping[str, Any] | None = None,
    conclude: bool = False,
) -> Completion:
    """Mark the claims as done, write their results, count them and add what follows, all in one statement.

    `record` is SQL, one or more CTEs that write `values` for the rows of `held` (see `HELD`): a claim that was lost
    writes nothing. `follow_ups` are of the claims' jobs. `aggregate` follows by itself where a job has no other step
    left; `jobs.steps_total` counts it from the beginning, and once more where `aggregate` itself asks for steps. With `conclude`, `follow_ups` are all that the job of one
    image had left, done already, and `record` writes its answer.
    """
    statement = _recording(record, "conclude" if conclude else "complete")
    given = {**held_by(claims), **_steps(follow_ups)}
    rows = connection.execute(statement, {**(values or {}), **given}).all()
    jobs = {row.job_id: row.exhausted for row in rows}
    added = [step for job_id, step in follow_ups if job_id in jobs and not step.ran]
    added += [NewStep(StepKind.AGGREGATE) for exhausted in jobs.values() if exhausted]
    ended = _concluded(claims[0], rows[0].seconds) if conclude and rows else None
    return Completion(frozenset(row.id for row in rows), tuple(added), ended)


def _concluded(claim: Claim, seconds: float | None) -> Ended | None:
    """The end of a claim's job; None if it had ended before."""
    if seconds is None or claim.tenant_id is None:
        return None
    return Ended(claim.job_id, claim.tenant_id, JobState.SUCCEEDED, "", claim.priority, seconds)


def release(connection: Connection, claims: Sequence[Claim], *, code: str, delay_s: float = 1.0) -> None:
    """Give claims back after a failure that may pass; the wait doubles with each attempt.

    A step without attempts left is marked dead by the sweeper, as one whose worker died would be.
    """
    connection.execute(
        _SQL["release"],
        {
            "ids": [c.step_id for c in claims],
            "attempts": [c.attempts for c in claims],
            "code": code,
            "delay_s": delay_s,
        },
    )


def lock_jobs(connection: Connection, ids: Sequence[UUID]) -> None:
    """Lock jobs; before their steps, see above."""
    connection.execute(_SQL["lock_jobs"], {"ids": list(ids)})


def end(connection: Connection, job_id: UUID, state: str, *, code: str, detail: str) -> Ended | None:
    """End an open job without a result and cancel its open steps; None if it had ended already."""
    lock_jobs(connection, [job_id])
    values = {"job_id": job_id, "state": state, "code": code, "detail": detail}
    row = connection.execute(_SQL["end"], values).first()
    return Ended.of(row) if row else None


def waiting(connection: Connection) -> int:
    """How many steps of real work wait, over all tenants: what scaling and the high-water mark go by."""
    return int(connection.execute(_SQL["waiting"]).scalar_one())
