"""SQL about jobs. Every function works in a transaction that is confined to one tenant."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Row, and_, delete, insert, not_, or_, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.tables import (
    Arrival,
    BlobPendingDeletion,
    BundleRow,
    Derivation,
    Heatmap,
    Instance,
    Job,
    PredictionRow,
    Step,
    Study,
    StudyFinding,
)
from thorax import tracing
from thorax.errors import Code
from thorax.queries import statement
from thorax.states import JobState, StepKind
from thorax.work import ledger
from thorax.work.ending import Ended

AnyRow = Row[*tuple[Any, ...]]


_VERSION = text("select version, state from jobs where id = :job_id")
SUPERSEDED_BY = """(
  select l.id from jobs l where l.supersedes = {job} and l.state = 'succeeded' order by l.created_at desc limit 1)"""
"""The newest job that supersedes a `job` and has succeeded."""
_SUPERSEDED_BY = text(f"select {SUPERSEDED_BY.format(job=':job_id')}")
_VIEW = text(f"""
select j.*, {SUPERSEDED_BY.format(job="j.id")} as superseded_by,
  study_title(s.id, s.title, s.study_date, s.accession) as title, s.study_instance_uid, s.study_date, s.accession, s.patient, a.source, b.name as bundle_name, b.version as bundle_version,
  (select jsonb_agg(to_jsonb(i) order by i.position) from instances i
   where i.study_id = j.study_id and i.position < j.images_below) as images,
  b.manifest->'calibration' as calibration,
  jsonb_path_query_array(b.manifest, '$.operating_points[*].prevalence') as prevalences, b.manifest->'maps' as map_scale,
  (select jsonb_object_agg(h.instance_id, h.map_shape) from heatmaps h where h.job_id = j.id) as map_shapes,
  (select jsonb_agg(to_jsonb(f)) from study_findings f where f.job_id = j.id) as findings,
  (select jsonb_agg(jsonb_build_object(
     'instance_id', p.instance_id, 'backbone', p.backbone, 'probabilities', p.probabilities, 'map_shape', p.map_shape) order by p.backbone)
   from predictions p where p.job_id = j.id and j.state = 'succeeded') as predictions,
  (select jsonb_agg(part->>'name') from jsonb_array_elements(b.manifest->'backbones') part) as backbones,
  case when j.state in ('queued', 'running') then (
    select jsonb_agg(to_jsonb(s)) from (
      select kind, backbone, count(*) filter (where state = 'done') as done,
        count(*) filter (where state = 'running') as running, count(*) as total
      from steps where job_id = j.id group by kind, backbone) s) end as steps
from jobs j join studies s on s.id = j.study_id left join arrivals a on a.study_id = s.id join bundles b on b.digest = j.bundle_digest
where j.id = :job_id""")  # noqa: S608 — a constant
# It does not wait for the disk, as all looks (audit.sql).
_LOOK = """
with look as (
  insert into audit (tenant_id, actor, action, subject, detail)
  select j.tenant_id, :actor, 'looked', cast(j.id as text), jsonb_build_object('result', cast(:form as text))
  from jobs j, (select set_config('synchronous_commit', 'off', true)) as soon
  where j.id = :job_id and j.state = 'succeeded')"""
_LOOKED_AT = text(f"{_LOOK} {_VIEW.text}")


async def job_version(connection: AsyncConnection, job_id: UUID) -> AnyRow | None:
    """Version and state: all that a poll which finds nothing new needs."""
    return (await connection.execute(_VERSION, {"job_id": job_id})).first()


async def superseded_by(connection: AsyncConnection, job_id: UUID) -> UUID | None:
    """The newest job that supersedes this one and has succeeded."""
    return (await connection.execute(_SUPERSEDED_BY, {"job_id": job_id})).scalar()


async def whole_job(
    connection: AsyncConnection, job_id: UUID, *, look: tuple[str, str] | None = None
) -> AnyRow | None:
    """A job with its study, bundle, `images`, `findings` and `predictions` (lists of objects, or None).

    With the bundle's `backbones`; of an open one also its `steps` counted by kind and backbone. With a `look`, who looks and in
    which form, that is written into the audit if the job has succeeded.
    """
    if look is None:
        return (await connection.execute(_VIEW, {"job_id": job_id})).first()
    values = {"job_id": job_id, "actor": look[0], "form": look[1]}
    return (await connection.execute(_LOOKED_AT, values)).first()


async def locked_job(connection: AsyncConnection, job_id: UUID) -> AnyRow | None:
    """A job's id, study, state and missing backbones, held until the transaction ends."""
    query = select(Job.id, Job.study_id, Job.state, Job.missing_backbones).where(Job.id == job_id)
    return (await connection.execute(query.with_for_update())).first()


async def job_by_capability(connection: AsyncConnection, digest: bytes) -> UUID | None:
    """The open API's way to a job."""
    return (await connection.execute(select(Job.id).where(Job.capability == digest))).scalar()


async def instance(connection: AsyncConnection, job_id: UUID, instance_id: UUID) -> AnyRow | None:
    """One image, if it is the job's."""
    query = (
        select(*Instance.__table__.columns)
        .join(Job, (Job.study_id == Instance.study_id) & (Instance.position < Job.images_below))
        .where(Job.id == job_id, Instance.id == instance_id)
    )
    return (await connection.execute(query)).first()


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
    where = (
        PredictionRow.job_id == job_id,
        PredictionRow.instance_id == instance_id,
        PredictionRow.maps != b"",
    )
    return (await connection.execute(query.where(*where).order_by(PredictionRow.backbone))).all()


