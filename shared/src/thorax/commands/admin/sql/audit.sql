-- Reading the audit, as its owner.

-- patient --
-- A long audit takes longer than what a service may ask.
set local statement_timeout = 0

-- link --
-- Links what the sweeper has not linked yet.
select chain_audit(1000)

-- faults --
-- The first row of each tenant's chain that is not as it was linked: a place that is missing, or a row whose digest is not
-- over the row before and itself.
with rows as (
  select a.tenant_id, a.place, a.id, a.digest, lag(a.place, 1, 0) over w + 1 as expected,
    lag(a.digest, 1, '') over w as before, convert_to(audit_entry(a), 'UTF8') as entry
  from audit a where place is not null window w as (partition by a.tenant_id order by a.place)),
found as (
  select tenant_id, expected as place, null::bigint as id, 'removed' as fault from rows where place <> expected
  union all
  select tenant_id, place, id, 'altered' from rows where place = expected and digest <> sha256(before || entry)
  union all
  select h.tenant_id, coalesce(r.place, 0) + 1, null, 'removed' from audit_heads h left join lateral (
    select place from audit a where a.tenant_id = h.tenant_id and place is not null order by place desc limit 1) r on true
  where h.place <> coalesce(r.place, 0))
select distinct on (tenant_id) tenant_id, place, id, fault from found order by tenant_id, place

-- counts --
-- How many rows are linked, in how many chains.
select count(*) as rows, count(distinct tenant_id) as chains from audit where place is not null

-- rows --
-- Linked rows of one tenant or all, chain by chain.
select a.tenant_id, a.place, a.id, a.at, a.actor, a.action, a.subject, a.detail, audit_entry(a) as entry,
  encode(a.digest, 'hex') as digest
from audit a where place is not null and (cast(:tenant as uuid) is null or tenant_id = cast(:tenant as uuid))
order by a.tenant_id, a.place

-- digest --
-- The digest of one row now.
select encode(digest, 'hex') from audit where tenant_id = :tenant and place = :place
