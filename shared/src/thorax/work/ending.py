"""How a job ended: one line in the log and one in the metrics, whichever process ended it."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy import Row

from thorax.states import PRIORITY_NAMES, SHADOW_PRIORITY, JobState
from thorax.work.metrics import JOB_SECONDS, JOBS_ENDED

_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Ended:
    """A job that has just ended. `seconds`: since its upload. `code`: why it has no result, else empty."""

    job_id: UUID
    tenant_id: UUID
    state: str
    code: str
    priority: int
    seconds: float

    @classmethod
    def of(cls, row: Row[*tuple[Any, ...]]) -> "Ended":
        """From the columns that each statement which ends a job returns."""
        return cls(row.id, row.tenant_id, row.state, row.error_code or "", row.priority, row.seconds)

    def tell(self) -> None:
        """Log and count it; after the commit."""
        told = {"code": self.code} if self.code else {}
        _log.info(
            "job_ended",
            job=str(self.job_id),
            tenant=str(self.tenant_id),
            state=self.state,
            seconds=round(self.seconds, 3),
            **told,
        )
        if self.priority == SHADOW_PRIORITY:
            return
        JOBS_ENDED.labels(self.state, self.code).inc()
        if self.state == JobState.SUCCEEDED:
            JOB_SECONDS.labels(PRIORITY_NAMES[self.priority]).observe(self.seconds)
