"""Settling: a study that has been quiet for long enough gets its job. Each process that files images does it; the database
shares it out."""

import asyncio
from contextlib import suppress
from time import monotonic

import structlog
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from gateway.config import SHORTEST_QUIET_S
from gateway.hints import HintSender
from gateway.metrics import tell_of_accepted
from gateway.studies import queries

AT_ONCE = 50
LONGEST_S = 15.0  # between two looks: of what another process filed and did not settle, as it ended
_log = structlog.get_logger(__name__)


class Settling:
    """Looks for studies that are due, and sleeps until the next one is."""

    def __init__(self, engine: AsyncEngine, hints: HintSender) -> None:
        self._engine, self._hints = engine, hints
        self._arrived = asyncio.Event()

    def arrived(self) -> None:
        """An image of a study was filed by this process; on its loop."""
        self._arrived.set()

    async def add_due_jobs(self) -> float:
        """Add the jobs that are due now; seconds until the next study is due."""
        async with self._engine.connect() as connection:
            jobs, next_in_s = await queries.add_due_jobs(connection, AT_ONCE)
        for settled in jobs:
            tell_of_accepted(settled.job, settled.tenant, settled.images)
        if jobs:
            self._hints.prepare(sum(settled.images for settled in jobs))
        return next_in_s

    async def run(self) -> None:
        """Add jobs until cancelled."""
        while True:
            wait_s = SHORTEST_QUIET_S
            try:
                wait_s = min(await self.add_due_jobs(), LONGEST_S)
            except (SQLAlchemyError, OSError) as error:
                _log.warning("settling_later", error=type(error).__name__)
            await self._until_due(wait_s)

    async def _until_due(self, wait_s: float) -> None:
        """A study that arrives meanwhile is not due before it has been quiet for the shortest time."""
        due = monotonic() + wait_s
        with suppress(TimeoutError):
            await asyncio.wait_for(self._arrived.wait(), wait_s)
        self._arrived.clear()
        await asyncio.sleep(min(due - monotonic(), SHORTEST_QUIET_S))
