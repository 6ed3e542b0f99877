-- Destinations of one tenant (confined by row-level security).

-- put --
-- Adds a destination of a tenant that exists, or changes it. Its credentials can be written and never read.
insert into destinations as d (tenant_id, name, kind, url, sealed, only_from)
select cast(:tenant as uuid), :name, :kind, :url, cast(:sealed as bytea), :only_from where tenant_exists(:tenant)
on conflict (tenant_id, name) do update set kind = :kind, url = :url, sealed = :sealed, only_from = :only_from
returning d.created_at

-- list --
-- A tenant's destinations.
select name, kind, url, only_from, created_at from destinations where tenant_id = :tenant order by name

-- delete --
-- Deletes a destination, and its deliveries.
delete from destinations where tenant_id = :tenant and name = :name returning id
