-- How long data are kept, and studies under legal hold. Row-level security confines the gateway to one tenant at a time.

-- kept --
-- What is kept for how many days, for all tenants (zeros) and those with days of their own.
select * from retention_days order by tenant_id

-- keep --
-- Sets how long the data of a tenant that exists, or of all (zeros), are kept.
insert into retention (tenant_id, originals_days, inputs_days, maps_days, results_days)
select cast(:tenant as uuid), :originals, :inputs, :maps, :results
where cast(:tenant as uuid) = cast(:all_tenants as uuid) or tenant_exists(:tenant)
on conflict (tenant_id) do update set originals_days = :originals, inputs_days = :inputs, maps_days = :maps,
  results_days = :results, changed_at = now()
returning tenant_id

-- forget --
-- A tenant's data are kept as those of all.
delete from retention where tenant_id = :tenant

-- holds --
-- The tenant's studies that are held, the latest first.
select id as study_id, held_since as since from studies where tenant_id = :tenant and held_since is not null
order by held_since desc, id limit 100

-- hold --
-- Holds the studies that an id or a Study Instance UID names, or releases them.
select * from hold_studies(:tenant, :study, :held)
