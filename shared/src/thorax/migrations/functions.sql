-- Functions. Those with `security definer` do what their caller may not do itself. What stands after a colon is one of
-- `thorax.queries.FACTS`.

-- Adds jobs for the shadow bundle, as the sweeper may neither add jobs nor see whose they are; returns how many. Looks
-- at jobs in the order in which they ended, from where it stopped (`shadow_seen`); the two seconds are for transactions
-- that commit late. Where the shadow's inputs are all among the original's, the prepared pixels are used, and only
-- `infer` is added.
create function enqueue_shadow_jobs(at_most integer) returns bigint language sql security definer
set search_path = public, pg_temp as $$
with shadow as (
  select digest, manifest, shadow_share, shadow_seen, now() - interval '2 seconds' as until from bundles
  where shadow_share is not null
    and (select count(*) from (select from steps where state = 'waiting' and priority = :shadow_priority limit 100) s) < 100
  for no key update skip locked),
picked as (
  select j.id as origin, gen_random_uuid() as id, j.tenant_id, j.study_id, j.images_below, j.full_ensemble, j.owner, j.finished_at, shadow.digest,
    (select jsonb_agg(b order by place) from jsonb_array_elements(shadow.manifest -> 'backbones') with ordinality as a (b, place)
     where j.full_ensemble or coalesce(shadow.manifest -> 'cascade' -> 'first' ? (b ->> 'name'), true)) as backbones,
    jsonb_path_query_array(o.manifest, '$.backbones[*].input')
      @> jsonb_path_query_array(shadow.manifest, '$.backbones[*].input') as ready
  from shadow join jobs j on j.state = 'succeeded' and j.shadow_of is null
    and j.finished_at > shadow.shadow_seen and j.finished_at <= shadow.until
  join bundles o on o.digest = j.bundle_digest
  where j.bundle_digest <> shadow.digest and cardinality(j.missing_backbones) = 0
    and (hashtext(j.id::text) & 1073741823) < shadow.shadow_share::float * 1073741824
    and not exists (select from jobs s where s.shadow_of = j.id and s.bundle_digest = shadow.digest)
  order by j.finished_at limit at_most),
seen as (
  update bundles b set shadow_seen = case
    when (select count(*) from picked) < at_most then shadow.until else (select max(finished_at) from picked) end
  from shadow where b.digest = shadow.digest),
todo as (
  select picked.id, picked.digest, i.id as instance_id, i.position, step.kind, step.backbone, step.place
  from picked join instances i
    on i.study_id = picked.study_id and i.position < picked.images_below and i.state = 'prepared'
  cross join lateral (
    select 'infer' as kind, b ->> 'name' as backbone, place
    from jsonb_array_elements(picked.backbones) with ordinality as a (b, place) where picked.ready
    union all select 'prepare', null, 0 where not picked.ready) as step),
new_jobs as (
  insert into jobs (id, tenant_id, study_id, owner, priority, bundle_digest, steps_total, shadow_of, images_below,
    full_ensemble)
  select id, tenant_id, study_id, owner, :shadow_priority, digest,
    (select count(*) + 1 from todo where todo.id = picked.id), origin, images_below, full_ensemble
  from picked returning id),
new_steps as (
  insert into steps (job_id, instance_id, kind, backbone, bundle_digest, priority, hinted_at)
  select id, instance_id, kind, backbone, digest, :shadow_priority, '-infinity' from todo order by id, position, place)
select count(*) from new_jobs;
$$;

-- Marks a study as one of a patient's. The patient is kept as a keyed hash with a secret of the tenant's own that no
-- service may read: it is made and used in here, which is all a worker may call. Both halves of what is hashed have 32
-- bytes, so there is nothing to extend or to shift. An empty hash: the images of one study name several patients.
create function remember_patient(study uuid, digest bytea) returns void language sql security definer
set search_path = public, pg_temp as $$
  insert into patient_secrets (tenant_id)
  select tenant_id from studies
  where id = study and octet_length(digest) = 32 and tenant_id <> :anonymous_tenant
  on conflict do nothing;
  update studies s set patient = case
    when s.patient is null or s.patient = sha256(p.secret || digest) then sha256(p.secret || digest) else '' end
  from patient_secrets p where s.id = study and p.tenant_id = s.tenant_id;
$$;

