"""HTTP for jobs that exist. The same routes serve accounts (`/v1/jobs`) and the open API (`/v1/anonymous/jobs`)."""

import re
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from datetime import date
from typing import Annotated, Any, Literal
from uuid import UUID

import orjson
from fastapi import APIRouter, Depends, Header, Path, Query, Request, Response
from pydantic import AwareDatetime, BeforeValidator
from sse_starlette import EventSourceResponse, ServerSentEvent

from gateway.jobs.events import event_stream
from gateway.jobs.notifications import JobNotifications
from gateway.jobs.queries import Filters, Order
from gateway.jobs.schemas import JobChange, JobPage, JobView, Priors
from gateway.jobs.service import MAX_WAIT_S, Access, JobService, known_finding
from gateway.jobs.worklist import Worklist
from gateway.uploads.accept import Acceptance
from thorax.errors import Code, CodedError
from thorax.http.authentication import Reader, Writer
from thorax.http.conditions import matches
from thorax.http.parameters import PRINTED
from thorax.http.problems import responses
from thorax.identity import Scope
from thorax.states import JobState, Priority

Full = Annotated[
    bool,
    Query(description="Ask all of the bundle's networks, also where its cascade would ask only the first."),
]
ACCOUNT_ERRORS = responses(Code.UNAUTHENTICATED, Code.FORBIDDEN)
READ_ERRORS = responses(Code.NOT_FOUND)
_ETAG = {
    "ETag": {
        "description": "The job's version, and whether a later one supersedes it, for `If-None-Match`.",
        "schema": {"type": "string"},
    }
}
_TAG = re.compile(r'(?:W/)?"(\d{1,9})(?:\.[0-9a-f]{8})?"', re.ASCII)
_ID = re.compile(r"\d{1,9}", re.ASCII)
_EVENT_FIELDS: set[str] = {"id", "state", "progress", "stages", "version", "error", "timings"}
_EVENT = 'event: job\nid: 3\ndata: {"state": "running", "progress": {"done": 1, "total": 4}}\n\n'
_EVENTS = {"text/event-stream": {"schema": {"type": "string"}, "example": _EVENT}}


def _or_midnight(text: str) -> str:
    """A moment as it stands, a date as its midnight. Pydantic would take a year or 20261128 for seconds since 1970."""
    return text if ":" in text else f"{date.fromisoformat(text)}T00:00:00Z"


_MOMENT = BeforeValidator(_or_midnight)

jobs = APIRouter(prefix="/v1/jobs", tags=["jobs"], responses=ACCOUNT_ERRORS)
anonymous = APIRouter(prefix="/v1/anonymous/jobs", tags=["open API"])


async def service(request: Request) -> JobService:
    """The job service of this process."""
    found: JobService = request.app.state.jobs
    return found


Service = Annotated[JobService, Depends(service)]


@jobs.get("", responses=responses(Code.UNKNOWN_FINDING))
async def list_jobs(
    caller: Reader,
    request: Request,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    cursor: Annotated[str | None, Query(max_length=1000)] = None,
    sort: Annotated[
        Order, Query(description="`suspicion`: furthest above a threshold first.")
    ] = Order.NEWEST,
    state: JobState | None = None,
    priority: Priority | None = None,
    finding: Annotated[str | None, Query(description="Only studies positive for this finding.")] = None,
    title: Annotated[
        str | None, Query(pattern=PRINTED, max_length=200, description="Part of the title.")
    ] = None,
    created_after: Annotated[
        AwareDatetime | None,
        _MOMENT,
        Query(description="From this moment on, e.g. `2026-01-01T12:00:00Z`; a date is its midnight in UTC."),
    ] = None,
    created_before: Annotated[AwareDatetime | None, _MOMENT, Query(description="Before this moment.")] = None,
    study_instance_uid: Annotated[str | None, Query(pattern=PRINTED, max_length=64)] = None,
    accession: Annotated[
        str | None, Query(pattern=PRINTED, max_length=16, description="The Accession Number.")
    ] = None,
    patient: Annotated[
        str | None,
        Query(pattern="^[0-9a-f]{64}$", description="A pseudonym, as `patient` of a job names it."),
    ] = None,
    bundle: Annotated[
        str | None, Query(pattern=PRINTED, max_length=200, description="A bundle's name or digest.")
    ] = None,
) -> JobPage:
    """List the tenant's jobs, page by page."""
    filters = Filters(
        state,
        priority,
        known_finding(finding) if finding else None,
        title,
        created_after,
        created_before,
        study_instance_uid,
        accession,
        patient,
        bundle,
    )
    worklist: Worklist = request.app.state.worklist
    return await worklist.page(caller.tenant_id, limit=limit, order=sort, cursor=cursor, filters=filters)


