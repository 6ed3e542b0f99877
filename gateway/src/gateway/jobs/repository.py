"""SQL about jobs. Every function works in a transaction that is confined to one tenant."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, and_, delete, exists, func, insert, or_, select, text, tuple_, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from thorax import ledger
from thorax.errors import Code
from thorax.models import (
    BundleRow,
    DoomedBlob,
    Heatmap,
    IdempotencyKey,
    Instance,
    Job,
    JobState,
    PredictionRow,
    Step,
    StepKind,
    Study,
    StudyFinding,
)

AnyRow = Row[*tuple[Any, ...]]
OPEN = (JobState.QUEUED, JobState.RUNNING)


async def active_bundle(connection: AsyncConnection) -> AnyRow | None:
    """The digest that new jobs are pinned to, if a bundle is active."""
    return (await connection.execute(select(BundleRow.digest).where(BundleRow.active))).first()


async def open_jobs(connection: AsyncConnection, tenant_id: UUID) -> int:
    """How many jobs of the tenant are not finished."""
    query = select(func.count()).select_from(Job).where(Job.tenant_id == tenant_id, Job.state.in_(OPEN))
    return int((await connection.execute(query)).scalar_one())


async def insert_study(
    connection: AsyncConnection, study: dict[str, Any], images: list[dict[str, Any]]
) -> None:
    """A study and its instances."""
    await connection.execute(insert(Study), study)
    await connection.execute(insert(Instance), images)


async def insert_job(
    connection: AsyncConnection, job: dict[str, Any], steps: Sequence[ledger.NewStep]
) -> None:
    """A job and its first steps."""
    await connection.execute(insert(Job), job)
    await connection.run_sync(ledger_add, [(job["id"], step) for step in steps])


def ledger_add(connection: Any, steps: list[tuple[UUID, ledger.NewStep]]) -> None:
    """`ledger.add` for `run_sync`."""
    ledger.add(connection, steps)


async def lock_key(connection: AsyncConnection, tenant_id: UUID, owner: str, key: str) -> None:
    """Let one request at a time handle an Idempotency-Key; held until the transaction ends."""
    await connection.execute(
        text("select pg_advisory_xact_lock(hashtextextended(:name, 0))"),
        {"name": f"{tenant_id}/{owner}/{key}"},
    )


async def remembered(connection: AsyncConnection, tenant_id: UUID, owner: str, key: str) -> AnyRow | None:
    """Fingerprint and answer of an Idempotency-Key that was used before."""
    query = select(IdempotencyKey.fingerprint, IdempotencyKey.answer).where(
        IdempotencyKey.tenant_id == tenant_id, IdempotencyKey.owner == owner, IdempotencyKey.key == key
    )
    return (await connection.execute(query)).first()


async def remember(connection: AsyncConnection, values: dict[str, Any]) -> None:
    """Keep the first answer to an Idempotency-Key."""
    await connection.execute(upsert(IdempotencyKey).values(values))


async def job_version(connection: AsyncConnection, job_id: UUID) -> AnyRow | None:
    """Version and state: all that a poll which finds nothing new needs."""
    return (await connection.execute(select(Job.version, Job.state).where(Job.id == job_id))).first()


async def job(connection: AsyncConnection, job_id: UUID, *, lock: bool = False) -> AnyRow | None:
    """A job with its study's and bundle's names."""
    query = (
        select(
            *Job.__table__.columns,
            Study.title,
            Study.study_instance_uid,
            BundleRow.name.label("bundle_name"),
            BundleRow.version.label("bundle_version"),
        )
        .join(Study, Study.id == Job.study_id)
        .join(BundleRow, BundleRow.digest == Job.bundle_digest)
        .where(Job.id == job_id)
    )
    return (await connection.execute(query.with_for_update(of=Job) if lock else query)).first()


async def job_by_capability(connection: AsyncConnection, digest: bytes) -> UUID | None:
    """The open API's way to a job."""
    return (await connection.execute(select(Job.id).where(Job.capability == digest))).scalar()


async def instances(connection: AsyncConnection, study_id: UUID) -> Sequence[AnyRow]:
    """A study's images, in their order."""
    query = (
        select(*Instance.__table__.columns).where(Instance.study_id == study_id).order_by(Instance.position)
    )
    return (await connection.execute(query)).all()


async def instance(connection: AsyncConnection, job_id: UUID, instance_id: UUID) -> AnyRow | None:
    """One image, if it belongs to the job's study."""
    query = (
        select(Instance.id, Instance.media_type, Instance.state, Instance.error_code, Instance.error_detail)
        .join(Job, Job.study_id == Instance.study_id)
        .where(Job.id == job_id, Instance.id == instance_id)
    )
    return (await connection.execute(query)).first()


async def findings(connection: AsyncConnection, job_ids: Sequence[UUID]) -> Sequence[AnyRow]:
    """The ensemble's findings of images and studies."""
    query = select(*StudyFinding.__table__.columns).where(StudyFinding.job_id.in_(job_ids))
    return (await connection.execute(query)).all()


