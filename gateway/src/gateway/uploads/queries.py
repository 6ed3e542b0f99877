"""SQL about uploads: recording a job, quotas, and answers to be repeated. All of it is confined to one tenant."""

from typing import Any
from uuid import UUID

from sqlalchemy import Row, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.tables import IdempotencyKey

AnyRow = Row[*tuple[Any, ...]]

_MAY_CALL = """cast(:callback_url as text) is null or exists (select from destinations where tenant_id = :tenant_id
    and kind = 'webhook' and origin = substring(cast(:callback_url as text) from '^https://[^/?]+'))"""
_RECORD = text(f"""
with bundle as (
  select coalesce((select bundle_digest from arrivals where study_id = :study_id),
    (select bundle_digest from tenant_bundles where tenant_id = :tenant_id),
    (select digest from bundles where active)) as digest),
before as (select coalesce(max(position) + 1, 0) as images from instances where study_id = :study_id),
opened as (select case when cast(:quota as integer) is null then 0 else open_jobs(:tenant_id) end as jobs),
called as (select {_MAY_CALL} as allowed),
possible as (
  select digest, least(:priority, (select priority from arrivals where study_id = :study_id)) as priority from bundle, opened, called
  where digest is not null and allowed and (cast(:quota as integer) is null or opened.jobs < :quota)),
keyed as (
  insert into idempotency_keys (tenant_id, owner, key, fingerprint, job_id, answer)
  select :tenant_id, :owner, :key, :fingerprint, :job_id, cast(:answer as jsonb) from possible where cast(:key as text) is not null
  on conflict do nothing returning key),
fit as (select * from possible where cast(:key as text) is null or exists (select from keyed)),
sent as (
  select * from jsonb_to_recordset(cast(:images as jsonb)) as image (
    id uuid, position smallint, file_name text, media_type text, size_bytes bigint, sha256 text, data_sha256 text,
    forced boolean, sop_instance_uid text, sop_class_uid text, series_instance_uid text, modality text,
    transfer_syntax text)),
added as (
  select sent.*, row_number() over (order by position) - 1 as place from sent
  where not exists (select from instances i where i.id = sent.id)),
study as (
  insert into studies (id, tenant_id, title, study_instance_uid)
  select :study_id, :tenant_id, :title, :study_instance_uid from fit
  on conflict (id) do update set title = excluded.title where studies.title = ''),
images as (
  insert into instances (id, study_id, tenant_id, position, file_name, media_type, size_bytes, sha256, data_sha256,
    forced, sop_instance_uid, sop_class_uid, series_instance_uid, modality, transfer_syntax, contests)
  select s.id, :study_id, :tenant_id, before.images + s.place, s.file_name, s.media_type, s.size_bytes, s.sha256, s.data_sha256,
    s.forced, s.sop_instance_uid, s.sop_class_uid, s.series_instance_uid, s.modality, s.transfer_syntax, coalesce(
      (select case when bool_or(i.data_sha256 = s.data_sha256) then null
         else (array_agg(i.id order by i.contests is not null, i.id))[1] end
       from instances i where i.tenant_id = :tenant_id and i.sop_instance_uid = s.sop_instance_uid),
      (select o.id from sent o where o.sop_instance_uid = s.sop_instance_uid and o.position < s.position
       order by o.position limit 1))
  from added s, fit, before on conflict (id) do nothing),
settled as (
  update arrivals a set settles_at = null, settle_by = null from fit where a.study_id = :study_id),
job as (
  insert into jobs (id, tenant_id, study_id, owner, priority, bundle_digest, steps_total, capability, expires_at,
    callback_url, full_ensemble, traceparent, images_below, supersedes)
  select :job_id, :tenant_id, :study_id, :owner, fit.priority, digest, (select count(*) + 1 from sent), :capability,
    now() + make_interval(hours => cast(:hours as integer)), :callback_url, :full, :traceparent,
    before.images + (select count(*) from added),
    (select j.id from jobs j where j.study_id = :study_id and j.shadow_of is null order by j.created_at desc limit 1)
  from fit, before),
first as (
  insert into steps (job_id, instance_id, kind, bundle_digest, priority)
  select :job_id, s.id, 'prepare', digest, fit.priority from sent s, fit order by s.position)
select (select digest from bundle) as digest, jobs as opened, allowed, exists (select from fit) as recorded from opened, called""")  # noqa: S608 - all of it is ours

