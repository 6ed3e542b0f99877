-- Destinations of one tenant (confined by row-level security), and what could not be delivered, in all tenants.

-- put --
-- Adds a destination or changes it. Its credentials can be written and never read.
insert into destinations (tenant_id, name, url, "authorization") values (:tenant, :name, :url, :authorization)
on conflict (tenant_id, name) do update set url = :url, "authorization" = :authorization

-- list --
-- A tenant's destinations.
select name, url, created_at from destinations where tenant_id = :tenant order by name

-- delete --
-- Deletes a destination, and its deliveries.
delete from destinations where tenant_id = :tenant and name = :name returning id

-- dead --
-- What could not be delivered, the latest first.
select * from dead_deliveries
where cast(:before as timestamptz) is null or (updated_at, id) < (cast(:before as timestamptz), cast(:id as uuid))
order by updated_at desc, id desc limit :limit

-- tenant_of --
-- Whose such a delivery is.
select tenant_id from dead_deliveries where id = :id

-- resend --
-- Lets a delivery begin anew.
update deliveries set state = 'waiting', attempts = 0, not_before = now(), updated_at = now()
where id = :id and state = 'dead' returning id

-- job --
-- A job, if it is this tenant's.
select id from jobs where id = :job_id

-- of_job --
-- The deliveries of a job.
select x.name as destination, d.state, d.attempts, d.proof, d.error_code, d.error_detail, d.updated_at
from deliveries d join destinations x on x.id = d.destination_id where d.job_id = :job_id order by x.name
