-- Deliveries: claimed as steps are, by a lease and an attempt number that guards what follows. A delivery that begins anew, under a
-- new `since`, counts its attempts anew.

-- alone --
-- One claim at a time, of all sweepers: the next one sees what this one took.
select pg_advisory_xact_lock(hashtextextended('claim of a delivery', 0))

-- claim --
-- Takes a delivery that is due to a destination of these kinds: of the tenant that has the fewest under way, and fewer than
-- `of_tenant`, the one that has been due for longest. A destination gets one at a time, and none during an outage's pause. A delivery
-- whose process did not come back is due when its lease has ended.
with busy as materialized (
  select s.tenant_id, s.destination_id from deliveries s join destinations x on x.id = s.destination_id
  where x.kind = any(:kinds) and s.state = 'sending' and s.lease_until >= now())
update deliveries d set state = 'sending', attempts = d.attempts + 1, lease_until = now() + make_interval(secs => :lease_s),
  crashes = d.crashes + (d.state = 'sending')::int
from (
  select w.id, coalesce(o.attempts, 0) as missed
  from deliveries w join destinations to_ on to_.id = w.destination_id left join outages o on o.destination_id = to_.id
  cross join lateral (select count(*) as sending, coalesce(bool_or(b.destination_id = w.destination_id), false) as alone
    from busy b where b.tenant_id = w.tenant_id) its
  where to_.kind = any(:kinds) and not its.alone and its.sending < :of_tenant and coalesce(o.until <= now(), true)
    and ((w.state = 'waiting' and w.not_before <= now())
      or (w.state = 'sending' and w.lease_until < now() and w.crashes + 1 < :max_crashes))
  order by its.sending, w.not_before limit 1 for update of w skip locked) due, destinations x
where d.id = due.id and x.id = d.destination_id
returning d.id, d.attempts, d.refusals, d.job_id, d.destination_id, x.kind, coalesce(d.url, x.url) as url, x.sealed, d.predecessor_series,
  d.predecessor_sop, d.since, due.missed, extract(epoch from now() - d.since)::float as age_s,
  (select traceparent from jobs where id = d.job_id)

-- due --
-- In how many seconds time alone makes the next delivery to a destination of these kinds due; infinity: none. Asked in the
-- transaction of a `claim` that took nothing: what is due and was left alone is looked at when what it waits for has ended.
select coalesce(extract(epoch from min(at) - now()), 'infinity')::float
from deliveries d join destinations x on x.id = d.destination_id left join outages o on o.destination_id = x.id
cross join lateral (
  select case d.state when 'waiting' then greatest(d.not_before, o.until) else d.lease_until end as at) its
where x.kind = any(:kinds) and d.state in ('waiting', 'sending') and at > now()

-- mark_dead --
-- Gives up deliveries whose process never came back.
update deliveries set state = 'dead', error_code = :code, updated_at = now()
where state = 'sending' and lease_until < now() and crashes + 1 >= :max_crashes

-- away --
-- A destination is left alone, by all deliveries to it, for the pause that follows so many attempts in vain.
insert into outages (destination_id, until) values (:destination_id, now() + make_interval(secs => :pause_s))
on conflict (destination_id) do update set attempts = outages.attempts + 1, until = excluded.until

-- given_up --
-- Gives up what waits for a destination that is away, and has waited for long enough.
update deliveries set state = 'dead', error_code = :code, error_detail = coalesce(error_detail, :detail), updated_at = now()
where destination_id = :destination_id and state = 'waiting' and since < now() - make_interval(secs => :patience_s)

-- back --
-- It has answered.
delete from outages where destination_id = :destination_id

-- ended --
-- Ends an attempt: delivered, dead, or waiting for the next one.
update deliveries set state = :state, proof = :proof, error_code = :code, error_detail = :detail, lease_until = null, crashes = 0,
  refusals = refusals + cast(:refused as integer), not_before = now() + make_interval(secs => :delay_s), updated_at = now()
where id = :id and since = :since and attempts = :attempts and state = 'sending'

-- nothing --
-- Deletes a delivery that has nothing to say.
delete from deliveries where id = :id and since = :since and attempts = :attempts
