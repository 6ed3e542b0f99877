-- What the ledger holds now, for metrics.

-- open_work --
-- Counts what waits and runs by kind and priority, with the seconds that the oldest of each has waited or run.
select 'steps' as what, state, kind, priority, count(*) as size,
  extract(epoch from now() - min(created_at))::float as oldest_s
from steps where state = 'waiting' group by state, kind, priority
union all
select 'steps', state, kind, priority, count(*), extract(epoch from now() - min(started_at))::float
from steps where state = 'running' group by state, kind, priority
union all
select 'jobs', state, '', priority, count(*), extract(epoch from now() - min(created_at))::float
from jobs where state in ('queued', 'running') group by state, priority

-- totals --
-- Counts dead steps, instances whose blobs are to be erased, answers that are to be made into DICOM objects, and the living
-- processes of each service.
select (select count(*) from steps where state = 'dead') as dead,
  (select count(*) from blobs_pending_deletion) as to_erase,
  (select count(*) from derivations where made_at is null) as to_derive,
  (select coalesce(jsonb_object_agg(service, size), '{}') from (
     select service, count(*) as size from workers where seen_at > now() - make_interval(secs => :alive_s)
     group by service) as living) as processes

-- deliveries --
-- Counts deliveries that have not arrived, by kind of destination.
select x.kind, d.state, count(*) as size from deliveries d join destinations x on x.id = d.destination_id
where d.state <> 'delivered' group by x.kind, d.state

-- backbones --
-- Counts the living workers that can run each backbone of the active bundle.
select b.item ->> 'name' as backbone, count(w.id) as size
from bundles a cross join jsonb_array_elements(a.manifest -> 'backbones') b (item)
left join workers w on w.seen_at > now() - make_interval(secs => :alive_s) and a.digest = any (w.bundles)
  and b.item ->> 'name' = any (w.backbones)
where a.active group by b.item ->> 'name'
