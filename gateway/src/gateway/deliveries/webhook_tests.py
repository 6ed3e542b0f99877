"""HTTP for a test of a webhook: the sweeper, which alone reads its secret and reaches its network, sends it now."""

import asyncio
from time import monotonic
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field

from gateway.deliveries.destinations import Name
from gateway.engine import engine_of
from thorax import queries
from thorax.errors import Code, CodedError
from thorax.http.authentication import Admin
from thorax.http.database import tenant_autocommit
from thorax.http.problems import responses
from thorax.states import TEST_WAITS_S

router = APIRouter(prefix="/v1/admin/tenants/{tenant_id}/webhooks", tags=["webhooks"])
_LOOK_S = 0.25
_LATE = f"Thorax sent nothing within {TEST_WAITS_S} seconds. Ask the operator whether the sweeper runs."
_SQL = queries.load(__file__)


class WebhookTest(BaseModel):
    """How a webhook answered a test."""

    delivered: bool
    answer: Annotated[str, Field(description="One sentence.", examples=["The endpoint answers 204."])]


@router.post(
    "/{name}/test", responses=responses(Code.UNAUTHENTICATED, Code.FORBIDDEN, Code.CSRF, Code.NOT_FOUND)
)
async def send_test(_: Admin, request: Request, tenant_id: UUID, name: Name) -> WebhookTest:
    """Send a signed event `webhook.test` now, and tell how it is answered. It has the form of a job that has ended; its ids are zeros."""
    engine = engine_of(request)
    async with tenant_autocommit(engine, tenant_id) as connection:
        test = (await connection.execute(_SQL["ask"], {"tenant": tenant_id, "name": name})).scalar()
    if test is None:
        raise CodedError(Code.NOT_FOUND, "The tenant has no such webhook.")
    until = monotonic() + TEST_WAITS_S
    while monotonic() < until:
        await asyncio.sleep(_LOOK_S)
        async with tenant_autocommit(engine, tenant_id) as connection:
            row = (await connection.execute(_SQL["answer"], {"id": test})).first()
        if row:
            return WebhookTest(delivered=row.delivered, answer=row.answer)
    return WebhookTest(delivered=False, answer=_LATE)
