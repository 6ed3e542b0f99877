"""What can be done with a job: read, wait, cancel, erase, retry."""

import asyncio
import hashlib
from collections.abc import Collection
from dataclasses import dataclass, replace
from time import monotonic
from uuid import UUID, uuid4

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from gateway.audit import Looks, actor
from gateway.hints import HintSender
from gateway.jobs import repository, rows
from gateway.jobs.notifications import Change, JobNotifications
from gateway.jobs.schemas import JobView
from gateway.metrics import HELD_POLLS
from thorax.errors import Code, CodedError
from thorax.findings import Finding
from thorax.http.database import tenant_autocommit, tenant_scope
from thorax.operating_points import MapScale
from thorax.states import ANONYMOUS_TENANT, JobState
from thorax.storage import BlobStore

MAX_WAIT_S = 60
_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Access:
    """A job that the caller may change, or also read: its tenant was checked, or its capability was shown.

    `person`: whether an account asks, and not a machine client or whoever has the link.
    """

    tenant_id: UUID
    job_id: UUID
    base: str
    reads: bool = True
    person: bool = False


class JobService:
    """All that can be done with a job that is there; holds no state of it."""

    def __init__(
        self,
        engine: AsyncEngine,
        blobs: BlobStore,
        hints: HintSender,
        notifications: JobNotifications,
        looks: Looks,
    ) -> None:
        self._engine, self._blobs, self._hints = engine, blobs, hints
        self._notifications, self._looks = notifications, looks

    # reading

    async def by_capability(self, secret: str) -> Access:
        """The job that a capability of the open API opens; CodedError(NOT_FOUND) otherwise."""
        digest = hashlib.sha256(secret.encode()).digest()
        async with tenant_autocommit(self._engine, ANONYMOUS_TENANT) as connection:
            job_id = await repository.job_by_capability(connection, digest)
        if job_id is None:
            raise CodedError(Code.NOT_FOUND, "The job does not exist.")
        return Access(ANONYMOUS_TENANT, job_id, f"/v1/anonymous/jobs/{secret}")

    async def version(self, access: Access) -> tuple[int, JobState]:
        """A job's version and state; CodedError(NOT_FOUND) if the tenant has no such job."""
        async with tenant_autocommit(self._engine, access.tenant_id) as connection:
            row = await repository.job_version(connection, access.job_id)
        if row is None:
            raise CodedError(Code.NOT_FOUND, "The job does not exist.")
        return row.version, JobState(row.state)

    async def superseded_by(self, access: Access) -> UUID | None:
        """The newest job that supersedes this one and has succeeded."""
        async with tenant_autocommit(self._engine, access.tenant_id) as connection:
            return await repository.superseded_by(connection, access.job_id)

    async def view(self, access: Access, form: str = "") -> JobView:
        """A job, whole. With the `form` that its caller is shown, `json` or `fhir`, the same transaction writes into the audit
        that a person reads its result; machines fetch each of theirs."""
        looks = bool(form) and access.person and bool(self._looks.new([access.job_id], form))
        async with tenant_autocommit(self._engine, access.tenant_id) as connection:
            job = await repository.whole_job(
                connection, access.job_id, look=(actor(), form) if looks else None
            )
        if job is None:
            raise CodedError(Code.NOT_FOUND, "The job does not exist.")
        if looks and job.state == JobState.SUCCEEDED:
            self._looks.written([access.job_id], form)
        return rows.whole(job, access.base)

    async def wait(self, access: Access, seconds: float, seen: Collection[int]) -> tuple[int, JobState]:
        """Hold on until the job has another version than those `seen` (without one: until it is final)."""
        deadline = monotonic() + min(seconds, MAX_WAIT_S)
        with HELD_POLLS.track_inprogress():
            return await self._wait(access, deadline, seen)

    async def _wait(self, access: Access, deadline: float, seen: Collection[int]) -> tuple[int, JobState]:
        async with self._notifications.watch(access.job_id) as watch:
            version, state = self._heard(access, deadline, seen) or await self.version(access)
            while not state.final and (not seen or version in seen) and (left := deadline - monotonic()) > 0:
                if self._notifications.closing:
                    break
                changes = await watch.next(left) or {}
                version, state = changes.get(access.job_id) or await self.version(access)
            return version, state

    def _heard(self, access: Access, deadline: float, seen: Collection[int]) -> Change | None:
        """What was heard of a job, where it says that the caller has to wait for more: so it need not be read before."""
        heard = self._notifications.heard(access.tenant_id, access.job_id)
        waits = heard and deadline > monotonic() and (not seen or heard.version in seen)
        return heard if waits else None

    # changing

    async def remove(self, access: Access, only: str | None = None) -> bool:
        """Cancel an open job (False), or erase a finished one with all its blobs (True).

        With `only` (cancel or erase) the other of the two is CodedError(CONFLICT): a job may end before one is done asking.
        """
        async with tenant_scope(self._engine, access.tenant_id) as connection:
            ended = await repository.cancel(connection, access.job_id) if only != "erase" else None
            erased = [] if ended else await _erase(connection, access.job_id, only)
        if ended:
            ended.tell()
        for instance_id in erased:  # the sweeper repeats this for what fails here
            try:
                await asyncio.to_thread(self._blobs.erase, instance_id)
            except OSError as error:
                _log.warning("erase_later", instance=str(instance_id), error=type(error).__name__)
        return ended is None

    async def retry(self, access: Access) -> None:
        """Begin a failed, cancelled or degraded job anew; CodedError(CONFLICT) for any other."""
        async with tenant_scope(self._engine, access.tenant_id) as connection:
            job = await repository.locked_job(connection, access.job_id)
            if job is None:
                raise CodedError(Code.NOT_FOUND, "The job does not exist.")
            if job.state not in (JobState.FAILED, JobState.CANCELLED) and not job.missing_backbones:
                raise CodedError(
                    Code.CONFLICT,
                    f"The job is {job.state}. Only failed, cancelled and degraded jobs can be retried.",
                )
            ids = await repository.restart(connection, job.id, job.study_id)
        self._hints.prepare(len(ids))

    async def again(self, access: Access, owner: str, *, full: bool) -> Access:
        """A new job of the same images, which supersedes this one; the one that is open, if the study has one.
        With `full` it asks all backbones.

        CodedError(CONFLICT) unless this job has succeeded.
        """
        new_id, images = uuid4(), 0
        async with tenant_scope(self._engine, access.tenant_id) as connection:
            job = await repository.locked_job(connection, access.job_id)
            if job is None:
                raise CodedError(Code.NOT_FOUND, "The job does not exist.")
            if job.state != JobState.SUCCEEDED:
                what = f"The job is {job.state}. Only a job that has succeeded can be done again; retry any other."
                raise CodedError(Code.CONFLICT, what)
            open_id = await repository.open_job_of(connection, job.study_id)
            if open_id is None:
                images = await repository.again(connection, job.id, new_id=new_id, owner=owner, full=full)
        self._hints.prepare(images)
        found = open_id or new_id
        return replace(access, job_id=found, base=f"/v1/jobs/{found}")

    # images

    async def prepared(self, access: Access, instance_id: UUID) -> repository.AnyRow:
        """An image that has a display picture; for any other CodedError(NOT_FOUND, NOT_READY) or the image's own."""
        image = await self.image(access, instance_id)
        if image.state == "failed":
            raise CodedError(Code(image.error_code), image.error_detail or "")
        if image.state != "prepared":
            raise CodedError(Code.NOT_READY, "The image is not prepared yet.", retry_after=1)
        return image

    async def image(self, access: Access, instance_id: UUID) -> repository.AnyRow:
        """An image of the job; CodedError(NOT_FOUND) for any other."""
        async with tenant_autocommit(self._engine, access.tenant_id) as connection:
            row = await repository.instance(connection, access.job_id, instance_id)
        if row is None:
            raise CodedError(Code.NOT_FOUND, "The job does not have this image.")
        return row

    async def maps(self, access: Access, instance_id: UUID) -> tuple[bytes, list[int]]:
        """The fused maps of an image, float16 bytes and their shape [5, h, w]."""
        image = await self.prepared(access, instance_id)
        async with tenant_autocommit(self._engine, access.tenant_id) as connection:
            row = await repository.heatmap(connection, access.job_id, instance_id)
        if row is None and "maps" in image.expired:
            raise CodedError(Code.NOT_FOUND, "The heatmaps were erased.")
        if row is None:
            raise CodedError(Code.NOT_READY, "The heatmaps are not ready yet.", retry_after=1)
        return row.maps, row.map_shape

    async def map_scale(self, access: Access) -> MapScale | None:
        """The scale of the job's fused maps; None in a bundle of format 1."""
        async with tenant_autocommit(self._engine, access.tenant_id) as connection:
            stored = await repository.map_scale(connection, access.job_id)
        return MapScale.model_validate(stored) if stored else None

    async def backbone_maps(self, access: Access, instance_id: UUID) -> dict[str, tuple[bytes, list[int]]]:
        """Each backbone's own maps of an image, float16 bytes and their shape [5, h, w]."""
        async with tenant_autocommit(self._engine, access.tenant_id) as connection:
            rows = await repository.prediction_maps(connection, access.job_id, instance_id)
        return {row.backbone: (row.maps, row.map_shape) for row in rows}


async def _erase(connection: AsyncConnection, job_id: UUID, only: str | None) -> list[UUID]:
    """Erase a job that has ended; the instances whose blobs are to be erased."""
    job = await repository.locked_job(connection, job_id)
    if job is None:
        raise CodedError(Code.NOT_FOUND, "The job does not exist.")
    if only == "cancel":
        raise CodedError(Code.CONFLICT, "The job has already ended. Nothing was erased.")
    if only == "erase" and not JobState(job.state).final:
        raise CodedError(Code.CONFLICT, "The job is still open. Nothing was erased.")
    if await repository.held(connection, job.study_id):
        raise CodedError(Code.CONFLICT, "The study is under legal hold. Nothing was erased.")
    return await repository.erase(connection, job.id, job.study_id)


def known_finding(name: str) -> Finding:
    """The finding called so; CodedError(UNKNOWN_FINDING) for any other name."""
    try:
        return Finding(name)
    except ValueError:
        raise CodedError(Code.UNKNOWN_FINDING, f"The findings are {', '.join(Finding)}.") from None
