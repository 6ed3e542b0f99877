"""For administrators: how the platform does, what failed in any tenant, and a second try. Ids, codes and times only."""

import asyncio
from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, Field

from gateway.engine import engine_of
from gateway.jobs.rows import error
from gateway.jobs.schemas import ErrorView
from gateway.jobs.service import Access, JobService
from thorax import queries
from thorax.errors import Code, CodedError
from thorax.http.authentication import Admin
from thorax.http.cursors import cursor_of, newest_first
from thorax.http.problems import responses
from thorax.states import JobState, StepKind
from thorax.storage import BlobStore

router = APIRouter(prefix="/v1/admin", tags=["administration"])
_ERRORS = (Code.UNAUTHENTICATED, Code.FORBIDDEN)
_SQL = queries.load(__file__)


class DeadStep(BaseModel):
    """A step that failed as often as it may."""

    kind: StepKind
    backbone: str | None
    attempts: int
    code: str | None


class FailedJob(BaseModel):
    """A job that failed, or whose result lacks backbones."""

    id: UUID
    tenant_id: UUID
    state: JobState
    error: ErrorView | None
    missing_backbones: list[str]
    bundle_digest: str
    images: int
    dead: list[DeadStep]
    created_at: datetime
    finished_at: datetime


class FailedPage(BaseModel):
    """A page of failed jobs, the latest first."""

    items: list[FailedJob]
    next: str | None = Field(description="`cursor` of the next page; null on the last.")


class Queue(BaseModel):
    """Steps of one kind, of all tenants."""

    kind: StepKind
    backbone: str | None
    waiting: int
    running: int
    oldest_s: float | None = Field(description="Seconds since the oldest waiting one was made.")


class Worker(BaseModel):
    """A process that works or worked within a day."""

    id: str
    service: str
    kinds: list[str]
    backbones: list[str]
    provider: str = Field(description="ONNX Runtime's execution provider; empty where there is none.")
    seen_s: float = Field(description="Seconds since its last sign of life.")
    alive: bool


class Disk(BaseModel):
    """The disk of the blob store."""

    free_bytes: int
    total_bytes: int


class ServedBundle(BaseModel):
    """A registered bundle."""

    name: str
    version: str
    digest: str
    default: bool
    shadow: bool
    workers: int = Field(description="Living workers that serve it.")


class PlatformView(BaseModel):
    """Queue, workers, disk and bundles at this moment."""

    queue: list[Queue]
    workers: list[Worker]
    disk: Disk | None = Field(description="Null where images are in an object store.")
    bundles: list[ServedBundle]


class Restarted(BaseModel):
    """A job that is analysed again."""

    id: UUID
    state: JobState = JobState.QUEUED


@router.get("/platform", responses=responses(*_ERRORS))
async def platform(_: Admin, request: Request) -> PlatformView:
    """Show the queue, the workers, the disk and the bundles."""
    blobs: BlobStore = request.app.state.blobs
    room = await asyncio.to_thread(blobs.room)
    async with engine_of(request).connect() as connection:
        parts = {
            name: [row._mapping for row in await connection.execute(_SQL[name])]
            for name in ("queue", "workers", "bundles")
        }
    disk = room and {"free_bytes": room[0], "total_bytes": room[1]}
    return PlatformView.model_validate({**parts, "disk": disk})


@router.get("/failed", responses=responses(*_ERRORS))
async def list_failed_jobs(
    _: Admin,
    request: Request,
    limit: Annotated[int, Query(ge=1, le=100)] = 25,
    cursor: Annotated[str | None, Query(max_length=200)] = None,
) -> FailedPage:
    """List failed and degraded jobs of all tenants."""
    before, job_id = newest_first(cursor) if cursor else (None, None)
    async with engine_of(request).connect() as connection:
        values = {"limit": limit + 1, "before": before, "id": job_id}
        rows = (await connection.execute(_SQL["failed_jobs"], values)).all()
    items = [
        FailedJob.model_validate({**row._mapping, "dead": row.dead or [], "error": error(row._mapping)})
        for row in rows[:limit]
    ]
    last = items[-1] if len(rows) > limit else None
    return FailedPage(items=items, next=cursor_of(last.finished_at, last.id) if last else None)


@router.post(
    "/jobs/{job_id}/retry",
    status_code=202,
    responses=responses(*_ERRORS, Code.CSRF, Code.NOT_FOUND, Code.CONFLICT),
)
async def retry_failed_job(_: Admin, request: Request, job_id: UUID) -> Restarted:
    """Analyse a failed or degraded job of any tenant again."""
    jobs: JobService = request.app.state.jobs
    async with engine_of(request).connect() as connection:
        tenant_id = (await connection.execute(_SQL["tenant_of"], {"id": job_id})).scalar()
    if tenant_id is None:
        raise CodedError(Code.NOT_FOUND, "No failed job has this id.")
    await jobs.retry(Access(tenant_id, job_id, f"/v1/jobs/{job_id}"))
    return Restarted(id=job_id)
