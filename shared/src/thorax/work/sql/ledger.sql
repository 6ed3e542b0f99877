-- The work ledger. Locks are taken in one order, jobs (by id) before steps; a claim takes step locks only and skips
-- what is locked.

-- add --
-- Adds steps to their jobs, in the order given, with each job's bundle and priority.
insert into steps (job_id, instance_id, kind, backbone, bundle_digest, priority)
select j.id, new.instance_id, new.kind, new.backbone, j.bundle_digest, j.priority
from rows from (jsonb_to_recordset(:steps) as (job_id uuid, instance_id uuid, kind text, backbone text))
  with ordinality as new (job_id, instance_id, kind, backbone, place)
join jobs j on j.id = new.job_id order by new.place

-- claim --
-- Leases the most urgent waiting step that fits, and for infer the waiting steps of the same images. A step that was
-- claimed twice before may be poison, so it never shares a batch with others. An image that nothing else waits for is
-- shared with the other workers that live (`crew`), so that its backbones run side by side. `left_over` and `chores` tell
-- whether another look would find something, so that most need none.
with head as (
  select id, kind, priority, job_id, instance_id, attempts, bundle_digest from steps
  where state = 'waiting' and kind = any(:kinds) and (backbone is null or backbone = any(:backbones))
    and (kind = 'aggregate' or bundle_digest = any(:bundles)) and not_before <= now()
  order by priority, kind, id limit 1 for update skip locked),
image as (
  select count(*) as steps, count(*) filter (where s.state = 'waiting') as waiting from steps s, head
  where s.job_id = head.job_id and s.instance_id = head.instance_id and s.kind = 'infer'
    and s.backbone = any(:backbones)),
crew as (
  select count(*) as size from workers w, head
  where w.backbones && cast(:backbones as text[]) and head.bundle_digest = any(w.loaded)
    and w.seen_at > now() - make_interval(secs => :alive_s) and not exists (
      select from steps o where o.state = 'waiting' and o.kind <> 'aggregate' and o.instance_id <> head.instance_id)),
taken as (
  select s.id from steps s, head
  where s.state = 'waiting' and s.kind = head.kind and s.priority = head.priority
    and s.id between head.id and case when head.kind = 'infer' then 9223372036854775807 else head.id end
    and (s.backbone is null or s.backbone = any(:backbones))
    and (s.kind = 'aggregate' or s.bundle_digest = any(:bundles)) and s.not_before <= now()
    and case when s.kind <> 'infer' then true
             when head.attempts >= 2 or :max_batch = 1 then s.instance_id = head.instance_id
             else s.attempts < 2 end
  order by s.id limit (select case when :max_batch > 1 then :rows
    else ceil(greatest(image.steps, 1) / greatest(crew.size, 1)::numeric)::bigint end from image, crew)
  for update of s skip locked),
claimed as (
  update steps s set state = 'running', attempts = s.attempts + 1, worker = :worker, started_at = now(),
    lease_until = now() + make_interval(secs => :lease_s)
  from taken where s.id = taken.id
  returning s.id, s.attempts, s.job_id, s.instance_id, s.kind, s.backbone, s.bundle_digest, s.priority,
    extract(epoch from now() - greatest(s.created_at, s.not_before))::float as waited_s),
chores as (
  select exists (select from instances where forms_wanted_at is not null)
      or exists (select from derived where forms_wanted_at is not null) as forms,
    exists (select from instances where state = 'received' and error_code = 'instance_conflict') as aside),
left_over as (
  select exists (
    select from steps s where s.state = 'waiting' and s.kind = any(:able) and (s.backbone is null or s.backbone = any(:backbones))
      and (s.kind = 'aggregate' or s.bundle_digest = any(:bundles)) and s.not_before <= now()
      and not exists (select from taken where taken.id = s.id)) as steps),
started as (
  update jobs set state = 'running', started_at = now(), version = version + 1
  where id in (select j.id from jobs j join claimed c on c.job_id = j.id and c.kind = 'prepare'
               where j.state = 'queued' for update of j skip locked))
select claimed.id, claimed.attempts, claimed.job_id, claimed.instance_id, claimed.kind, claimed.backbone,
  claimed.bundle_digest, claimed.priority, i.media_type, coalesce(i.forced, false) as force, i.tenant_id,
  claimed.kind = 'infer' and (select waiting from image) > count(*) over () as rest, i.contests,
  (select size from crew) < 2 as alone, j.steps_total = 2 as only, r.reading, claimed.waited_s, j.full_ensemble, j.traceparent,
  left_over.steps or chores.forms or chores.aside as more, chores.forms
from left_over, chores, claimed join jobs j on j.id = claimed.job_id left join instances i on i.id = claimed.instance_id left join tenant_readings r on r.tenant_id = i.tenant_id order by claimed.id

-- ahead --
-- Tells whether a worker that runs images in batches has to prepare more before it infers: an image waits to be
-- prepared, none that is more urgent waits for infer, and fewer than a batch do.
select coalesce(
  (select priority from steps where state = 'waiting' and kind = 'prepare' and bundle_digest = any(:bundles)
     and not_before <= now() order by priority limit 1)
  <= coalesce((select min(priority) from steps where state = 'waiting' and kind = 'infer' and backbone = any(:backbones)), 32767)
  and (select count(distinct instance_id) from steps
       where state = 'waiting' and kind = 'infer' and backbone = any(:backbones) and not_before <= now()) < :max_batch, false)

-- overlooked --
-- Tells whether a step that fits could have been claimed for so long.
select exists (
  select from steps where state = 'waiting' and kind = any(:kinds) and (backbone is null or backbone = any(:backbones))
    and (kind = 'aggregate' or bundle_digest = any(:bundles)) and not_before < now() - make_interval(secs => :for_s))