_REMEMBER = text("""
insert into idempotency_keys (tenant_id, owner, key, fingerprint, job_id, answer)
values (:tenant_id, :owner, :key, :fingerprint, :job_id, cast(:answer as jsonb)) on conflict do nothing""")
_LOCK_STUDIES = text("select lock_studies(:tenant_id, cast(:uids as text[]))")
_SAME = text(f"""
with sent as (
  select * from jsonb_to_recordset(cast(:images as jsonb)) as image (
    position smallint, data_sha256 text, sop_instance_uid text, forced boolean))
select j.id, j.study_id, j.state, m.ids, ({_MAY_CALL}) as allowed from jobs j cross join lateral (
  select count(*) as images, array_agg(i.id order by s.position) filter (where s.position is not null) as ids
  from instances i left join sent s on s.sop_instance_uid = i.sop_instance_uid and s.data_sha256 = i.data_sha256 and s.forced = i.forced
  where i.study_id = j.study_id and i.position < j.images_below and i.error_code is distinct from 'instance_conflict') as m
where j.tenant_id = :tenant_id and j.shadow_of is null and j.state in ('queued', 'running', 'succeeded')
  and j.study_id in (
    select study_id from instances where tenant_id = :tenant_id and sop_instance_uid in (select sop_instance_uid from sent))
  and (j.full_ensemble or not :full) and m.images = (select count(*) from sent) and cardinality(m.ids) = m.images
order by j.created_at desc limit 1""")  # noqa: S608 - all of it is ours
_CALL = text(
    "update jobs set callbacks = array_append(array_remove(callbacks, :callback_url), :callback_url) where id = :id"
)
_CONTINUED = text("""
with sent as (
  select * from jsonb_to_recordset(cast(:images as jsonb)) as image (
    position smallint, data_sha256 text, sop_instance_uid text, forced boolean))
select a.study_id, m.ids from arrivals a cross join lateral (
  select jsonb_object_agg(s.position, i.id) filter (where s.position is not null) as ids,
    bool_and(s.position is not null and i.expired = '{}') as whole
  from instances i left join sent s on s.sop_instance_uid = i.sop_instance_uid and s.data_sha256 = i.data_sha256 and s.forced = i.forced
  where i.study_id = a.study_id and i.error_code is distinct from 'instance_conflict') as m
where a.tenant_id = :tenant_id and a.study_instance_uid = :study and m.whole""")


async def lock_studies(connection: AsyncConnection, tenant_id: UUID, uids: list[str]) -> None:
    """Let one sender at a time add images of these studies, and none settle; held until the transaction ends."""
    await connection.execute(_LOCK_STUDIES, {"tenant_id": tenant_id, "uids": uids})


async def job_of_same(
    connection: AsyncConnection, tenant_id: UUID, images: str, *, full: bool, callback_url: str | None
) -> AnyRow | None:
    """The newest job of exactly these DICOM images (JSON as for `record`) that has not failed: id, study, state, `ids`;
    with `full` one that asked all backbones. `allowed` as for `record`."""
    values = {"tenant_id": tenant_id, "images": images, "full": full, "callback_url": callback_url}
    return (await connection.execute(_SAME, values)).first()


async def call_too(connection: AsyncConnection, job_id: UUID, callback_url: str) -> None:
    """Tell an allowed callback when the job has ended, which it may have."""
    await connection.execute(_CALL, {"id": job_id, "callback_url": callback_url})


async def continued(
    connection: AsyncConnection, tenant_id: UUID, study: str, images: str
) -> tuple[UUID, dict[int, UUID]] | None:
    """The study that peers send under this UID if all of it is among these images (JSON as for `record`): its id, and those of
    the images that it has, by position."""
    values = {"tenant_id": tenant_id, "study": study, "images": images}
    found = (await connection.execute(_CONTINUED, values)).first()
    return found and (found.study_id, {int(place): UUID(known) for place, known in found.ids.items()})


async def record(connection: AsyncConnection, values: dict[str, Any]) -> AnyRow:
    """Study, instances, job and first steps in one statement, all or nothing; what is there already of the first two stays,
    and the study has settled.

    Returns whether it was `recorded`. Not without the `digest` of the tenant's bundle (or of the default), with `quota` jobs
    `opened` before, with a `callback_url` that is not `allowed`, or where the `key` was used before, which waits for whoever is
    using it. `quota` is None where there is none, `hours` for a job that does not expire, `key` without an Idempotency-Key.
    """
    return (await connection.execute(_RECORD, values)).one()


async def opened(connection: AsyncConnection, tenant_id: UUID) -> int:
    """How many of a tenant's jobs are open."""
    return int((await connection.execute(text("select open_jobs(:id)"), {"id": tenant_id})).scalar_one())


async def remembered(connection: AsyncConnection, tenant_id: UUID, owner: str, key: str) -> AnyRow | None:
    """Fingerprint and answer of an Idempotency-Key that was used before."""
    query = select(IdempotencyKey.fingerprint, IdempotencyKey.answer).where(
        IdempotencyKey.tenant_id == tenant_id, IdempotencyKey.owner == owner, IdempotencyKey.key == key
    )
    return (await connection.execute(query)).first()


async def remember(connection: AsyncConnection, values: dict[str, Any]) -> None:
    """Keep the first answer to an Idempotency-Key; `record` does it by itself."""
    await connection.execute(_REMEMBER, values)
