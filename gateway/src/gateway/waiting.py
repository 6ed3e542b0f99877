"""Who waits for a job is woken by Postgres: one LISTEN connection for all waiting clients of this process."""

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import AsyncIterator
from uuid import UUID

import psycopg
import structlog

from thorax.ledger import JOBS_CHANNEL

_log = structlog.get_logger(__name__)


class JobBell:
    """Rings for a job whenever the ledger notifies; rings for all after the connection was lost."""

    def __init__(self, database_url: str) -> None:
        self._url = database_url.replace("postgresql+psycopg://", "postgresql://")
        self._waiters: defaultdict[UUID, set[asyncio.Event]] = defaultdict(set)
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to listen."""
        self._task = asyncio.create_task(self._run(), name="job-bell")

    async def stop(self) -> None:
        """Stop listening, and let everybody who waits answer with what there is."""
        if self._task:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        self._ring_all()

    @contextlib.asynccontextmanager
    async def watch(self, job_id: UUID) -> AsyncIterator[asyncio.Event]:
        """An event that is set at each change of the job. Watch first, read then: no change is missed."""
        event = asyncio.Event()
        self._waiters[job_id].add(event)
        try:
            yield event
        finally:
            self._waiters[job_id].discard(event)
            if not self._waiters[job_id]:
                del self._waiters[job_id]

    async def _run(self) -> None:
        while True:
            try:
                async with await psycopg.AsyncConnection.connect(
                    self._url, autocommit=True, connect_timeout=5, keepalives_idle=30
                ) as connection:
                    await connection.execute(f"listen {JOBS_CHANNEL}")
                    self._ring_all()
                    async for notice in connection.notifies():
                        for event in self._waiters.get(UUID(notice.payload), ()):
                            event.set()
            except psycopg.Error as error:
                _log.warning("bell_lost", error=type(error).__name__)
            self._ring_all()
            await asyncio.sleep(1)

    def _ring_all(self) -> None:
        for events in self._waiters.values():
            for event in events:
                event.set()


async def ring(event: asyncio.Event, timeout_s: float) -> bool:
    """Wait until the event is set and clear it; False when the time is up."""
    try:
        await asyncio.wait_for(event.wait(), timeout_s)
    except TimeoutError:
        return False
    event.clear()
    return True
