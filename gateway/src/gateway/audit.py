"""The audit: who looked at pixels and results, which the gateway writes, and all of it for administrators.

All else is written by the database itself (migrations/audit.sql).
"""

from collections.abc import Iterable
from datetime import datetime
from time import monotonic
from typing import Annotated, Any
from uuid import UUID

import orjson
from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, Field
from sqlalchemy.ext.asyncio import AsyncEngine

from gateway.engine import engine_of
from thorax import queries
from thorax.errors import Code
from thorax.http.authentication import Admin
from thorax.http.database import ACTOR, tenant_autocommit
from thorax.http.problems import responses

router = APIRouter(prefix="/v1/admin", tags=["administration"])
SAME_LOOK_S = 60.0
_REMEMBERED = 10_000
_SQL = queries.load(__file__)


class Looks:
    """Writes who looked at which pixels or result. Of the same person at the same thing it writes one row a minute."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._until: dict[tuple[str, UUID, str], float] = {}

    async def note(self, tenant_id: UUID, instance_ids: Iterable[UUID], pixels: str) -> None:
        """Write it before the pixels are sent. `pixels`: which of an image, e.g. `original` or `overlay/Edema`."""
        new = self.new(instance_ids, pixels)
        if not new:
            return
        rows = [{"subject": str(id_), "detail": {"pixels": pixels}} for id_ in new]
        async with tenant_autocommit(self._engine, tenant_id) as connection:
            values = {"tenant": tenant_id, "actor": actor(), "looks": orjson.dumps(rows).decode()}
            await connection.execute(_SQL["looked"], values)
        self.written(new, pixels)

    def new(self, ids: Iterable[UUID], what: str) -> list[UUID]:
        """Those of `ids` of which no look at `what` by the same person was written within a minute."""
        now = monotonic()
        return [id_ for id_ in ids if self._until.get((actor(), id_, what), 0) < now]

    def written(self, ids: Iterable[UUID], what: str) -> None:
        """Looks at `what` that the audit has now."""
        if len(self._until) > _REMEMBERED:
            self._until.clear()
        self._until.update(dict.fromkeys(((actor(), id_, what) for id_ in ids), monotonic() + SAME_LOOK_S))


def actor() -> str:
    """Who looks: an account, a client, or who has an open link."""
    return ACTOR.get() or "link"


class AuditRow(BaseModel):
    """Something that was done. Ids, codes and probabilities, no names."""

    id: int
    tenant_id: UUID = Field(description="Whose it is; only zeros: the platform's.")
    at: datetime
    actor: str = Field(
        description="An account's or a client's id, `link` for an open link, or a service's database login."
    )
    action: str = Field(examples=["looked"])
    subject: str = Field(description="The id of what it was done to.")
    detail: dict[str, Any]
    place: int | None = Field(description="In its tenant's chain; null until it is linked, seconds later.")
    digest: str | None = Field(description="SHA-256 of the digest before it and of the row.")


class AuditPage(BaseModel):
    """A page of the audit, the latest first."""

    items: list[AuditRow]
    next: int | None = Field(description="`before` of the next page; null on the last.")


@router.get("/audit", responses=responses(Code.UNAUTHENTICATED, Code.FORBIDDEN))
async def list_audit(
    _: Admin,
    request: Request,
    tenant_id: UUID | None = None,
    before: Annotated[int | None, Query(ge=1, lt=2**63, description="Rows with lower ids only.")] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> AuditPage:
    """List what was done in all tenants, or in one. `thorax admin audit verify` checks the chains."""
    async with engine_of(request).connect() as connection:
        values = {"tenant": tenant_id, "before": before, "limit": limit + 1}
        rows = (await connection.execute(_SQL["trail"], values)).all()
    items = [AuditRow.model_validate(row._mapping) for row in rows[:limit]]
    return AuditPage(items=items, next=items[-1].id if len(rows) > limit else None)
