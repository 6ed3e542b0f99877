"""Lists of jobs: the worklist page by page, and what there is to compare a study with."""

import base64
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from gateway.jobs import views, worklist_rows
from gateway.jobs.schemas import JobPage, JobSummary, Priors
from gateway.jobs.worklist_rows import AnyRow, Order
from thorax.database import tenant_scope
from thorax.errors import Code, CodedError

MOST_PRIORS = 50


class Worklist:
    """Reads many jobs of one tenant."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def page(
        self, tenant_id: UUID, *, limit: int, order: Order, cursor: str | None, filters: Mapping[str, Any]
    ) -> JobPage:
        """One page of the tenant's jobs."""
        after = _read_cursor(cursor, order)
        async with tenant_scope(self._engine, tenant_id) as connection:
            rows = await worklist_rows.page(
                connection, tenant_id, limit=limit + 1, order=order, after=after, **filters
            )
            items = await _summaries(connection, rows[:limit])
        last = rows[limit - 1] if len(rows) > limit else None
        return JobPage(items=items, next=_cursor(order, last.key, last.id) if last else None)

    async def priors(self, tenant_id: UUID, job_id: UUID) -> Priors:
        """Earlier studies of the same patient; CodedError(NOT_FOUND) if the tenant has no such job."""
        async with tenant_scope(self._engine, tenant_id) as connection:
            known = await worklist_rows.patient_known(connection, job_id)
            if known is None:
                raise CodedError(Code.NOT_FOUND, "There is no such job.")
            rows = await worklist_rows.priors(connection, job_id, MOST_PRIORS) if known else []
            return Priors(patient_known=known, items=await _summaries(connection, rows))


async def _summaries(connection: AsyncConnection, rows: Sequence[AnyRow]) -> list[JobSummary]:
    findings = await worklist_rows.study_findings(connection, [row.id for row in rows])
    return [views.summary(row, [f for f in findings if f.job_id == row.id]) for row in rows]


def _cursor(order: Order, key: Any, job_id: UUID) -> str:
    return base64.urlsafe_b64encode(orjson.dumps([order, key, job_id])).decode().rstrip("=")


def _read_cursor(cursor: str | None, order: Order) -> tuple[Any, UUID] | None:
    if cursor is None:
        return None
    try:
        made_for, key, job_id = orjson.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        if made_for != order:
            raise ValueError("another order")
        if order is Order.TITLE:
            return str(key).replace("\0", ""), UUID(job_id)
        return float(key) if order is Order.SUSPICION else datetime.fromisoformat(key), UUID(job_id)
    except (ValueError, TypeError, AttributeError):
        raise CodedError(Code.VALIDATION, "The cursor is not one of ours.") from None