async def predictions(connection: AsyncConnection, job_id: UUID) -> Sequence[AnyRow]:
    """Each backbone's probabilities, image by image."""
    query = select(PredictionRow.instance_id, PredictionRow.backbone, PredictionRow.probabilities)
    return (await connection.execute(query.where(PredictionRow.job_id == job_id))).all()


async def heatmap(connection: AsyncConnection, job_id: UUID, instance_id: UUID) -> AnyRow | None:
    """The fused maps of one image, if they are there."""
    query = select(Heatmap.maps, Heatmap.map_shape)
    found = await connection.execute(
        query.where(Heatmap.job_id == job_id, Heatmap.instance_id == instance_id)
    )
    return found.first()


async def prediction_maps(connection: AsyncConnection, job_id: UUID, instance_id: UUID) -> Sequence[AnyRow]:
    """Each backbone's own maps of one image."""
    query = select(PredictionRow.backbone, PredictionRow.maps, PredictionRow.map_shape)
    where = (PredictionRow.job_id == job_id, PredictionRow.instance_id == instance_id)
    return (await connection.execute(query.where(*where).order_by(PredictionRow.backbone))).all()


async def page(
    connection: AsyncConnection,
    tenant_id: UUID,
    *,
    limit: int,
    after: tuple[datetime, UUID] | None,
    state: str | None,
    priority: int | None,
    finding: str | None,
    title: str | None,
) -> Sequence[AnyRow]:
    """Jobs, newest first, from after the cursor."""
    images = select(func.count()).where(Instance.study_id == Job.study_id).scalar_subquery()
    first = (
        select(Instance.id).where(Instance.study_id == Job.study_id, Instance.position == 0).scalar_subquery()
    )
    query = (
        select(*Job.__table__.columns, Study.title, images.label("images"), first.label("first_image"))
        .join(Study, Study.id == Job.study_id)
        .where(Job.tenant_id == tenant_id)
        .order_by(Job.created_at.desc(), Job.id.desc())
        .limit(limit)
    )
    if after:
        query = query.where(tuple_(Job.created_at, Job.id) < after)
    if state:
        query = query.where(Job.state == state)
    if priority is not None:
        query = query.where(Job.priority == priority)
    if title:
        query = query.where(Study.title.icontains(title, autoescape=True))
    if finding:
        positive = and_(
            StudyFinding.job_id == Job.id,
            StudyFinding.instance_id.is_(None),
            StudyFinding.finding == finding,
            StudyFinding.positive,
        )
        query = query.where(exists().where(positive))
    return (await connection.execute(query)).all()


async def cancel(connection: AsyncConnection, job_id: UUID) -> bool:
    """End an open job; False if it has ended already."""
    return await connection.run_sync(
        lambda sync: ledger.end(
            sync, job_id, JobState.CANCELLED, code=Code.CANCELLED, detail="Cancelled on request."
        )
    )


async def erase(connection: AsyncConnection, job_id: UUID, study_id: UUID) -> list[UUID]:
    """Delete a job, and its study when no other job needs it; returns the instances whose blobs are doomed."""
    await connection.execute(delete(Job).where(Job.id == job_id))
    others = select(Job.id).where(Job.study_id == study_id)
    if (await connection.execute(others.limit(1))).first():
        return []
    ids = list((await connection.execute(select(Instance.id).where(Instance.study_id == study_id))).scalars())
    if ids:
        await connection.execute(insert(DoomedBlob), [{"instance_id": i} for i in ids])
    await connection.execute(delete(Study).where(Study.id == study_id))
    return ids


async def restart(connection: AsyncConnection, job_id: UUID, study_id: UUID) -> list[UUID]:
    """Begin a failed or cancelled job anew: its steps go, and every image is prepared again."""
    ids = list(
        (
            await connection.execute(
                select(Instance.id).where(Instance.study_id == study_id).order_by(Instance.position)
            )
        ).scalars()
    )
    for table in (Step, PredictionRow, StudyFinding, Heatmap):
        await connection.execute(delete(table).where(table.job_id == job_id))
    await connection.execute(
        update(Job)
        .where(Job.id == job_id)
        .values(
            state=JobState.QUEUED,
            steps_total=len(ids),
            steps_done=0,
            version=Job.version + 1,
            error_code=None,
            error_detail=None,
            missing_backbones=[],
            timings={},
            started_at=None,
            finished_at=None,
        )
    )
    await connection.execute(
        update(Instance)
        .where(Instance.study_id == study_id, or_(Instance.state == "failed", Instance.state == "prepared"))
        .values(state="received", error_code=None, error_detail=None)
    )
    await connection.run_sync(ledger_add, [(job_id, ledger.NewStep(StepKind.PREPARE, i)) for i in ids])
    await connection.execute(
        text("select pg_notify('thorax_jobs', concat_ws(' ', id, version, state)) from jobs where id = :id"),
        {"id": job_id},
    )
    return ids
