-- The sweeper's duties to the ledger: steps that were dropped, have failed too often, are late or were overlooked.

-- due --
-- Tells whether a job is open, and which of the duties have anything to do.
select exists (select from jobs where state in ('queued', 'running')) as open,
  exists (select from steps where state = 'running' and lease_until < now()) as lapsed,
  exists (select from steps where state = 'waiting' and attempts >= :max_attempts) as exhausted,
  exists (select from steps where state = 'waiting' and not_before <= now()
    and hinted_at < now() - make_interval(secs => :older_than_s)) as overdue

-- revive --
-- Makes steps whose lease ran out claimable again.
update steps set state = 'waiting', lease_until = null, not_before = now(), hinted_at = '-infinity'
where id in (select id from steps where state = 'running' and lease_until < now() and attempts < :max_attempts
             for update skip locked) returning id

-- exhausted_jobs --
-- Finds jobs that have a step without attempts left.
select distinct job_id from steps where attempts >= :max_attempts
  and (state = 'waiting' or (state = 'running' and lease_until < now())) order by job_id limit 100

-- mark_dead --
-- Marks a job's steps without attempts left as dead.
update steps set state = 'dead', finished_at = now(), error_code = coalesce(error_code, :code)
where job_id = :job_id and attempts >= :max_attempts
  and (state = 'waiting' or (state = 'running' and lease_until < now())) returning kind, backbone

-- too_few_left --
-- Tells whether what has died leaves an image fewer of the bundle's backbones than the quorum.
select s.instance_id from steps s join bundles b on b.digest = s.bundle_digest
where s.job_id = :job_id and s.kind = 'infer' group by s.instance_id, b.digest
having count(*) filter (where s.state = 'dead') > jsonb_array_length(b.manifest->'backbones') - :quorum limit 1

-- late_jobs --
-- Finds jobs past the deadline that fewer backbones may answer: of no image more are open than the quorum spares, and
-- nothing but infer is. (With a cascade the others are asked then.)
select j.id from jobs j join bundles b on b.digest = j.bundle_digest
where j.state = 'running' and j.started_at < now() - make_interval(secs => :deadline_s)
  and not exists (select from steps s where s.job_id = j.id and s.kind <> 'infer' and s.state <> 'done')
  and exists (select from steps s where s.job_id = j.id and s.kind = 'infer' and s.state in ('waiting', 'running', 'dead'))
  and not exists (
    select from steps s where s.job_id = j.id and s.kind = 'infer' and s.state <> 'done' group by s.instance_id
    having count(*) > jsonb_array_length(b.manifest->'backbones') - :quorum)
order by j.id limit 100

-- give_up --
-- Cancels what a late job still waits for; aggregate is its last step.
with given_up as (
  update steps set state = 'cancelled', finished_at = now()
  where job_id = :job_id and kind = 'infer' and state in ('waiting', 'running', 'dead') returning id)
update jobs set steps_total = steps_done + 1, version = version + 1
where id = :job_id and state = 'running' and exists (select from given_up) returning id

-- overdue_steps --
-- Takes waiting steps whose last hint is old; they count as hinted from now on.
update steps set hinted_at = now() where id in (
  select id from steps where state = 'waiting' and not_before <= now()
    and hinted_at < now() - make_interval(secs => :older_than_s)
  order by priority, kind, id limit 1000 for update skip locked)
returning kind, backbone