-- held --
-- The head of every statement that completes steps: locks their jobs, and marks as done those that are still ours.
mine as (select * from unnest(cast(:ids as bigint[]), cast(:attempts as integer[])) as m (id, attempts)),
locked as (select id from jobs where id = any(:jobs) order by id for no key update),
held as (
  update steps s set state = 'done', finished_at = now() - make_interval(secs => :ended), lease_until = null from mine, locked
  where s.id = mine.id and s.job_id = locked.id and s.attempts = mine.attempts and s.state = 'running'
  returning s.id, s.job_id, s.instance_id, s.backbone)

-- complete --
-- Follows `held` and `new`, and what records its results: counts the steps and adds what follows, or aggregate after
-- the last one. An aggregate that asks for more is followed by another.
moved as (
  update jobs j set steps_done = j.steps_done + d.done + d.ran, version = j.version + 1,
    state = case when j.state = 'queued' then 'running' else j.state end,
    steps_total = j.steps_total + d.added + d.asking
  from (select job_id, count(*) as done, (select count(*) from new where new.job_id = held.job_id) as added,
          (select count(began) from new where new.job_id = held.job_id) as ran,
          count(*) filter (where instance_id is null) as asking
        from held group by job_id) as d
  where j.id = d.job_id and j.state in ('queued', 'running')
  returning j.id, j.bundle_digest, j.priority, j.steps_done + 1 = j.steps_total as exhausted),
added as (
  insert into steps (job_id, instance_id, kind, backbone, bundle_digest, priority, state, attempts, worker, started_at,
    finished_at)
  select moved.id, new.instance_id, new.kind, new.backbone, bundle_digest, priority,
    case when new.began is null then 'waiting' else 'done' end, new.attempts, new.worker, new.started_at, new.finished_at
  from new join moved on moved.id = new.job_id order by new.place),
last as (
  insert into steps (job_id, kind, bundle_digest, priority)
  select id, 'aggregate', bundle_digest, priority from moved where exhausted)
select held.id, held.job_id, coalesce(moved.exhausted, false) as exhausted
from held left join moved on moved.id = held.job_id

-- conclude --
-- Follows `held` and `new`, and what records a job's answer, where the worker that prepared its only image has done all
-- of `new` as well: the job ends.
spans as (
  select kind, max(began) as began, min(ended) as ended from new group by kind
  union all select 'prepare', extract(epoch from now() - s.started_at), :ended from held join steps s on s.id = held.id),
seconds as (select jsonb_object_agg(kind || '_s', round((began - ended)::numeric, 4)) as by_kind from spans),
ended as (
  update jobs j set state = 'succeeded', finished_at = clock_timestamp(), missing_backbones = '{}', version = j.version + 1,
    steps_total = j.steps_total + n.more, steps_done = j.steps_total + n.more,
    timings = by_kind || jsonb_build_object(
      'queued_s', round(extract(epoch from s.started_at - j.created_at)::numeric, 4),
      'total_s', round(extract(epoch from clock_timestamp() - j.created_at)::numeric, 4))
  from seconds, (select count(*) - 1 as more from new) n, held join steps s on s.id = held.id
  where j.id = held.job_id and j.state in ('queued', 'running')
  returning j.id, j.bundle_digest, j.priority, extract(epoch from j.finished_at - j.created_at)::float as seconds),
added as (
  insert into steps (job_id, instance_id, kind, backbone, bundle_digest, priority, state, attempts, worker, started_at,
    finished_at)
  select ended.id, new.instance_id, new.kind, new.backbone, bundle_digest, priority, 'done', new.attempts, new.worker,
    new.started_at, new.finished_at
  from new join ended on ended.id = new.job_id order by new.place)
select held.id, held.job_id, false as exhausted, ended.seconds from held left join ended on ended.id = held.job_id

-- new --
-- What follows the steps that are completed. With `began` and `ended`, seconds ago, it was done by the same worker.
new as (
  select n.*, mine.worker, cast(n.began is not null as integer) as attempts,
    now() - make_interval(secs => n.began) as started_at, now() - make_interval(secs => n.ended) as finished_at
  from rows from (jsonb_to_recordset(:steps) as (
    job_id uuid, instance_id uuid, kind text, backbone text, began float, ended float))
    with ordinality as n (job_id, instance_id, kind, backbone, began, ended, place)
  left join lateral (
    select worker from held join steps on steps.id = held.id where n.began is not null limit 1) mine on true)

-- release --
-- Gives claims back after a failure that may pass; the wait doubles with each attempt.
update steps s set state = 'waiting', lease_until = null, error_code = :code,
  not_before = now() + make_interval(secs => :delay_s * power(2, least(s.attempts, 8) - 1))
from unnest(cast(:ids as bigint[]), cast(:attempts as integer[])) as mine (id, attempts)
where s.id = mine.id and s.attempts = mine.attempts and s.state = 'running'

-- lock_jobs --
-- Locks jobs, by id.
select id from jobs where id = any(:ids) order by id for no key update

-- end --
-- Ends an open job without a result and cancels its open steps.
with ended as (
  update jobs set state = :state, error_code = :code, error_detail = :detail, finished_at = now(),
    version = version + 1 where id = :job_id and state in ('queued', 'running')
  returning id, tenant_id, state, error_code, priority,
    extract(epoch from finished_at - created_at)::float as seconds),
stopped as (
  update steps set state = 'cancelled', finished_at = now()
  where job_id in (select id from ended) and state in ('waiting', 'running'))
select * from ended

-- waiting --
-- Counts the steps of real work that wait, over all tenants.
select count(*) from steps where state = 'waiting' and priority < :shadow_priority