async def map_scale(connection: AsyncConnection, job_id: UUID) -> dict[str, Any] | None:
    """The scale of the maps that the job's bundle states."""
    query = select(BundleRow.manifest["maps"]).join(Job).where(Job.id == job_id)
    found: dict[str, Any] | None = (await connection.execute(query)).scalar()
    return found


_AGAIN = text("""
with old as (
  select j.*, coalesce((select bundle_digest from tenant_bundles t where t.tenant_id = j.tenant_id),
    (select digest from bundles where active), j.bundle_digest) as digest
  from jobs j where j.id = :job_id),
images as (
  select i.id, i.position from instances i join old on i.study_id = old.study_id and i.position < old.images_below
  where i.error_code is distinct from 'instance_conflict'),
new_job as (
  insert into jobs (id, tenant_id, study_id, owner, priority, bundle_digest, steps_total, images_below, supersedes,
    full_ensemble, traceparent)
  select :new_id, tenant_id, study_id, :owner, priority, digest, (select count(*) + 1 from images), images_below, id, :full,
    :traceparent from old),
new_steps as (
  insert into steps (job_id, instance_id, kind, bundle_digest, priority)
  select :new_id, images.id, 'prepare', digest, priority from images, old order by position)
select count(*) from images""")
_PIN_ANEW = statement("""
update jobs j set bundle_digest = coalesce((select t.bundle_digest from tenant_bundles t where t.tenant_id = j.tenant_id),
  (select digest from bundles where active), j.bundle_digest)
where j.id = :job_id and not exists (
  select from workers w where w.service = 'model-worker' and w.seen_at > now() - make_interval(secs => :alive_s)
    and j.bundle_digest = any(w.bundles))""")


async def cancel(connection: AsyncConnection, job_id: UUID) -> Ended | None:
    """End an open job; None if it has ended already."""
    return await connection.run_sync(
        lambda sync: ledger.end(
            sync, job_id, JobState.CANCELLED, code=Code.CANCELLED, detail="Cancelled on request."
        )
    )


async def held(connection: AsyncConnection, study_id: UUID) -> bool:
    """Whether a study is under legal hold."""
    query = select(Study.held_since.is_not(None)).where(Study.id == study_id)
    return bool((await connection.execute(query)).scalar())


async def erase(connection: AsyncConnection, job_id: UUID, study_id: UUID) -> list[UUID]:
    """Delete a job, and its study when no other job needs it; returns the instances whose blobs are to be erased."""
    arrival = select(Arrival.study_id).where(Arrival.study_id == study_id)
    await connection.execute(arrival.with_for_update())  # no upload continues the study meanwhile
    await connection.execute(delete(Job).where(Job.id == job_id))
    others = select(Job.id).where(Job.study_id == study_id)
    if (await connection.execute(others.limit(1))).first():
        return []
    ids = list((await connection.execute(select(Instance.id).where(Instance.study_id == study_id))).scalars())
    if ids:
        await connection.execute(insert(BlobPendingDeletion), [{"instance_id": i} for i in ids])
    await connection.execute(delete(Study).where(Study.id == study_id))
    return ids


async def open_job_of(connection: AsyncConnection, study_id: UUID) -> UUID | None:
    """The job that analyses a study at this moment."""
    query = select(Job.id).where(Job.study_id == study_id, Job.state.in_((JobState.QUEUED, JobState.RUNNING)))
    return (await connection.execute(query.limit(1))).scalar()


async def again(connection: AsyncConnection, job_id: UUID, *, new_id: UUID, owner: str, full: bool) -> int:
    """Add a job of the same images, by the bundle that the tenant has now; how many are to be prepared."""
    context = tracing.traceparent()
    values = {"job_id": job_id, "new_id": new_id, "owner": owner, "full": full, "traceparent": context}
    return int((await connection.execute(_AGAIN, values)).scalar_one())


async def restart(connection: AsyncConnection, job_id: UUID, study_id: UUID) -> list[UUID]:
    """Begin a job that has ended anew: its steps go, and every image is prepared again.

    It keeps its bundle, unless no worker has that any more.
    """
    await connection.execute(_PIN_ANEW, {"job_id": job_id})
    conflict = Instance.error_code.is_not_distinct_from(Code.INSTANCE_CONFLICT)
    undecided = and_(Instance.state == "received", conflict)
    below = select(Job.images_below).where(Job.id == job_id).scalar_subquery()
    analysed = (Instance.study_id == study_id, Instance.position < below, not_(undecided))
    query = select(Instance.id).where(*analysed).order_by(Instance.position)
    ids = list((await connection.execute(query)).scalars())
    for table in (Step, PredictionRow, StudyFinding, Heatmap, Derivation):
        await connection.execute(delete(table).where(table.job_id == job_id))
    await connection.execute(
        update(Job)
        .where(Job.id == job_id)
        .values(
            state=JobState.QUEUED,
            steps_total=len(ids) + 1,
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
        .where(*analysed, or_(Instance.state == "failed", Instance.state == "prepared"))
        .values(state="received", error_code=None, error_detail=None)
    )
    steps = [(job_id, ledger.NewStep(StepKind.PREPARE, i)) for i in ids]
    await connection.run_sync(lambda sync: ledger.add(sync, steps))
    return ids
