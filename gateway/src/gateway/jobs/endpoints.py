"""HTTP for jobs. The same routes serve signed-in callers (`/v1/jobs`) and the open API (`/v1/anonymous/jobs`)."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Annotated, Any, Literal
from uuid import UUID

import orjson
from anyio import Event
from fastapi import APIRouter, Depends, Header, Path, Query, Request, Response
from sse_starlette import EventSourceResponse, ServerSentEvent

from gateway.jobs import documentation as told
from gateway.jobs.rows import Order
from gateway.jobs.schemas import Accepted, JobPage, JobView, Priority, Priors
from gateway.jobs.service import MAX_WAIT_S, Access, JobService, known_finding
from gateway.jobs.worklist import Worklist
from gateway.uploads.accept import Acceptance, Sender
from gateway.uploads.rate_limit import Door
from gateway.uploads.receive import Intake
from thorax.errors import Code, CodedError
from thorax.http.address import client_address
from thorax.http.authentication import Reader, Writer
from thorax.http.problems import responses
from thorax.states import ANONYMOUS_TENANT, JobState

Key = Annotated[
    str | None,
    Header(alias="Idempotency-Key", min_length=1, max_length=200, description="makes a repetition safe"),
]

jobs = APIRouter(prefix="/v1/jobs", tags=["jobs"], responses=told.OWNERS_ERRORS)
anonymous = APIRouter(prefix="/v1/anonymous/jobs", tags=["open API"])


async def service(request: Request) -> JobService:
    """The job service of this process."""
    found: JobService = request.app.state.jobs
    return found


Service = Annotated[JobService, Depends(service)]


@jobs.post(
    "", status_code=202, openapi_extra=told.UPLOAD_BODY, responses={**told.RECEIPT, **told.UPLOAD_ERRORS}
)
async def post_job(request: Request, response: Response, caller: Writer, key: Key = None) -> Accepted:
    """Send 1 to 20 images of one study. The receipt comes when all of it is stored durably; then poll the job."""
    return await _accept(request, response, Sender(caller.tenant_id, caller.subject), key)


@anonymous.post(
    "",
    status_code=202,
    openapi_extra=told.UPLOAD_BODY,
    responses={**told.OPEN_RECEIPT, **told.OPEN_UPLOAD_ERRORS},
)
async def post_anonymous_job(request: Request, response: Response, key: Key = None) -> Accepted:
    """The same without an account: the link in the receipt is the only way to the job. Erased after a day."""
    door: Door = request.app.state.door
    if not door.settings.anonymous:
        raise CodedError(Code.FEATURE_OFF, "The open API is switched off here.")
    address = client_address(request, door.settings.trusted_proxies)
    response.headers.update(await door.limit(address))
    return await _accept(request, response, Sender(ANONYMOUS_TENANT, f"anonymous:{address}", True), key)


async def _accept(request: Request, response: Response, sender: Sender, key: str | None) -> Accepted:
    acceptance: Acceptance = request.app.state.acceptance
    intake: Intake = request.app.state.intake
    await acceptance.check_capacity(anonymous=sender.anonymous)
    upload = await intake.receive(request)
    try:
        accepted, fresh = await acceptance.accept(sender, upload, key)
    except CodedError:
        await intake.discard(upload)
        raise
    # After any other error nobody knows whether it was recorded: the sweeper erases what was not, an hour later.
    if not fresh:
        await intake.discard(upload)
    response.headers.update({"Location": accepted.links["self"], "Retry-After": "1"})
    return accepted


@jobs.get("", responses=responses(Code.UNKNOWN_FINDING))
async def list_jobs(
    caller: Reader,
    request: Request,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    cursor: Annotated[str | None, Query(max_length=1000)] = None,
    sort: Annotated[
        Order, Query(description="`suspicion`: furthest above its threshold first")
    ] = Order.NEWEST,
    state: JobState | None = None,
    priority: Priority | None = None,
    finding: Annotated[str | None, Query(description="studies positive for this finding")] = None,
    title: Annotated[str | None, Query(max_length=200, description="part of the title")] = None,
) -> JobPage:
    """The tenant's jobs, page by page."""
    filters = {
        "state": state,
        "priority": None if priority is None else priority.rank,
        "finding": known_finding(finding) if finding else None,
        "title": "".join(c for c in title if c.isprintable()) if title else None,
    }
    worklist: Worklist = request.app.state.worklist
    return await worklist.page(caller.tenant_id, limit=limit, order=sort, cursor=cursor, filters=filters)


@jobs.get("/{job_id}/priors", responses=told.READ_ERRORS)
async def list_priors(caller: Reader, request: Request, job_id: Annotated[UUID, Path()]) -> Priors:
    """Earlier studies of the same patient, by the patient's id in the DICOM files, which is kept as a keyed hash."""
    worklist: Worklist = request.app.state.worklist
    return await worklist.priors(caller.tenant_id, job_id)


async def own_job(caller: Reader, job_id: Annotated[UUID, Path()]) -> Access:
    """A job of the caller's tenant, if it is there (each query looks)."""
    return Access(caller.tenant_id, job_id, f"/v1/jobs/{job_id}")


