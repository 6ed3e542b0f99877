-- Deliveries: claimed as steps are, by a lease and an attempt number that guards what follows.

-- claim --
-- Takes the delivery that has been due for longest, to a destination of these kinds that is not `away`; one whose process did
-- not come back is due when its lease has ended.
update deliveries d set state = 'sending', attempts = d.attempts + 1, lease_until = now() + make_interval(secs => :lease_s)
from (
  select w.id from deliveries w join destinations to_ on to_.id = w.destination_id
  where to_.kind = any(:kinds) and to_.id <> all(cast(:away as uuid[]))
    and ((w.state = 'waiting' and w.not_before <= now())
      or (w.state = 'sending' and w.lease_until < now() and w.attempts < :max_attempts))
  order by w.not_before limit 1 for update of w skip locked) due, destinations x
where d.id = due.id and x.id = d.destination_id
returning d.id, d.attempts, d.job_id, d.destination_id, x.kind, coalesce(d.url, x.url) as url, x.sealed, d.predecessor_series,
  d.predecessor_sop, (select traceparent from jobs where id = d.job_id)

-- due --
-- In how many seconds the next delivery to a destination of these kinds is due; infinity: none is.
select coalesce(extract(epoch from min(case d.state when 'waiting' then d.not_before else d.lease_until end) - now()), 'infinity')::float
from deliveries d join destinations x on x.id = d.destination_id
where x.kind = any(:kinds) and d.state in ('waiting', 'sending')

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
