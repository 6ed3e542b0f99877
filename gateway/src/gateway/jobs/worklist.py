"""Lists of jobs: the worklist page by page, and what there is to compare a study with."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncEngine

from gateway.jobs import queries, rows
from gateway.jobs.queries import Filters, Order
from gateway.jobs.schemas import JobPage, JobSummary, Priors
from thorax.errors import Code, CodedError
from thorax.http.cursors import cursor_of, moment, place_of
from thorax.http.database import tenant_autocommit, tenant_scope

MOST_PRIORS = 50
MOST_CHANGED = 1000


@dataclass(frozen=True)
class Current:
    """Jobs as they were at a moment of the database's clock, and those `erased` before.

    Not `complete` if there were more than are read at once, or than are remembered.
    """

    moment: datetime
    items: list[JobSummary]
    complete: bool = True
    erased: Sequence[UUID] = ()


class Worklist:
    """Reads many jobs of one tenant."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def page(
        self, tenant_id: UUID, *, limit: int, order: Order, cursor: str | None, filters: Filters
    ) -> JobPage:
        """One page of the tenant's jobs."""
        after = _place(cursor, order) if cursor is not None else None
        async with tenant_autocommit(self._engine, tenant_id) as connection:
            found = await queries.page(
                connection, tenant_id, limit=limit + 1, order=order, after=after, filters=filters
            )
        items = [rows.summary(job) for job in found[:limit]]
        last = found[limit - 1] if len(found) > limit else None
        return JobPage(items=items, next=cursor_of(order, last.key, last.id) if last else None)

    async def current(self, tenant_id: UUID, since: datetime | None) -> Current:
        """The tenant's open jobs, and those that ended or were erased since a moment of the database's clock."""
        async with tenant_scope(self._engine, tenant_id) as connection:
            moment = await queries.now(connection)
            found = await queries.current(connection, tenant_id, since, MOST_CHANGED + 1)
            items = [rows.summary(job) for job in found[:MOST_CHANGED]]
            known = since is None or since > moment - queries.REMEMBERED
            gone = await queries.erased(connection, tenant_id, since, MOST_CHANGED + 1) if since else ()
        complete = known and max(len(found), len(gone)) <= MOST_CHANGED
        return Current(moment, items, complete, gone[:MOST_CHANGED])

    async def some(self, tenant_id: UUID, job_ids: Sequence[UUID]) -> Current:
        """Those of these jobs that the tenant has."""
        async with tenant_scope(self._engine, tenant_id) as connection:
            moment = await queries.now(connection)
            found = await queries.some(connection, job_ids)
        return Current(moment, [rows.summary(job) for job in found])

    async def priors(self, tenant_id: UUID, job_id: UUID) -> Priors:
        """Earlier studies of the same patient; CodedError(NOT_FOUND) if the tenant has no such job."""
        async with tenant_scope(self._engine, tenant_id) as connection:
            known = await queries.patient_known(connection, job_id)
            if known is None:
                raise CodedError(Code.NOT_FOUND, "The job does not exist.")
            found = await queries.priors(connection, job_id, MOST_PRIORS) if known else []
            return Priors(patient_known=known, items=[rows.summary(job) for job in found])


def _place(text: str, order: Order) -> tuple[Any, UUID]:
    """The sort key and the id that a page of this order ended with."""
    keys: dict[Order, Callable[[Any], Any]] = {Order.TITLE: _title, Order.SUSPICION: float}
    key, job_id = place_of(text, {str(order): order}.__getitem__, keys.get(order, moment), UUID)[1:]
    return key, job_id


def _title(key: object) -> str:
    return str(key).replace("\0", "")
