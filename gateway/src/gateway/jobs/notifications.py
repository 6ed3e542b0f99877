"""Clients that wait for a job are notified by Postgres: one LISTEN connection for all of this process."""

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import AsyncIterator
from typing import Any, NamedTuple
from uuid import UUID

import psycopg
import structlog

from thorax.database import KEEPALIVES
from thorax.states import JOBS_CHANNEL, JobState

_REMEMBERED = 1000  # open jobs; most are waited for within moments
_log = structlog.get_logger(__name__)


class Change(NamedTuple):
    """What a notification says about a job."""

    version: int
    state: JobState


class Watch:
    """One waiting client: what has changed since it last asked."""

    def __init__(self) -> None:
        self._event = asyncio.Event()
        self._changes: dict[UUID, Change | None] | None = {}

    def notify(self, job_id: UUID, change: Change | None) -> None:
        """A job changed; None: it was erased."""
        if self._changes is not None:
            self._changes[job_id] = change
        self._event.set()

    def lose(self) -> None:
        """Changes may have been missed, so what is watched has to be read."""
        self._changes = None
        self._event.set()

    async def next(self, timeout_s: float) -> dict[UUID, Change | None] | None:
        """Wait for changes, by job. Empty: the time is up. None: some may have been missed."""
        try:
            await asyncio.wait_for(self._event.wait(), timeout_s)
        except TimeoutError:
            return {}
        self._event.clear()
        changes, self._changes = self._changes, {}
        return changes


class JobNotifications:
    """Notifies the watches of a job and of its tenant when it changes, and all of them after the connection was lost.

    `listen_url`: a database connection that no pooler shares; without one, each waiting client reads the job each second.
    """

    def __init__(self, listen_url: str | None) -> None:
        self._url = listen_url and listen_url.replace("postgresql+psycopg://", "postgresql://")
        self._waiters: defaultdict[UUID, set[Watch]] = defaultdict(set)
        self._heard: dict[tuple[UUID, UUID], Change] = {}
        self.closing = False

    def close(self) -> None:
        """The gateway is about to stop: waiting requests are answered now, and none waits any more."""
        self.closing = True
        self._notify_all()

    @contextlib.asynccontextmanager
    async def watch(self, watched: UUID) -> AsyncIterator[Watch]:
        """Be notified of each change of a job, or of all of a tenant's. Watch first and read then: no change is missed."""
        watch = Watch()
        self._waiters[watched].add(watch)
        try:
            yield watch
        finally:
            self._waiters[watched].discard(watch)
            if not self._waiters[watched]:
                del self._waiters[watched]

    def watches(self, watched: UUID) -> int:
        """How many clients watch a job, or all of a tenant's."""
        return len(self._waiters.get(watched, ()))

    def heard(self, tenant_id: UUID, job_id: UUID) -> Change | None:
        """The latest that was said of a tenant's open job; for those who wait: what is newer is on its way to them.

        None: not known, or the job has ended.
        """
        return self._heard.get((tenant_id, job_id))

    async def run(self) -> None:
        """Listen until cancelled."""
        while True:
            try:
                await self._listen()
            except (psycopg.Error, OSError, ValueError) as error:
                _log.warning("notifications_lost", error=type(error).__name__)
            self._heard.clear()
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
            while True:
                await _readable(connection.fileno())
                await self._tell(connection)

    async def _tell(self, connection: psycopg.AsyncConnection[Any]) -> None:
        async for notice in connection.notifies(timeout=0):
            tenant_id, job_id, version, state = notice.payload.split(" ")
            change = Change(int(version), JobState(state)) if state else None
            tenant, job = UUID(tenant_id), UUID(job_id)
            self._remember(tenant, job, change)
            for watched in (tenant, job):
                for watch in self._waiters.get(watched, ()):
                    watch.notify(job, change)

    def _remember(self, tenant_id: UUID, job_id: UUID, change: Change | None) -> None:
        self._heard.pop((tenant_id, job_id), None)
        if change and not change.state.final:
            self._heard[tenant_id, job_id] = change
        if len(self._heard) > _REMEMBERED:
            del self._heard[next(iter(self._heard))]  # of which nothing was heard for the longest time

    def _notify_all(self) -> None:
        for watches in self._waiters.values():
            for watch in watches:
                watch.lose()


async def _readable(descriptor: int) -> None:
    """Until there is something to read. (psycopg itself would look ten times a second.)"""
    loop = asyncio.get_running_loop()
    readable = asyncio.Event()
    loop.add_reader(descriptor, readable.set)
    try:
        await readable.wait()
    finally:
        loop.remove_reader(descriptor)
