-- Tests of a tenant's webhooks (confined by row-level security).

-- ask --
-- Asks the sweeper for a test, in place of an earlier one.
insert into webhook_tests (destination_id, tenant_id)
select id, tenant_id from destinations where tenant_id = :tenant and name = :name and kind = 'webhook'
on conflict (destination_id) do update set id = gen_random_uuid(), asked_at = now(), sent_at = null, delivered = null, answer = null
returning id

-- answer --
-- How it was answered, once it was.
select delivered, answer from webhook_tests where id = :id and delivered is not null
