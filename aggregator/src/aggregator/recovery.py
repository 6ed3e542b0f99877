"""The sweeper's duties to the ledger: steps that were dropped, have failed too often, are late or were overlooked."""

from collections import Counter
from uuid import UUID

import structlog
from sqlalchemy import Connection, Engine

from aggregator.config import AggregatorSettings
from aggregator.duties import run_due
from thorax import queries
from thorax.database import transactional
from thorax.errors import Code
from thorax.states import JobState, StepKind
from thorax.work import ledger
from thorax.work.hints import Hints

HINTS_AT_ONCE = 8  # enough to wake the workers; each works until nothing is left
_SQL = queries.load(__file__)
_log = structlog.get_logger(__name__)


class Recovery:
    """The duties; several processes may do them at once, as each takes only rows that nobody else has locked."""

    def __init__(self, settings: AggregatorSettings, engine: Engine, hints: Hints) -> None:
        self._settings, self._engine, self._hints = settings, engine, hints
        self._whole = transactional(engine)
        self._open = True
        self.duties = (self.recover,)

    def recover(self) -> None:
        """What there is to do, which one look tells."""
        self._open = True  # unless it can be seen that none is
        values = {
            "max_attempts": self._settings.max_attempts,
            "older_than_s": self._settings.hint_again_s,
        }
        with self._engine.connect() as connection:
            due = connection.execute(_SQL["due"], values).one()
        self._open = due.open
        run_due(
            {
                self.revive: due.lapsed,
                self.degrade: due.open,
                self.fail_exhausted: due.lapsed or due.exhausted,
                self.hint: due.overdue,
            }
        )

    def pause_s(self) -> float:
        """Until the next round. Nothing of a job that comes while none is open can be overdue before."""
        own = self._settings
        return own.sweep_s if self._open else max(own.sweep_s, min(own.hint_again_s, own.lease_s))

    def revive(self) -> None:
        """Steps whose worker did not come back are claimable again."""
        with self._engine.begin() as connection:
            values = {"max_attempts": self._settings.max_attempts}
            count = len(connection.execute(_SQL["revive"], values).all())
        if count:
            _log.warning("leases_ran_out", steps=count)

    def fail_exhausted(self) -> None:
        """A job with a step that failed too often fails, with that step's code."""
        limit = self._settings.max_attempts
        with self._engine.connect() as connection:
            jobs = list(connection.execute(_SQL["exhausted_jobs"], {"max_attempts": limit}).scalars())
        for job_id in jobs:
            with self._whole.begin() as connection:
                ledger.lock_jobs(connection, [job_id])
                values = {"job_id": job_id, "max_attempts": limit, "code": str(Code.STEP_DEAD)}
                dead = connection.execute(_SQL["mark_dead"], values).all()
                kinds = {row.kind for row in dead}
                if not dead or (kinds == {StepKind.INFER} and self._quorum_left(connection, job_id)):
                    continue
                names = ", ".join(sorted({ledger.queue_of(row.kind, row.backbone) for row in dead}))
                detail = f"{names} failed {limit} times."
                code = Code.STEP_DEAD
                ended = ledger.end(connection, job_id, JobState.FAILED, code=code, detail=detail)
            _log.error("steps_dead", job=str(job_id), dead=names)
            if ended:
                ended.tell()

    def _quorum_left(self, connection: Connection, job_id: UUID) -> bool:
        """Whether what has died still leaves each image as many backbones as the quorum, if one is set."""
        quorum = self._settings.quorum
        values = {"job_id": job_id, "quorum": quorum}
        return quorum > 0 and not connection.execute(_SQL["too_few_left"], values).first()

    def degrade(self) -> None:
        """With a quorum set, jobs past the deadline are answered by the backbones that have predicted."""
        if not self._settings.quorum:
            return
        values = {"deadline_s": self._settings.deadline_s, "quorum": self._settings.quorum}
        with self._engine.connect() as connection:
            late = list(connection.execute(_SQL["late_jobs"], values).scalars())
        for job_id in late:
            with self._whole.begin() as connection:
                ledger.lock_jobs(connection, [job_id])
                if connection.execute(_SQL["give_up"], {"job_id": job_id}).first():
                    ledger.add(connection, [(job_id, ledger.NewStep(StepKind.AGGREGATE))])
                    _log.warning("job_degraded", job=str(job_id))

    def hint(self) -> None:
        """Hint again at waiting steps whose hint was lost."""
        counts = self.overdue()
        # A worker listens to the queues of the backbones that it knew at its start, and to this one, which stands for all others.
        counts[StepKind.INFER] = sum(
            count for queue, count in counts.items() if queue.startswith(StepKind.INFER)
        )
        self._hints.send(queue for queue, count in counts.items() for _ in range(min(count, HINTS_AT_ONCE)))

    def overdue(self) -> Counter[str]:
        """Waiting steps whose last hint is old, counted by queue; they count as hinted from now on."""
        values = {"older_than_s": self._settings.hint_again_s}
        with self._engine.begin() as connection:
            rows = connection.execute(_SQL["overdue_steps"], values).all()
        return Counter(ledger.queue_of(row.kind, row.backbone) for row in rows)
