-- What an operator looks up, as the schema's owner. No secret and no hash.

-- users --
-- All accounts, the newest first.
select id, name, tenant_id, array_to_string(scopes, ' ') as scopes, disabled_at, created_at from auth.users
order by created_at desc, id

-- clients --
-- All machine clients with their owners.
select c.id, c.name, u.name as owner, array_to_string(c.scopes, ' ') as scopes, c.last_used_at from auth.clients c
join auth.users u on u.id = c.owner_id order by c.created_at desc, c.id

-- keys --
-- The signing keys that are published.
select kid, active_from, retires_at from auth.signing_keys order by active_from desc

-- failed --
-- Dead letters: jobs that failed or lack backbones, and deliveries that were given up, the latest first.
select 'job' as kind, id, tenant_id, coalesce(error_code, array_to_string(missing_backbones, ' ')) as reason, finished_at as at
from failed_work
union all
select 'delivery', id, tenant_id, error_code, updated_at from dead_deliveries
order by at desc limit 1000
