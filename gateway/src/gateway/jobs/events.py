"""One stream of events for all of a tenant's jobs, so that a page follows hundreds of them by one connection."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterable
from datetime import UTC, datetime
from typing import Annotated
from uuid import UUID

import orjson
from anyio import Event
from fastapi import APIRouter, Header, Query, Request, Response
from sse_starlette import EventSourceResponse, ServerSentEvent

from gateway.jobs.notifications import JobNotifications, Watch
from gateway.jobs.schemas import JobSummary
from gateway.jobs.worklist import MOST_CHANGED, Current, Worklist
from thorax.errors import Code, CodedError
from thorax.http.authentication import Reader
from thorax.http.methods import only_head
from thorax.http.problems import responses

STREAMS_PER_TENANT = 200  # of one gateway
GATHER_S = 0.25  # changes within it are read and sent at once
PING_S = 15
EVENT_ID = "^[0-9]{1,13}$"  # milliseconds since 1970
_EXAMPLE = """event: job
id: 1767268800000
data: {"id": "3f0c2b1e-6a55-4d0e-9a3e-2f2f4c1f7b11", "state": "running", "progress": {"done": 1, "total": 4}, "version": 3}

event: open
id: 1767268800000
data: {"jobs": ["3f0c2b1e-6a55-4d0e-9a3e-2f2f4c1f7b11"]}

event: erased
data: {"id": "3f0c2b1e-6a55-4d0e-9a3e-2f2f4c1f7b11"}

event: reset
data: {}

"""
_STREAM = {
    "description": "`job`: a job that is open or has changed, as a row of `GET /v1/jobs`. `open`: the ids of all open jobs, "
    "after those were sent; a job that is not among them is not open any more. `erased`: a job that is gone. `reset`: "
    "more has changed since `Last-Event-ID` than is sent, so read your lists anew.",
    "content": {"text/event-stream": {"schema": {"type": "string"}, "example": _EXAMPLE}},
}
router = APIRouter(prefix="/v1/events", tags=["jobs"])


@router.get(
    "",
    responses={200: _STREAM, **responses(Code.UNAUTHENTICATED, Code.FORBIDDEN, Code.RATE_LIMITED)},
    response_class=EventSourceResponse,
)
async def stream_events(
    caller: Reader,
    request: Request,
    last_event_id: Annotated[str | None, Header(max_length=100)] = None,
    since: Annotated[
        str | None,
        Query(
            pattern=EVENT_ID, description="The last event's id, for clients that can't send `Last-Event-ID`."
        ),
    ] = None,
) -> Response:
    """Stream every change of the tenant's jobs as server-sent events; `Last-Event-ID` resumes without a gap.

    It begins with all open jobs, and after an id also with those that ended or were erased since, within a day. It ends with the access token.
    """
    notifications: JobNotifications = request.app.state.notifications
    if notifications.watches(caller.tenant_id) >= STREAMS_PER_TENANT:
        what = f"{STREAMS_PER_TENANT} event streams of this tenant are open."
        raise CodedError(Code.RATE_LIMITED, what, retry_after=PING_S)
    stream = TenantStream(request.app.state.worklist, notifications, caller.tenant_id)
    return event_stream(request, stream.run(last_event_id or since, caller.expires_at or time.time()))


def event_stream(request: Request, events: AsyncIterator[ServerSentEvent]) -> Response:
    """The answer that streams events, with a comment every 15 s; only its header for HEAD."""
    if only_head(request):
        head = Response(media_type="text/event-stream")
        del head.headers["content-length"]  # of a body that has no end
        return head
    # With an event of its own it waits, when the gateway stops, until the stream has ended by itself.
    return EventSourceResponse(events, ping=PING_S, shutdown_event=Event(), shutdown_grace_period=3)


class TenantStream:
    """What one client has been sent of its tenant's jobs, and what it is sent next.

    An event's id is a moment of the database's clock: whatever had changed before it was sent.
    """

    def __init__(self, worklist: Worklist, notifications: JobNotifications, tenant_id: UUID) -> None:
        self._worklist, self._notifications, self._tenant_id = worklist, notifications, tenant_id
        self._sent: dict[UUID, int] = {}  # versions, by job
        self._open: set[UUID] | None = None
        self._moment: datetime | None = None

    async def run(self, last_id: str | None, until: float) -> AsyncIterator[ServerSentEvent]:
        """Events from after `last_id`, until the gateway stops or `until` (seconds since 1970)."""
        self._moment = _moment(last_id)
        if last_id and self._moment is None:
            yield ServerSentEvent(event="reset", data="{}")
        async with self._notifications.watch(self._tenant_id) as watch:
            for event in await self._all():
                yield event
            while not self._notifications.closing and (left := until - time.time()) > 0:
                for event in await self._next(watch, min(left, PING_S)):
                    yield event
                await asyncio.sleep(GATHER_S)

    async def _next(self, watch: Watch, timeout_s: float) -> Iterable[ServerSentEvent]:
        changes = await watch.next(timeout_s)
        if changes is None or len(changes) > MOST_CHANGED:
            return await self._all()
        if not changes:
            return ()
        current = await self._worklist.some(self._tenant_id, list(changes))
        return [*self._news(current), *map(_erased, changes.keys() - {item.id for item in current.items})]

    async def _all(self) -> list[ServerSentEvent]:
        """What is open and what has ended since the last event: all that a client needs after a gap."""
        current = await self._worklist.current(self._tenant_id, self._moment)
        events = [] if current.complete else [ServerSentEvent(event="reset", data="{}")]
        events += [*map(_erased, current.erased), *self._news(current)]
        opened = {item.id for item in current.items if not item.state.final}
        if opened != self._open:
            self._open = opened
            events.append(self._event("open", orjson.dumps({"jobs": sorted(map(str, opened))})))
        return events

    def _news(self, current: Current) -> list[ServerSentEvent]:
        """Those of the jobs that the client does not have in this version, oldest first."""
        self._moment = current.moment
        news = [item for item in current.items if self._sent.get(item.id) != item.version]
        self._sent |= {item.id: item.version for item in news}
        return [self._event("job", item.model_dump_json()) for item in sorted(news, key=_created)]

    def _event(self, name: str, data: str | bytes) -> ServerSentEvent:
        moment = self._moment or datetime.now(UTC)
        text = data if isinstance(data, str) else data.decode()
        return ServerSentEvent(event=name, id=str(int(moment.timestamp() * 1000)), data=text)


def _erased(job_id: UUID) -> ServerSentEvent:
    return ServerSentEvent(event="erased", data=f'{{"id":"{job_id}"}}')


def _created(item: JobSummary) -> datetime:
    return item.created_at


def _moment(event_id: str | None) -> datetime | None:
    """The moment that an event's id names; None for no id of ours."""
    if not event_id or not (event_id.isascii() and event_id.isdigit() and len(event_id) < 14):
        return None
    return datetime.fromtimestamp(int(event_id) / 1000, UTC)
