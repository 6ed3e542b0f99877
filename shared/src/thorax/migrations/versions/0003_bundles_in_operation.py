"""A bundle of a tenant's own; a shadow bundle, whose jobs no client can see; what workers have loaded."""

from alembic import op

revision = "0003"
down_revision = "0002"

TABLES = """
create table tenant_bundles (
  tenant_id uuid primary key, bundle_digest text not null references bundles,
  activated_at timestamptz not null default now());

alter table bundles
  add column shadow_share real check (shadow_share > 0 and shadow_share <= 1),
  add column shadow_seen timestamptz,
  add column wanted_until timestamptz;
create unique index bundles_one_shadow on bundles ((true)) where shadow_share is not null;

alter table workers add column loaded text[] not null default '{}';

alter table jobs add column shadow_of uuid references jobs on delete cascade;
create unique index jobs_shadows on jobs (shadow_of, bundle_digest) where shadow_of is not null;
create index jobs_succeeded on jobs (finished_at) where state = 'succeeded' and shadow_of is null;
"""

# With its owner's rights, as the sweeper may neither add jobs nor see whose they are. Looks at jobs in the order in
# which they ended, from where it stopped (`shadow_seen`); the two seconds are for transactions that commit late.
# Where the shadow's inputs are all among the original's, the prepared pixels are used, and only `infer` is added.
# Priority 9 is `thorax.states.SHADOW_PRIORITY`: after all real work.
CAST_SHADOWS = """
create function cast_shadows(at_most integer) returns bigint language sql security definer
set search_path = public, pg_temp as $$
with shadow as (
  select digest, manifest, shadow_share, shadow_seen, now() - interval '2 seconds' as until from bundles
  where shadow_share is not null
    and (select count(*) from (select from steps where state = 'waiting' and priority = 9 limit 100) s) < 100
  for no key update skip locked),
picked as (
  select j.id as origin, gen_random_uuid() as id, j.tenant_id, j.study_id, j.owner, j.finished_at, shadow.digest,
    shadow.manifest -> 'backbones' as backbones,
    jsonb_path_query_array(o.manifest, '$.backbones[*].input')
      @> jsonb_path_query_array(shadow.manifest, '$.backbones[*].input') as ready
  from shadow join jobs j on j.state = 'succeeded' and j.shadow_of is null
    and j.finished_at > shadow.shadow_seen and j.finished_at <= shadow.until
  join bundles o on o.digest = j.bundle_digest
  where j.bundle_digest <> shadow.digest and cardinality(j.missing_backbones) = 0
    and (hashtext(j.id::text) & 1073741823) < shadow.shadow_share::float * 1073741824
    and not exists (select from jobs s where s.shadow_of = j.id and s.bundle_digest = shadow.digest)
  order by j.finished_at limit at_most),
looked as (
  update bundles b set shadow_seen = case
    when (select count(*) from picked) < at_most then shadow.until else (select max(finished_at) from picked) end
  from shadow where b.digest = shadow.digest),
todo as (
  select picked.id, picked.digest, i.id as instance_id, i.position, step.kind, step.backbone, step.place
  from picked join instances i on i.study_id = picked.study_id and i.state = 'prepared'
  cross join lateral (
    select 'infer' as kind, b ->> 'name' as backbone, place
    from jsonb_array_elements(picked.backbones) with ordinality as a (b, place) where picked.ready
    union all select 'prepare', null, 0 where not picked.ready) as step),
cast_jobs as (
  insert into jobs (id, tenant_id, study_id, owner, priority, bundle_digest, steps_total, shadow_of)
  select id, tenant_id, study_id, owner, 9, digest, (select count(*) + 1 from todo where todo.id = picked.id), origin
  from picked returning id),
cast_steps as (
  insert into steps (job_id, instance_id, kind, backbone, bundle_digest, priority, hinted_at)
  select id, instance_id, kind, backbone, digest, 9, '-infinity' from todo order by id, position, place)
select count(*) from cast_jobs;
$$;
"""

# A shadow's job belongs to its original's tenant, to be erased with it, but the gateway sees none.
CONFINE = """
alter policy tenant on jobs using (
  tenant_id = nullif(current_setting('thorax.tenant', true), '')::uuid and shadow_of is null);
alter table tenant_bundles enable row level security;
create policy tenant on tenant_bundles to thorax_gateway
  using (tenant_id = nullif(current_setting('thorax.tenant', true), '')::uuid);
create policy services on tenant_bundles to thorax_worker, thorax_aggregator using (true);
"""

GRANTS = """
grant select on tenant_bundles to thorax_gateway;
grant select (bundle_digest) on tenant_bundles to thorax_worker;
grant select (tenant_id), delete on tenant_bundles to thorax_aggregator;
revoke all on function cast_shadows(integer) from public;
grant execute on function cast_shadows(integer) to thorax_aggregator;
"""


def upgrade() -> None:
    """Add them, and hand out no more than is needed."""
    for part in (TABLES, CAST_SHADOWS, CONFINE, GRANTS):
        op.execute(part)
