"""Settling: a study that has been quiet for long enough gets its job. Any gateway does it; the database shares it out."""

import asyncio
import contextlib

import structlog
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from gateway.hints import HintSender
from gateway.studies import queries
from thorax.http.database import autocommit

LOOK_EVERY_S = 0.1
AT_ONCE = 50
_log = structlog.get_logger(__name__)


class Settling:
    """Looks for studies that are due."""

    def __init__(self, engine: AsyncEngine, hints: HintSender) -> None:
        self._engine, self._hints = engine, hints
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to look."""
        self._task = asyncio.create_task(self._run(), name="settling")

    async def stop(self) -> None:
        """Stop looking."""
        if self._task:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def settle(self) -> None:
        """Add the jobs that are due now."""
        async with autocommit(self._engine) as connection:
            images = await queries.settle(connection, AT_ONCE)
        if images:
            self._hints.prepare(images)

    async def _run(self) -> None:
        while True:
            try:
                await self.settle()
            except (SQLAlchemyError, OSError) as error:
                _log.warning("settling_later", error=type(error).__name__)
                await asyncio.sleep(1)
            await asyncio.sleep(LOOK_EVERY_S)
