-- What failed, in all tenants: this view is the one place where the gateway sees past its tenant.

-- failed_jobs --
-- Lists jobs that failed or whose result lacks backbones, the latest first.
select * from failed_work
where cast(:before as timestamptz) is null or (finished_at, id) < (cast(:before as timestamptz), cast(:id as uuid))
order by finished_at desc, id desc limit :limit

-- tenant_of --
-- The tenant of such a job.
select tenant_id from failed_work where id = :id


-- queue --
-- Work of all tenants that waits or runs, by kind and backbone; two halves, as each has an index.
select kind, backbone, count(*) filter (where waits) as waiting, count(*) filter (where not waits) as running,
  extract(epoch from now() - min(created_at) filter (where waits))::float as oldest_s
from (
  select kind, backbone, created_at, true as waits from steps where state = 'waiting'
  union all
  select kind, backbone, created_at, false from steps where state = 'running') work
group by kind, backbone order by kind, backbone

-- workers --
-- Every process that gave a sign of life within a day, and how long that is ago.
select id, service, kinds, backbones, provider, extract(epoch from now() - seen_at)::float as seen_s,
  seen_at > now() - make_interval(secs => :alive_s) as alive
from workers where seen_at > now() - interval '1 day' order by service, id

-- bundles --
-- Registered bundles, and how many living workers serve each.
select name, version, digest, active as "default", shadow_share is not null as shadow,
  (select count(*) from workers w
   where b.digest = any(w.bundles) and w.seen_at > now() - make_interval(secs => :alive_s)) as workers
from bundles b order by active desc, registered_at desc
