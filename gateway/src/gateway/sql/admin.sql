-- What failed, in all tenants: this view is the one place where the gateway sees past its tenant.

-- failed_jobs --
-- Lists jobs that failed or whose result lacks backbones, the latest first.
select * from failed_work
where cast(:before as timestamptz) is null or (finished_at, id) < (cast(:before as timestamptz), cast(:id as uuid))
order by finished_at desc, id desc limit :limit

-- tenant_of --
-- The tenant of such a job.
select tenant_id from failed_work where id = :id