-- Whether there are accounts of a tenant: the gateway may not look into auth-service's schema. The open API's tenant has none.
create function tenant_exists(tenant uuid) returns boolean language sql stable security definer
set search_path = public, pg_temp as $$
  select tenant = :anonymous_tenant or exists (select from auth.tenants where id = tenant);
$$;

-- Counts a tenant's open jobs, so that its quota holds also for uploads that come at once. The lock comes before the
-- count, and each statement of a volatile function sees what was committed before it: of uploads that come at once, each
-- counts those before it. The lock is held until the job that is counted for is committed.
create function open_jobs(tenant uuid) returns bigint language plpgsql volatile
set search_path = public, pg_temp as $$
begin
  perform pg_advisory_xact_lock(hashtextextended('open jobs of ' || tenant, 0));
  return (select count(*) from jobs
    where tenant_id = tenant and state in ('queued', 'running') and shadow_of is null);
end $$;

-- Lets one transaction at a time begin studies under these Study Instance UIDs of a tenant, or hold them.
create function lock_study_uids(tenant uuid, study_uids text[]) returns void language sql volatile
set search_path = public, pg_temp as $$
  select pg_advisory_xact_lock(hashtextextended('study ' || tenant || uid, 0))
  from (select distinct uid from unnest(study_uids) u (uid) order by uid) as sorted;
$$;

-- Of the rows of one Study Instance UID at most one is not ambiguous: the first, begun by a door that read the header of an image. It
-- stands for the study as long as it is there. A UID that a worker learned later is of images whose headers no door could read.
create function doubt_study() returns trigger language plpgsql security definer set search_path = public, pg_temp as $$
begin
  perform lock_study_uids(new.tenant_id, array[new.study_instance_uid]);
  update studies set ambiguous = true where id = new.id and not ambiguous and (tg_op = 'UPDATE' or exists (
    select from studies o where o.tenant_id = new.tenant_id and o.study_instance_uid = new.study_instance_uid and o.id <> new.id));
  return null;
end $$;
create trigger doubted after insert on studies for each row
when (new.study_instance_uid is not null) execute function doubt_study();
create trigger doubted_as_called after update of study_instance_uid on studies for each row
when (new.study_instance_uid is distinct from old.study_instance_uid and new.study_instance_uid is not null)
execute function doubt_study();

-- At most so many of a tenant's studies, in no order, whose accession number holds all `parts` (as `grams` has them) and is like the
-- pattern. Row-level security keeps a caller's own search from the index.
create function studies_containing(tenant uuid, parts text[], pattern text, most integer) returns setof uuid language sql stable
security definer set search_path = public, pg_temp as $$
  select id from studies where tenant_id = tenant and tenant = nullif(current_setting('thorax.tenant', true), '')::uuid
    and accession is not null and grams(accession) @> parts and accession like pattern limit most
$$;

-- Lets one sender at a time add images of these studies of a tenant, and none of them settle or be erased; held until the
-- transaction ends.
create function lock_studies(tenant uuid, study_uids text[]) returns void language sql volatile
set search_path = public, pg_temp as $$
  select lock_study_uids(tenant, study_uids);
  select from arrivals where tenant_id = tenant and study_instance_uid = any(study_uids) for update;
$$;

-- Lets nobody add images of these studies, and none of them settle, until the transaction ends.
create function lock_arrivals(studies uuid[]) returns void language sql volatile security definer
set search_path = public, pg_temp as $$
  select from arrivals where study_id = any(studies) order by study_id for update;
$$;

-- Deletes studies with all that belongs to them, and says how many; the sweeper erases their blobs. Arrivals are locked before studies
-- are, as by those who add images: in the other order each would wait for the other.
create function erase_studies(ids uuid[]) returns bigint language plpgsql volatile
set search_path = public, pg_temp as $$
declare erased bigint;
begin
  perform lock_arrivals(ids);
  insert into blobs_pending_deletion (instance_id) select id from instances where study_id = any(ids) on conflict do nothing;
  delete from studies where id = any(ids);
  get diagnostics erased = row_count;
  return erased;
end $$;

-- What a study is called: as its sender called it, else by what tells it from others, e.g. `DX PA 2026-01-02 A-0815`.
create function study_title(study uuid, title text, study_date date, accession text) returns text language sql stable
set search_path = public, pg_temp as $$
  select case when title <> '' then title else (
    select concat_ws(' ', max(modality), string_agg(distinct view_position, '/' order by view_position), study_date, accession)
    from instances where study_id = study) end;
$$;

