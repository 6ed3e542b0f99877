-- The sweeper's housekeeping: what has expired, jobs that no worker serves, what is to be erased, what is old.

-- due --
-- Tells which of the duties may have anything to do.
select exists (select from bundles where shadow_share is not null) as shadows,
  exists (select from steps where state = 'waiting' and created_at < now() - interval '1 hour') as unserved,
  exists (select from jobs where expires_at < now()) or exists (select from tenants_pending_deletion) as expired,
  exists (select from blobs_pending_deletion) as blobs

-- enqueue_shadow_jobs --
-- Lets the shadow bundle, if there is one, repeat jobs that have succeeded (docs/adr/0011).
select enqueue_shadow_jobs(:at_most)

-- unserved_jobs --
-- Finds jobs that nobody can do: workers live, and none has their bundle an hour later (a rollout took it away). A
-- shadow job may wait.
with living as (select bundles from workers where service = 'model-worker' and seen_at > now() - make_interval(secs => :alive_s))
select distinct s.job_id from steps s
where s.state = 'waiting' and s.kind <> 'aggregate' and s.priority < :shadow_priority and s.created_at < now() - interval '1 hour'
  and exists (select from living) and not exists (select from living where s.bundle_digest = any(bundles)) limit 100

-- delete_expired --
-- Deletes jobs of the open API whose time is over, with their studies.
select erase_studies(array(
  select study_id from jobs where expires_at < now()
    and not exists (select from studies s where s.id = study_id and held_since is not null)
  order by expires_at limit 50))

-- delete_tenants --
-- Deletes what belongs to tenants whose last user has left, open jobs too. A tenant stays on the list until its last
-- access token has expired, since until then it may still upload, and as long as a study of it is held.
with tenants as (select tenant_id from tenants_pending_deletion for update skip locked),
batch as (select s.id from studies s join tenants t on t.tenant_id = s.tenant_id
  where s.held_since is null limit 200),
readings as (delete from tenant_readings where tenant_id in (select tenant_id from tenants)),
bundles as (delete from tenant_bundles where tenant_id in (select tenant_id from tenants)),
destinations as (delete from destinations where tenant_id in (select tenant_id from tenants)),
secrets as (delete from patient_secrets where tenant_id in (select tenant_id from tenants)),
ended as (
  delete from tenants_pending_deletion where tenant_id in (select tenant_id from tenants)
    and queued_at < now() - interval '15 minutes'
    and not exists (select from studies s where s.tenant_id = tenants_pending_deletion.tenant_id))
select erase_studies(array(select id from batch))

-- pending_blobs --
-- Lists instances whose blobs are to be erased, those that waited longest first.
select instance_id from blobs_pending_deletion order by queued_at limit 50

-- postpone_blobs --
-- Moves an instance whose blobs could not be erased to the end of the list.
update blobs_pending_deletion set queued_at = now() where instance_id = :id

-- blobs_erased --
-- Takes instances whose blobs are erased off the list.
delete from blobs_pending_deletion where instance_id = any(:ids)

-- delete_old_keys --
-- Deletes idempotency keys after a day.
delete from idempotency_keys where created_at < now() - interval '24 hours'

-- delete_old_tombstones --
-- Forgets after a day which jobs were erased.
delete from erased_jobs where erased_at < now() - interval '25 hours'

-- delete_old_workers --
-- Deletes processes that have given no sign of life for ten minutes.
delete from workers where seen_at < now() - interval '10 minutes'

-- delete_old_steps --
-- Deletes steps of jobs that ended long ago. An array, as Postgres reads all steps to find 2000 of `in (select …)`.
delete from steps where id = any(array(
  select s.id from (select id, job_id from steps order by id limit 2000) s join jobs j on j.id = s.job_id
  where j.finished_at < now() - make_interval(secs => :age_s)))

-- platform --
-- The id of this database's platform, which its blob store carries too.
select id from platform

-- known_instances --
-- Which of these instances, or objects made of them, exist.
select id from instances where id = any(:ids) union all select id from derived where id = any(:ids)

-- chain_audit --
-- Links rows of the audit to the chains of their tenants; how many.
select chain_audit(:at_most)