@jobs.get("/{job_id}/priors", responses=READ_ERRORS)
async def list_priors(caller: Reader, request: Request, job_id: Annotated[UUID, Path()]) -> Priors:
    """List earlier studies of the same patient. Patients are matched by a keyed hash of the DICOM Patient ID."""
    worklist: Worklist = request.app.state.worklist
    return await worklist.priors(caller.tenant_id, job_id)


async def own_job(caller: Reader, job_id: Annotated[UUID, Path()]) -> Access:
    """A job of the caller's tenant; each query checks that it exists."""
    return Access(caller.tenant_id, job_id, f"/v1/jobs/{job_id}", person=caller.kind == "user")


async def own_job_to_change(caller: Writer, job_id: Annotated[UUID, Path()]) -> Access:
    """The same for a caller who may write."""
    reads = Scope.STUDIES_READ in caller.scopes
    return Access(caller.tenant_id, job_id, f"/v1/jobs/{job_id}", reads)


async def open_job(service: Service, secret: Annotated[str, Path(max_length=100)]) -> Access:
    """A job of the open API, by its capability."""
    return await service.by_capability(secret)


Dependency = Callable[..., Awaitable[Access]]


def entity_tag(version: int, superseded_by: UUID | None = None) -> str:
    """The ETag of a job's version. That another job supersedes it is no change of the job itself, but of what is said of it."""
    return f'W/"{version}.{superseded_by.hex[:8]}"' if superseded_by else f'W/"{version}"'


def _caching(tag: str) -> dict[str, str]:
    """What 200 and 304 say alike (RFC 9110, 15.4.5); Vary is added to what is packed."""
    return {"ETag": tag, "Cache-Control": "private, no-cache"}


def seen_versions(if_none_match: str | None) -> Collection[int]:
    """The versions that a client says it has, in a list of tags or with `*`; foreign tags are left out."""
    if (if_none_match or "").strip() == "*":
        return range(2**31)
    return frozenset(map(int, _TAG.findall(if_none_match or "")))


def _wait_s(wait: float, prefer: str | None) -> float:
    """Seconds to hold the answer: `?wait=` or `Prefer: wait=` (RFC 7240, section 4.3)."""
    for part in (prefer or "").split(","):
        name, _, value = part.strip().partition("=")
        if name == "wait" and value.isascii() and value.isdigit() and len(value) < 5:
            return float(value)
    return wait


def add_job_routes(router: APIRouter, path: str, readable: Dependency, changeable: Dependency) -> None:
    """Give a router the routes of one job; the two dependencies say who may read and who may change it."""

    @router.get(
        path, responses={**READ_ERRORS, 200: {"headers": _ETAG}, 304: {"description": "Not changed."}}
    )
    async def get_job(
        service: Service,
        access: Annotated[Access, Depends(readable)],
        wait: Annotated[float, Query(ge=0, le=MAX_WAIT_S, description="Seconds to hold the answer.")] = 0,
        prefer: Annotated[str | None, Header()] = None,
        if_none_match: Annotated[str | None, Header()] = None,
    ) -> JobView:
        """Fetch the job. `wait` holds the answer until the job changes from `If-None-Match`, or without that header until it ends."""
        seen, seconds = seen_versions(if_none_match), _wait_s(wait, prefer)
        if seconds or seen:
            version, state = await service.wait(access, seconds, seen)
            if version in seen:
                tag = entity_tag(version, await service.superseded_by(access) if state.final else None)
                if matches(if_none_match, tag):
                    return Response(status_code=304, headers=_caching(tag) | {"Vary": "Accept-Encoding"})  # type: ignore[return-value]
        view = await service.view(access, "json")
        headers = _caching(entity_tag(view.version, view.superseded_by))
        if not view.state.final:
            headers["Retry-After"] = "1"
        # Written here, as FastAPI would check it once more.
        return Response(view.model_dump_json(), headers=headers, media_type="application/json")  # type: ignore[return-value]

    @router.get(
        f"{path}/events",
        responses={
            **READ_ERRORS,
            200: {"description": "`job` events until the job ends, or one `erased`.", "content": _EVENTS},
            204: {"description": "The job has ended, and the client has its last event. Do not reconnect."},
        },
        response_class=EventSourceResponse,
    )
    async def stream_job_events(
        service: Service,
        request: Request,
        access: Annotated[Access, Depends(readable)],
        last_event_id: Annotated[str | None, Header()] = None,
    ) -> Response:
        """Stream each change of the job as a server-sent event until it ends. `Last-Event-ID` resumes."""
        version, state = await service.version(access)
        seen = int(last_event_id) if last_event_id and _ID.fullmatch(last_event_id) else None
        if state.final and version == seen:  # with any other answer EventSource would ask for ever
            return Response(status_code=204)
        notifications: JobNotifications = request.app.state.notifications
        return event_stream(request, _changes(service, notifications, access, seen))

    _add_changes(router, path, changeable)