-- Files one image that a DICOM peer sent, whose bytes are durable already, under its study, and says what became of it:
-- `filed`; `known` if the same data set came before under this SOP Instance UID; `conflict` if another did, and then the
-- image is kept aside until a worker has compared the pixels (`decide_conflict`); `full` if the tenant's quota of open
-- jobs is used up, and then nothing was recorded. A study that an upload by POST /v1/jobs began continues as that study: as
-- the largest, so that what is yet to come of it is not analysed once more.
-- Of images of one study that come at once, each sees those before it, as in `open_jobs`.
create function file_instance(tenant uuid, study_uid text, sop_uid text, image jsonb, route jsonb) returns text
language plpgsql volatile set search_path = public, pg_temp as $$
declare study uuid; before uuid; verdict text;
begin
  perform lock_studies(tenant, array[study_uid]);
  select study_id into study from arrivals where tenant_id = tenant and study_instance_uid = study_uid;
  if study is null then
    select s.id into study from instances i join studies s on s.id = i.study_id
    where i.tenant_id = tenant and i.sop_instance_uid = sop_uid and s.study_instance_uid = study_uid
    order by (select count(*) from instances m where m.study_id = s.id) desc, s.created_at desc limit 1;
    if study is null then
      if open_jobs(tenant) >= (route->>'quota')::bigint then return 'full'; end if;
      study := gen_random_uuid();
      insert into studies (id, tenant_id, study_instance_uid) values (study, tenant, study_uid);
    end if;
    insert into arrivals (study_id, tenant_id, study_instance_uid, source, owner, priority, bundle_digest)
    values (study, tenant, study_uid, route->>'source', route->>'owner', (route->>'priority')::smallint, route->>'bundle');
  end if;
  select case when bool_or(i.data_sha256 = image->>'data_sha256') then 'known' else 'conflict' end,
    (array_agg(i.id order by i.contests is not null, i.position))[1] into verdict, before
  from instances i join arrivals a on a.study_id = i.study_id
  where i.tenant_id = tenant and i.sop_instance_uid = sop_uid having count(*) > 0;
  if verdict = 'known' then return verdict; end if;
  insert into instances (id, study_id, tenant_id, position, file_name, media_type, size_bytes, sha256, data_sha256,
    sop_instance_uid, sop_class_uid, series_instance_uid, modality, transfer_syntax, error_code, error_detail, contests)
  select (image->>'id')::uuid, study, tenant,
    (select coalesce(max(position) + 1, 0) from instances where study_id = study),
    image->>'file_name', image->>'media_type', (image->>'size_bytes')::bigint, image->>'sha256', image->>'data_sha256',
    sop_uid, image->>'sop_class_uid', image->>'series_instance_uid', image->>'modality', image->>'transfer_syntax',
    case verdict when 'conflict' then 'instance_conflict' end,
    case verdict when 'conflict' then 'Other content came before under its SOP Instance UID; the pixels are being compared.' end,
    before;
  if verdict is null then
    update arrivals a set settle_by = coalesce(a.settle_by, now() + make_interval(secs => (route->>'latest_s')::float)),
      settles_at = least(coalesce(a.settle_by, now() + make_interval(secs => (route->>'latest_s')::float)),
        now() + make_interval(secs => (route->>'quiet_s')::float))
    where a.study_id = study;
  end if;
  return coalesce(verdict, 'filed');
end $$;

-- Ends a conflict that `file_instance` kept aside. Of the same pixels in other bytes, the first stay and these are erased;
-- an image of other pixels is shown in the study's newest job, unless one that will show it is about to be added.
create function decide_conflict(instance uuid, same boolean) returns void language sql security definer
set search_path = public, pg_temp as $$
  with aside as (
    select id, study_id, position from instances
    where id = instance and state = 'received' and error_code = 'instance_conflict'),
  erased as (delete from instances where same and id in (select id from aside) returning id),
  queued as (insert into blobs_pending_deletion (instance_id) select id from erased),
  emptied as (
    update studies set ambiguous = true from aside where same and studies.id = aside.study_id
      and not exists (select from instances i where i.study_id = aside.study_id and i.id <> aside.id)),
  marked as (
    update instances set state = 'failed',
      error_detail = :other_pixels
    where not same and id in (select id from aside))
  update jobs set version = version + 1,
    images_below = case when same then images_below else greatest(images_below, aside.position + 1) end
  from aside join arrivals a using (study_id)
  where a.settles_at is null and jobs.id = (
    select id from jobs j where j.study_id = aside.study_id and j.shadow_of is null order by j.created_at desc limit 1);
