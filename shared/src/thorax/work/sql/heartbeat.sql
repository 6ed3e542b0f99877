-- Signs of life of the processes that work on the ledger.

-- beat --
-- Says that a process lives, what it can do and what it has loaded.
insert into workers (id, service, kinds, backbones, bundles, loaded, seen_at)
values (:id, :service, :kinds, :backbones, :bundles, :loaded, now())
on conflict (id) do update set seen_at = now(), backbones = excluded.backbones, bundles = excluded.bundles,
  loaded = excluded.loaded

-- sign_off --
-- Takes a process off the list, so that readiness does not count on it any longer.
delete from workers where id = :id
