-- Destinations of one tenant (confined by row-level security).

-- put --
-- Adds a destination or changes it. Its credentials can be written and never read.
insert into destinations (tenant_id, name, kind, url, sealed, only_from)
values (:tenant, :name, :kind, :url, :sealed, :only_from)
on conflict (tenant_id, name) do update set kind = :kind, url = :url, sealed = :sealed, only_from = :only_from

-- list --
-- A tenant's destinations.
select name, kind, url, only_from, created_at from destinations where tenant_id = :tenant order by name

-- delete --
-- Deletes a destination, and its deliveries.
delete from destinations where tenant_id = :tenant and name = :name returning id