$$;

-- Adds a job for each study that has settled, as the gateway sees one tenant at a time. An image that arrives later settles
-- its study again: that job supersedes the one before. A study that no bundle can analyse yet waits, and holds up no other.
-- Returns the jobs, [{job, tenant, images}], and when to call it again.
create function settle_studies(at_most integer, out jobs jsonb, out next_in_s float) language sql security definer
set search_path = public, pg_temp as $$
with pinned as (
  select gen_random_uuid() as job_id, a.*, coalesce(a.bundle_digest, t.bundle_digest, b.digest) as digest
  from arrivals a left join tenant_bundles t using (tenant_id) left join bundles b on b.active
  where a.settles_at <= now() and coalesce(a.bundle_digest, t.bundle_digest, b.digest) is not null
  order by a.settles_at limit at_most for update of a skip locked),
images as (
  select p.job_id, i.id, i.position, p.digest, p.priority from pinned p join instances i on i.study_id = p.study_id
  where i.error_code is distinct from 'instance_conflict'),
new_jobs as (
  insert into jobs (id, tenant_id, study_id, owner, priority, bundle_digest, steps_total, images_below, supersedes)
  select p.job_id, p.tenant_id, p.study_id, p.owner, p.priority, p.digest,
    (select count(*) + 1 from images i where i.job_id = p.job_id),
    (select max(i.position) + 1 from instances i where i.study_id = p.study_id),
    (select j.id from jobs j where j.study_id = p.study_id and j.shadow_of is null order by j.created_at desc limit 1)
  from pinned p),
settled as (
  update arrivals set settles_at = null, settle_by = null
  where study_id in (select study_id from pinned)),
new_steps as (
  insert into steps (job_id, instance_id, kind, bundle_digest, priority)
  select job_id, id, 'prepare', digest, priority from images order by job_id, position)
select (select coalesce(jsonb_agg(jsonb_build_object('job', p.job_id, 'tenant', p.tenant_id,
    'images', (select count(*) from images i where i.job_id = p.job_id))), '[]') from pinned p),
  case when (select count(*) from pinned) = at_most then 0
    else coalesce((select extract(epoch from min(settles_at) - now()) from arrivals where settles_at > now()), 'infinity') end;
$$;

-- Tells the gateways of each change of a job that clients can see: its tenant, id, version and state. (The workers, who
-- make most changes, may not read whose a job is.) Of an erased job: no state.
create function tell_of_job() returns trigger language plpgsql security definer set search_path = public, pg_temp as $$
begin
  if tg_op = 'DELETE' then
    insert into erased_jobs (job_id, tenant_id) values (old.id, old.tenant_id);
    perform pg_notify(:jobs_channel, concat_ws(' ', old.tenant_id, old.id, old.version, ''));
  else
    perform pg_notify(:jobs_channel, concat_ws(' ', new.tenant_id, new.id, new.version, new.state));
  end if;
  return null;
end $$;
create trigger changed after insert or update of version on jobs for each row
when (new.shadow_of is null) execute function tell_of_job();
create trigger erased after delete on jobs for each row when (old.shadow_of is null) execute function tell_of_job();

-- The blobs of objects that are deleted, with their job or to be made anew, are erased by the sweeper.
create function forget_derived() returns trigger language plpgsql security definer set search_path = public, pg_temp as $$
begin
  insert into blobs_pending_deletion (instance_id) values (old.id) on conflict do nothing;
  return null;
end $$;
create trigger forgotten after delete on derived for each row execute function forget_derived();

-- Whether Thorax' own objects of a job are listed: those of a study's last job that has any are, the earlier ones' are retrieved by
-- their UIDs. Of the rows of a study that came several times, a job hides the earlier ones of no other images than its own. (Its plans
-- are kept for a session; as a part of each search they would take longer to make than all else. Mostly the first answers.)
create function is_current(job uuid) returns boolean language plpgsql stable set search_path = public, pg_temp as $$
begin
  if not exists (
    select from derived d join derived other on other.tenant_id = d.tenant_id and other.study_instance_uid = d.study_instance_uid
    where d.job_id = job and other.job_id <> job) then return true; end if;
  return not exists (
    select from jobs said join studies own on own.id = said.study_id
    join studies o on o.tenant_id = own.tenant_id and o.study_instance_uid = own.study_instance_uid
    join jobs later on later.study_id = o.id and later.created_at > said.created_at
    join derived newer on newer.job_id = later.id
    where said.id = job and (later.study_id = said.study_id or not exists (
      select from instances i where i.study_id = said.study_id and i.position < said.images_below
        and i.error_code is distinct from 'instance_conflict' and not exists (
          select from instances same where same.study_id = later.study_id and same.position < later.images_below
            and same.sop_instance_uid = i.sop_instance_uid))));