async def own_job_to_change(caller: Writer, job_id: Annotated[UUID, Path()]) -> Access:
    """The same for a caller who may write."""
    return Access(caller.tenant_id, job_id, f"/v1/jobs/{job_id}")


async def open_job(service: Service, secret: Annotated[str, Path(max_length=100)]) -> Access:
    """A job of the open API, by its capability."""
    return await service.by_capability(secret)


Dependency = Callable[..., Awaitable[Access]]


def entity_tag(version: int) -> str:
    """The ETag of a job's version."""
    return f'W/"{version}"'


def seen_version(if_none_match: str | None) -> int | None:
    """The version a client says it has; None for none or for a tag that is not ours."""
    digits = (if_none_match or "").removeprefix("W/").strip('"')
    return int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 10 else None


def _patience(wait: float, prefer: str | None) -> float:
    """Seconds to hold the answer: `?wait=` or `Prefer: wait=` (RFC 7240, section 4.3)."""
    for part in (prefer or "").split(","):
        name, _, value = part.strip().partition("=")
        if name == "wait" and value.isascii() and value.isdigit() and len(value) < 5:
            return float(value)
    return wait


def add_job_routes(router: APIRouter, place: str, readable: Dependency, changeable: Dependency) -> None:
    """Give a router the routes of one job; the two dependencies say who may read and who may change it."""

    @router.get(place, responses={**told.JOB, **told.READ_ERRORS, 304: {"description": "not changed"}})
    async def get_job(
        service: Service,
        access: Annotated[Access, Depends(readable)],
        wait: Annotated[float, Query(ge=0, le=MAX_WAIT_S, description="seconds to hold the answer")] = 0,
        prefer: Annotated[str | None, Header()] = None,
        if_none_match: Annotated[str | None, Header()] = None,
    ) -> JobView:
        """The job. With `wait`, held until it changes from `If-None-Match`, or without one until it ends."""
        seen, patience = seen_version(if_none_match), _patience(wait, prefer)
        if patience or seen is not None:
            version, _ = await service.wait(access, patience, seen)
            if version == seen:
                return Response(status_code=304, headers={"ETag": entity_tag(version)})  # type: ignore[return-value]
        view = await service.view(access)
        headers = {"ETag": entity_tag(view.version), "Cache-Control": "private, no-cache"}
        if not view.state.final:
            headers["Retry-After"] = "1"
        # Written here, as FastAPI would check it once more.
        return Response(view.model_dump_json(), headers=headers, media_type="application/json")  # type: ignore[return-value]

    @router.get(
        f"{place}/events", responses={**told.EVENTS, **told.READ_ERRORS}, response_class=EventSourceResponse
    )
    async def events(
        service: Service,
        request: Request,
        access: Annotated[Access, Depends(readable)],
        last_event_id: Annotated[str | None, Header()] = None,
    ) -> EventSourceResponse:
        """Each change of the job as a server-sent event, until it ends. `Last-Event-ID` resumes."""
        await service.version(access)
        bell = request.app.state.bell
        changes = _changes(service, bell, access, seen_version(last_event_id))
        # With an event of ours it waits, when the gateway stops, until the stream has ended by itself.
        return EventSourceResponse(changes, ping=15, shutdown_event=Event(), shutdown_grace_period=3)

    _add_changes(router, place, changeable)


def _add_changes(router: APIRouter, place: str, changeable: Dependency) -> None:
    @router.delete(
        place,
        responses={
            **told.READ_ERRORS,
            **responses(Code.CONFLICT),
            200: {"model": JobView},
            204: {"description": "erased"},
        },
    )
    async def delete_job(
        service: Service,
        access: Annotated[Access, Depends(changeable)],
        only: Annotated[
            Literal["cancel", "erase"] | None, Query(description="refuse (409) to do the other of the two")
        ] = None,
    ) -> Any:
        """Cancel a job that is open (200, the cancelled job), or erase one that has ended (204)."""
        if await service.remove(access, only):
            return Response(status_code=204)
        return await service.view(access)

    @router.post(
        f"{place}/retry",
        status_code=202,
        responses={**told.READ_ERRORS, **responses(Code.CONFLICT, Code.QUOTA_EXCEEDED, Code.OVERLOADED)},
    )
    async def retry_job(
        service: Service, request: Request, access: Annotated[Access, Depends(changeable)]
    ) -> JobView:
        """Begin a failed, cancelled or degraded job anew."""
        acceptance: Acceptance = request.app.state.acceptance
        await acceptance.readmit(access.tenant_id)
        await service.retry(access)
        return await service.view(access)


async def _changes(
    service: JobService, bell: Any, access: Access, seen: int | None
) -> AsyncIterator[ServerSentEvent]:
    async with bell.watch(access.job_id) as watch:
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
            if view.state.final or bell.closing:
                return
            await watch.next(30)


_EVENT_FIELDS: set[str] = {"id", "state", "progress", "stages", "version", "error", "timings"}

add_job_routes(jobs, "/{job_id}", own_job, own_job_to_change)
add_job_routes(anonymous, "/{secret}", open_job, open_job)
