-- Deliveries of one tenant (confined by row-level security), and what could not be delivered, in all tenants.

-- dead --
-- What could not be delivered, of one tenant or of all, the latest first.
select * from dead_deliveries
where tenant_id = coalesce(cast(:tenant as uuid), tenant_id) and (cast(:before as timestamptz) is null or (updated_at, id) < (cast(:before as timestamptz), cast(:id as uuid)))
order by updated_at desc, id desc limit :limit

-- tenant_of --
-- Whose a delivery is.
select tenant_id from delivery_tenants where id = :id

-- resend --
-- Lets a delivery, to a destination of a kind or of any, begin anew.
update deliveries d set state = 'waiting', attempts = 0, crashes = 0, refusals = 0, since = now(), not_before = now(),
  updated_at = now()
from destinations x
where d.id = :id and d.state = 'dead' and x.id = d.destination_id and x.kind = coalesce(:kind, x.kind) returning d.id

-- state --
-- How a delivery, to a destination of a kind or of any, stands.
select d.state from deliveries d join destinations x on x.id = d.destination_id
where d.id = :id and x.kind = coalesce(:kind, x.kind)

-- job --
-- A job, if it is this tenant's.
select id from jobs where id = :job_id

-- of_job --
-- The deliveries of a job.
select x.name as destination, x.kind, d.state, d.attempts, d.proof, d.error_code, d.error_detail, d.updated_at
from deliveries d join destinations x on x.id = d.destination_id where d.job_id = :job_id order by x.name