end $$;

-- Queues what a job that has ended says for its tenant's destinations: webhooks, and, if its study is a DICOM study, those that
-- take objects. A job's callbacks stand for the webhook of their origin (`called_by`). (The workers and the aggregator, who end jobs, may not read whose a job is.) A job that was retried is delivered
-- anew; its objects' UIDs differ only where their content does.
--
-- A callback that comes when the job has ended is told at once, and again if it was told before.
create function called_by(tenant uuid, callback text) returns uuid language sql stable set search_path = public, pg_temp as $$
  -- The webhook whose secret signs it: the one of its origin with the longest URL that it begins with, or else the first by name.
  select id from destinations where tenant_id = tenant and kind = 'webhook' and origin = substring(callback from '^https://[^/?]+')
  order by length(url) * starts_with(callback, url)::int desc, name limit 1
$$;
create function queue_deliveries() returns trigger language plpgsql security definer set search_path = public, pg_temp as $$
begin
  insert into deliveries (tenant_id, job_id, destination_id, url, predecessor_series, predecessor_sop)
  select new.tenant_id, new.id, x.id, own.url, p.report_series, p.report_sop
  from destinations x join studies s on s.id = new.study_id
  left join (select distinct called_by(new.tenant_id, url) as id, url from unnest(new.callback_url || new.callbacks) as url) own
    on own.id = x.id
  left join deliveries p on p.job_id = new.supersedes and p.destination_id = x.id and x.kind <> 'webhook'
  where x.tenant_id = new.tenant_id and (x.kind = 'webhook' or s.study_instance_uid is not null)
    and (x.only_from is null
      or exists (select from arrivals a where a.study_id = s.id and a.source = 'C-STORE from ' || x.only_from))
  on conflict (job_id, destination_id, url) do update
    set state = 'waiting', attempts = 0, crashes = 0, refusals = 0, since = now(), not_before = now(), proof = null, error_code = null,
      error_detail = null;
  return null;
end $$;
create trigger ended after update of state on jobs for each row
when (new.shadow_of is null and new.state in ('succeeded', 'failed') and old.state <> new.state) execute function queue_deliveries();

create function queue_callback() returns trigger language plpgsql security definer set search_path = public, pg_temp as $$
begin
  insert into deliveries (tenant_id, job_id, destination_id, url)
  select new.tenant_id, new.id, called_by(new.tenant_id, url), url from (select new.callbacks[cardinality(new.callbacks)] as url) own
  where called_by(new.tenant_id, url) is not null
  on conflict (job_id, destination_id, url) do update
    set state = 'waiting', attempts = 0, crashes = 0, refusals = 0, since = now(), not_before = now(), proof = null, error_code = null,
      error_detail = null where deliveries.state in ('delivered', 'dead');
  return null;
end $$;
create trigger called after update of callbacks on jobs for each row
when (new.state in ('succeeded', 'failed')) execute function queue_callback();

-- A destination that was changed, or to which somebody sends again, is asked at once.
create function end_outage() returns trigger language plpgsql security definer set search_path = public, pg_temp as $$
begin
  if tg_table_name = 'destinations' then
    delete from outages where destination_id = new.id;
  else
    update outages set until = now() where destination_id = new.destination_id;
  end if;
  return null;
end $$;
create trigger outage after update on destinations for each row execute function end_outage();
create trigger outage after update of state on deliveries for each row
when (old.state = 'dead' and new.state = 'waiting') execute function end_outage();

-- Tells the sweepers that a delivery waits, or an answer that somebody looks at, so that they need not look for them.
create function tell_of_due() returns trigger language plpgsql as $$
begin
  perform pg_notify(:due_channel, '');
  return null;
end $$;
create trigger due after insert or update of state on deliveries for each row
when (new.state = 'waiting') execute function tell_of_due();
create trigger due after insert or update of asked_at on webhook_tests for each row execute function tell_of_due();
create trigger due after insert or update of made_at on derivations for each row
when (new.made_at is null) execute function tell_of_due();