def _add_changes(router: APIRouter, path: str, changeable: Dependency) -> None:
    @router.delete(
        path,
        responses={
            **READ_ERRORS,
            **responses(Code.CONFLICT),
            200: {"model": JobView | JobChange, "description": "Cancelled."},
            204: {"description": "Erased."},
        },
    )
    async def delete_job(
        service: Service,
        access: Annotated[Access, Depends(changeable)],
        only: Annotated[
            Literal["cancel", "erase"] | None,
            Query(description="Do only this; 409 if the job is not in the state for it."),
        ] = None,
    ) -> Any:
        """Cancel an open job (200), or erase one that has ended with all its images (204)."""
        if await service.remove(access, only):
            return Response(status_code=204)
        return await _changed(service, access)

    @router.post(
        f"{path}/retry",
        status_code=202,
        responses={**READ_ERRORS, **responses(Code.CONFLICT, Code.QUOTA_EXCEEDED, Code.OVERLOADED)},
    )
    async def retry_job(
        service: Service, request: Request, access: Annotated[Access, Depends(changeable)]
    ) -> JobView | JobChange:
        """Analyse a failed, cancelled or degraded job again."""
        acceptance: Acceptance = request.app.state.acceptance
        await acceptance.check_retry(access.tenant_id)
        await service.retry(access)
        return await _changed(service, access)


async def _changed(service: JobService, access: Access) -> JobView | JobChange:
    """The job after a change. Without the scope to read, none of its results."""
    job = await service.view(access)
    return job if access.reads else JobChange(id=job.id, state=job.state, links=job.links)


async def _changes(
    service: JobService, notifications: JobNotifications, access: Access, seen: int | None
) -> AsyncIterator[ServerSentEvent]:
    async with notifications.watch(access.job_id) as watch:
        while True:
            try:
                view = await service.view(access)
            except CodedError:
                yield ServerSentEvent(event="erased", data="{}")
                return
            if view.version != seen:
                seen = view.version
                data = orjson.dumps(view.model_dump(mode="json", include=_EVENT_FIELDS)).decode()
                yield ServerSentEvent(event="job", id=str(view.version), data=data)
            if view.state.final or notifications.closing:
                return
            await watch.next(30)


@jobs.post(
    "/{job_id}/analyse",
    status_code=202,
    responses={**READ_ERRORS, **responses(Code.CONFLICT, Code.QUOTA_EXCEEDED, Code.OVERLOADED)},
)
async def analyse_again(
    service: Service,
    caller: Writer,
    request: Request,
    response: Response,
    access: Annotated[Access, Depends(own_job_to_change)],
    full: Full = False,
) -> JobView | JobChange:
    """Analyse the images of a job that has succeeded again, by the bundle that the tenant has now.

    The answer is the new job, which supersedes the old one; the old one stays. If the study has an open job, it is that.
    """
    acceptance: Acceptance = request.app.state.acceptance
    await acceptance.check_retry(access.tenant_id)
    new = await service.again(access, caller.subject, full=full)
    response.headers["Location"] = new.base
    return await _changed(service, new)


add_job_routes(jobs, "/{job_id}", own_job, own_job_to_change)
add_job_routes(anonymous, "/{secret}", open_job, open_job)
