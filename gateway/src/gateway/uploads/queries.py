"""SQL about uploads: recording a job, quotas, and answers to be repeated. All of it is confined to one tenant."""

from typing import Any
from uuid import UUID

from sqlalchemy import Row, func, insert, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.tables import IdempotencyKey

AnyRow = Row[*tuple[Any, ...]]

_RECORD = text("""
with bundle as (
  select coalesce((select bundle_digest from tenant_bundles where tenant_id = :tenant_id),
    (select digest from bundles where active)) as digest),
opened as (select case when cast(:quota as integer) is null then 0 else open_jobs(:tenant_id) end as jobs),
fit as (
  select digest from bundle, opened
  where digest is not null and (cast(:quota as integer) is null or opened.jobs < :quota)),
sent as (
  select * from jsonb_to_recordset(cast(:images as jsonb)) as image (
    id uuid, position smallint, file_name text, media_type text, size_bytes bigint, sha256 text,
    forced boolean, sop_instance_uid text, sop_class_uid text, series_instance_uid text, modality text,
    transfer_syntax text)),
study as (
  insert into studies (id, tenant_id, title, study_instance_uid)
  select :study_id, :tenant_id, :title, :study_instance_uid from fit),
images as (
  insert into instances (id, study_id, tenant_id, position, file_name, media_type, size_bytes, sha256, forced,
    sop_instance_uid, sop_class_uid, series_instance_uid, modality, transfer_syntax, contests)
  select s.id, :study_id, :tenant_id, s.position, s.file_name, s.media_type, s.size_bytes, s.sha256, s.forced,
    s.sop_instance_uid, s.sop_class_uid, s.series_instance_uid, s.modality, s.transfer_syntax, coalesce(
      (select case when bool_or(i.sha256 = s.sha256) then null
         else (array_agg(i.id order by i.contests is not null, i.id))[1] end
       from instances i where i.tenant_id = :tenant_id and i.sop_instance_uid = s.sop_instance_uid),
      (select o.id from sent o where o.sop_instance_uid = s.sop_instance_uid and o.position < s.position
       order by o.position limit 1))
  from sent s, fit),
job as (
  insert into jobs (id, tenant_id, study_id, owner, priority, bundle_digest, steps_total, capability, expires_at,
    callback_url, full_ensemble, traceparent)
  select :job_id, :tenant_id, :study_id, :owner, :priority, digest, (select count(*) + 1 from sent), :capability,
    now() + make_interval(hours => cast(:hours as integer)), :callback_url, :full, :traceparent from fit),
first as (
  insert into steps (job_id, instance_id, kind, bundle_digest, priority)
  select :job_id, s.id, 'prepare', digest, :priority from sent s, fit order by s.position)
select (select digest from bundle) as digest, jobs as opened from opened""")


_MAY_CALL = text("""
select exists (select from destinations where tenant_id = :tenant and kind = 'webhook'
  and origin = substring(cast(:url as text) from '^https://[^/?]+'))""")
_LOCK_STUDIES = text("select lock_studies(:tenant_id, cast(:uids as text[]))")
_SAME = text("""
with sent as (
  select * from jsonb_to_recordset(cast(:images as jsonb)) as image (
    position smallint, sha256 text, sop_instance_uid text, forced boolean))
select j.id, j.study_id, j.state, m.ids from jobs j cross join lateral (
  select count(*) as images, array_agg(i.id order by s.position) filter (where s.position is not null) as ids
  from instances i left join sent s on s.sop_instance_uid = i.sop_instance_uid and s.sha256 = i.sha256
    and s.forced = i.forced and i.error_code is distinct from 'instance_conflict'
  where i.study_id = j.study_id and i.position < j.images_below) as m
where j.tenant_id = :tenant_id and j.shadow_of is null and j.state in ('queued', 'running', 'succeeded')
  and j.study_id in (
    select study_id from instances where tenant_id = :tenant_id and sop_instance_uid in (select sop_instance_uid from sent))
  and (j.full_ensemble or not :full) and m.images = (select count(*) from sent) and cardinality(m.ids) = m.images
order by j.created_at desc limit 1""")


async def lock_studies(connection: AsyncConnection, tenant_id: UUID, uids: list[str]) -> None:
    """Let one sender at a time add images of these studies; held until the transaction ends."""
    await connection.execute(_LOCK_STUDIES, {"tenant_id": tenant_id, "uids": uids})


async def job_of_same(
    connection: AsyncConnection, tenant_id: UUID, images: str, *, full: bool
) -> AnyRow | None:
    """The newest job of exactly these DICOM images (JSON as for `record`) that has not failed: id, study, state, `ids`;
    with `full` one that asked all backbones."""
    return (await connection.execute(_SAME, {"tenant_id": tenant_id, "images": images, "full": full})).first()


async def record(connection: AsyncConnection, values: dict[str, Any]) -> AnyRow:
    """Study, instances, job and first steps in one statement, all or nothing.

    Returns the `digest` of the tenant's bundle (or of the default) and how many jobs were `opened` before; without
    a bundle, or with `quota` jobs open, nothing was recorded. `quota` is None where there is none, `hours` for a job
    that does not expire.
    """
    return (await connection.execute(_RECORD, values)).one()


async def may_call(connection: AsyncConnection, tenant_id: UUID, url: str) -> bool:
    """Whether the tenant has a webhook of this URL's origin."""
    return bool((await connection.execute(_MAY_CALL, {"tenant": tenant_id, "url": url})).scalar_one())


async def opened(connection: AsyncConnection, tenant_id: UUID) -> int:
    """How many of a tenant's jobs are open."""
    return int((await connection.execute(text("select open_jobs(:id)"), {"id": tenant_id})).scalar_one())


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


async def remember(connection: AsyncConnection, **values: Any) -> None:
    """Keep the first answer to an Idempotency-Key."""
    await connection.execute(insert(IdempotencyKey).values(values | {"created_at": func.now()}))
