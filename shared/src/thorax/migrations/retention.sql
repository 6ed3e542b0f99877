-- How long what belongs to a study is kept, in days since it came; null: for ever. The tenant of zeros stands for all
-- tenants without a row of their own. `results`: the study as a whole. What is held is kept whatever its age.
create table retention (
  tenant_id uuid primary key, originals_days integer check (originals_days > 0), inputs_days integer check (inputs_days > 0),
  maps_days integer check (maps_days > 0), results_days integer check (results_days > 0),
  changed_at timestamptz not null default now());
-- The same of all tenants, as it is seen with its owner's rights.
create view retention_days as
select tenant_id, originals_days as originals, inputs_days as inputs, maps_days as maps, results_days as results
from retention;
alter table studies add held_since timestamptz;
create index studies_age on studies (created_at);
-- Which of originals, inputs and maps of an image are gone.
alter table instances add expired text[] not null default '{}';

grant select on retention to thorax_aggregator;
grant select, insert, update, delete on retention to thorax_gateway;
grant select on retention_days to thorax_gateway;
alter table retention enable row level security;
create policy tenant on retention to thorax_gateway
  using (tenant_id = nullif(current_setting('thorax.tenant', true), '')::uuid);
create policy services on retention to thorax_aggregator using (true);
grant select (created_at, held_since) on studies to thorax_aggregator;
grant select (expired), update (expired) on instances to thorax_aggregator;
grant update (maps) on predictions to thorax_aggregator;

create function audit_retention() returns trigger language plpgsql security definer set search_path = public, pg_temp as $$
begin
  if tg_table_name = 'instances' then
    perform note(new.tenant_id, 'expired', new.id::text, jsonb_build_object('study', new.study_id, 'kinds', new.expired));
  elsif tg_table_name = 'studies' then
    perform note(new.tenant_id, case when new.held_since is null then 'hold_released' else 'held' end, new.id::text, '{}');
  elsif tg_op = 'DELETE' then
    perform note(old.tenant_id, 'retention_changed', '', '{}');
  else
    perform note(new.tenant_id, 'retention_changed', '', to_jsonb(new) - 'tenant_id');
  end if;
  return null;
end $$;
create trigger audited after update of expired on instances for each row
when (old.expired <> new.expired) execute function audit_retention();
create trigger audited after update of held_since on studies for each row
when (old.held_since is distinct from new.held_since) execute function audit_retention();
create trigger audited after insert or update or delete on retention for each row execute function audit_retention();
