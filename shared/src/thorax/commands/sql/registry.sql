-- Which bundles are registered, and which tenants use which. Run as the schema's owner.

-- register --
-- Registers a bundle, or updates its card.
insert into bundles (digest, name, version, manifest, card)
values (:digest, :name, :version, cast(:manifest as jsonb), :card)
on conflict (digest) do update set card = excluded.card

-- known --
-- Lists all registered bundles with their uses and the number of workers that have loaded each, the default first.
select digest, name, version, active, shadow_share, registered_at,
  (select count(*) from tenant_bundles where bundle_digest = digest) as tenants,
  (select count(*) from workers where digest = any(loaded) and seen_at > now() - make_interval(secs => :alive_s)) as workers
from bundles order by active desc, registered_at desc

-- manifest --
-- A registered bundle's manifest.
select manifest from bundles where digest = :digest

-- lock --
-- Lets one change of the default wait for another.
lock table bundles in share row exclusive mode

-- step_down --
-- Ends the use of another bundle as the default.
update bundles set active = false where active and digest <> :digest

-- activate --
-- Makes a bundle the default; it is not a shadow any more.
update bundles set active = true, shadow_share = null where digest = :digest

-- activate_for_tenant --
-- Gives a tenant a bundle of its own.
insert into tenant_bundles (tenant_id, bundle_digest) values (:tenant, :digest)
on conflict (tenant_id) do update set bundle_digest = excluded.bundle_digest, activated_at = now()

-- deactivate_for_tenant --
-- Lets a tenant use the default again.
delete from tenant_bundles where tenant_id = :tenant

-- preload --
-- Asks the workers to load a bundle, and to keep it for ten minutes even if nothing uses it.
update bundles set preload_until = now() + interval '10 minutes' where digest = :digest

-- loading --
-- Lists the living model workers: whether each has found a bundle, and loaded it.
select id, backbones, :digest = any(bundles) as found, :digest = any(loaded) as loaded from workers
where service = 'model-worker' and seen_at > now() - make_interval(secs => :alive_s)

-- end_shadows --
-- Ends the use of any other bundle as a shadow.
update bundles set shadow_share = null where shadow_share is not null and digest <> :digest

-- delete_unfinished_shadow_jobs --
-- Deletes what other shadows have not finished.
delete from jobs where shadow_of is not null and state in ('queued', 'running') and bundle_digest <> :digest

-- start_shadow --
-- Makes a bundle the shadow of a share of the jobs, from some hours ago on.
update bundles set shadow_share = :share, shadow_seen = now() - make_interval(hours => :hours)
where digest = :digest
