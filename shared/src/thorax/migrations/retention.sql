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
-- Whoever prepares an image anew makes its inputs, and then maps, again: they are there, and over their age still.
create function made_anew() returns trigger language plpgsql as $$
begin
  new.expired := array_remove(array_remove(new.expired, 'inputs'), 'maps');
  return new;
end $$;
create trigger prepared before update of state on instances for each row
when (new.state = 'prepared' and new.expired <> '{}') execute function made_anew();

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

-- A tenant's studies that an id or a Study Instance UID names.
create function studies_called(tenant uuid, called text) returns setof studies language sql stable
set search_path = public, pg_temp as $$
  select * from studies where tenant_id = tenant and (study_instance_uid = called
    or id = case when called ~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' then called::uuid end);
$$;

-- Holds the studies that an id or a Study Instance UID names, or releases them. The lock comes before: what comes under their
-- UIDs meanwhile is seen here, or sees here what is held (`inherit_hold`).
create function hold_studies(tenant uuid, called text, held boolean) returns table (study_id uuid, since timestamptz)
language plpgsql volatile set search_path = public, pg_temp as $$
begin
  perform lock_study_uids(tenant, array(
    select study_instance_uid from studies_called(tenant, called) where study_instance_uid is not null union select called));
  return query update studies s set held_since = case when held then coalesce(s.held_since, now()) end
    where s.id in (select id from studies_called(tenant, called)) returning s.id, s.held_since;
end $$;

-- What comes under the Study Instance UID of a study that its tenant holds is held, too, whoever writes the UID.
create function inherit_hold() returns trigger language plpgsql security definer set search_path = public, pg_temp as $$
begin
  perform lock_study_uids(new.tenant_id, array[new.study_instance_uid]);
  update studies set held_since = now() where id = new.id and held_since is null and exists (
    select from studies s where s.tenant_id = new.tenant_id and s.study_instance_uid = new.study_instance_uid
      and s.held_since is not null);
  return null;
end $$;
create trigger held after insert on studies for each row
when (new.study_instance_uid is not null) execute function inherit_hold();
create trigger held_as_called after update of study_instance_uid on studies for each row
when (new.study_instance_uid is distinct from old.study_instance_uid and new.study_instance_uid is not null)
execute function inherit_hold();
