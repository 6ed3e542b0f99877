-- Deliveries: claimed as steps are, by a lease and an attempt number that guards what follows.

-- alone --
-- One claim at a time, of all sweepers: the next one sees what this one took.
select pg_advisory_xact_lock(hashtextextended('claim of a delivery', 0))

-- claim --
-- Takes a delivery that is due to a destination of these kinds: of the tenant that has the fewest under way, and fewer than
-- `of_tenant`, the one that has been due for longest. A destination is left alone while another delivery to it is under way,
-- or waits since it was away, for at most `alone_s`. A delivery whose process did not come back is due when its lease has ended.
with busy as materialized (
  select s.id, s.tenant_id, s.destination_id, s.state = 'sending' as sending
  from deliveries s join destinations x on x.id = s.destination_id
  where x.kind = any(:kinds) and s.state in ('waiting', 'sending') and case s.state
    when 'sending' then s.lease_until >= now()
    else s.error_code = :away and s.not_before > now() and s.updated_at > now() - make_interval(secs => :alone_s) end)
update deliveries d set state = 'sending', attempts = d.attempts + 1, lease_until = now() + make_interval(secs => :lease_s)
from (
  select w.id from deliveries w join destinations to_ on to_.id = w.destination_id
  cross join lateral (select count(*) filter (where sending) as sending,
    coalesce(bool_or(b.destination_id = w.destination_id and b.id <> w.id), false) as alone
    from busy b where b.tenant_id = w.tenant_id) its
  where to_.kind = any(:kinds) and not its.alone and its.sending < :of_tenant
    and ((w.state = 'waiting' and w.not_before <= now())
      or (w.state = 'sending' and w.lease_until < now() and w.attempts < :max_attempts))
  order by its.sending, w.not_before limit 1 for update of w skip locked) due, destinations x
where d.id = due.id and x.id = d.destination_id
returning d.id, d.attempts, d.job_id, d.destination_id, x.kind, coalesce(d.url, x.url) as url, x.sealed, d.predecessor_series,
  d.predecessor_sop, (select traceparent from jobs where id = d.job_id)

-- due --
-- In how many seconds time alone makes the next delivery to a destination of these kinds due; infinity: none. Asked in the
-- transaction of a `claim` that took nothing: what is due and was left alone is looked at when what it waits for has ended.
select coalesce(extract(epoch from min(at) - now()), 'infinity')::float
from deliveries d join destinations x on x.id = d.destination_id
cross join lateral (values
  (case d.state when 'waiting' then d.not_before else d.lease_until end),
  (case when d.state = 'waiting' and d.error_code = :away then d.updated_at + make_interval(secs => :alone_s) end)) times(at)
where x.kind = any(:kinds) and d.state in ('waiting', 'sending') and at > now()

-- mark_dead --
-- Gives up deliveries whose process never came back.
update deliveries set state = 'dead', error_code = :code, updated_at = now()
where state = 'sending' and lease_until < now() and attempts >= :max_attempts

-- ended --
-- Ends an attempt: delivered, dead, or waiting for the next one.
update deliveries set state = :state, proof = :proof, error_code = :code, error_detail = :detail, lease_until = null,
  not_before = now() + make_interval(secs => :delay_s), updated_at = now()
where id = :id and attempts = :attempts and state = 'sending'

-- nothing --
-- Deletes a delivery that has nothing to say.
delete from deliveries where id = :id and attempts = :attempts
