-- What the gateway writes into the audit, and how administrators see it.

-- looked --
-- Writes looks at images. It does not wait for the disk: a crash of Postgres' machine may lose those of its last half second.
insert into audit (tenant_id, actor, action, subject, detail)
select :tenant, :actor, 'looked', look.subject, look.detail
from jsonb_to_recordset(cast(:looks as jsonb)) as look (subject text, detail jsonb),
  (select set_config('synchronous_commit', 'off', true)) as soon

-- trail --
-- The audit of one tenant or all, the latest first.
select * from audit_trail
where (cast(:tenant as uuid) is null or tenant_id = cast(:tenant as uuid))
  and (cast(:before as bigint) is null or id < cast(:before as bigint))
order by id desc limit :limit
