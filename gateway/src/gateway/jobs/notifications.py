"""Clients that wait for a job are notified by Postgres: one LISTEN connection for all of this process."""

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import AsyncIterator
from typing import NamedTuple
from uuid import UUID

import psycopg
import structlog

from thorax.database import KEEPALIVES
from thorax.states import JOBS_CHANNEL, JobState

_log = structlog.get_logger(__name__)


class Change(NamedTuple):
    """What a notification says about a job."""

    version: int
    state: JobState


class Watch:
    """One waiting client: the latest change since it last asked."""

    def __init__(self) -> None:
        self._event = asyncio.Event()
        self._change: Change | None = None

    def notify(self, change: Change | None) -> None:
        """The job changed. None: a change may have been missed, so read the job."""
        self._change = change
        self._event.set()

    async def next(self, timeout_s: float) -> Change | None:
        """Wait for a change. None: the time is up, or a change may have been missed."""
        try:
            await asyncio.wait_for(self._event.wait(), timeout_s)
        except TimeoutError:
            return None
        self._event.clear()
        return self._change


class JobNotifications:
    """Notifies the watches of a job when the ledger does, and all of them after the connection was lost.

    `listen_url`: a database connection that no pooler shares; without one, each waiting client reads the job each second.
    """

    def __init__(self, listen_url: str | None) -> None:
        self._url = listen_url and listen_url.replace("postgresql+psycopg://", "postgresql://")
        self._waiters: defaultdict[UUID, set[Watch]] = defaultdict(set)
        self.closing = False

    def close(self) -> None:
        """The gateway is about to stop: waiting requests are answered now, and none waits any more."""
        self.closing = True
        self._notify_all()

    @contextlib.asynccontextmanager
    async def watch(self, job_id: UUID) -> AsyncIterator[Watch]:
        """Be notified of each change of the job. Watch first and read then, and no change is missed."""
        watch = Watch()
        self._waiters[job_id].add(watch)
        try:
            yield watch
        finally:
            self._waiters[job_id].discard(watch)
            if not self._waiters[job_id]:
                del self._waiters[job_id]

    async def run(self) -> None:
        """Listen until cancelled."""
        while True:
            try:
                await self._listen()
            except (psycopg.Error, OSError, ValueError) as error:
                _log.warning("notifications_lost", error=type(error).__name__)
            self._notify_all()
            await asyncio.sleep(1)

    async def _listen(self) -> None:
        """Until the connection is lost; not at all without a connection of our own."""
        if self._url is None:
            return
        async with await psycopg.AsyncConnection.connect(
            self._url, autocommit=True, connect_timeout=5, **KEEPALIVES
        ) as connection:
            await connection.execute(f"listen {JOBS_CHANNEL}")
            self._notify_all()
            async for notice in connection.notifies():
                job_id, version, state = notice.payload.split(" ")
                for watch in self._waiters.get(UUID(job_id), ()):
                    watch.notify(Change(int(version), JobState(state)))

    def _notify_all(self) -> None:
        for watches in self._waiters.values():
            for watch in watches:
                watch.notify(None)
