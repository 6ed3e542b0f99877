-- Tests of webhooks that administrators wait for.

-- test --
-- Takes a test that was asked for and not sent, unless whoever asked no longer waits.
update webhook_tests t set sent_at = now() from destinations d
where d.id = t.destination_id and t.id = (
  select id from webhook_tests where sent_at is null and asked_at > now() - make_interval(secs => :waits_s)
  order by asked_at limit 1 for update skip locked)
returning t.id, d.url, d.sealed

-- tested --
-- How it was answered.
update webhook_tests set delivered = :delivered, answer = :answer where id = :id
