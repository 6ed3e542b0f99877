-- The audit (docs/adr/0029): what was done, by whom, in a chain for each tenant. Triggers write what changes rows, in the
-- transaction that changes them; the gateway adds who looked. Ids, codes and probabilities only: no name, no title.

-- `place` and `digest` come later, from `chain_audit`: a row's digest is over that of the row before and the row itself.
create table audit (
  id bigint generated always as identity primary key, tenant_id uuid not null, at timestamptz not null default clock_timestamp(),
  actor text not null, action text not null, subject text not null default '', detail jsonb not null default '{}',
  place bigint, digest bytea, unique (tenant_id, place)) with (fillfactor = 80);
create index audit_unchained on audit (id) where place is null;

-- The end of each tenant's chain.
create table audit_heads (tenant_id uuid primary key, place bigint not null default 0, digest bytea not null default '');

-- What a row's digest is over.
create function audit_entry(entry audit) returns text language sql stable set search_path = public, pg_temp as $$
  select jsonb_build_array(entry.tenant_id, entry.place, entry.id,
    to_char(entry.at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), entry.actor, entry.action, entry.subject,
    entry.detail)::text;
$$;

-- Refuses to change what is written, but for the place and digest that a row gets once.
create function keep_audit() returns trigger language plpgsql set search_path = public, pg_temp as $$
begin
  if tg_op = 'UPDATE' and old.place is null and new.digest is not null
    and to_jsonb(new) - '{place,digest}'::text[] = to_jsonb(old) - '{place,digest}'::text[] then
    return new;
  end if;
  raise exception 'the audit is append-only';
end $$;
create trigger kept before update or delete on audit for each row execute function keep_audit();
create trigger kept_whole before truncate on audit for each statement execute function keep_audit();

-- Links rows that are committed, in the order in which it sees them; returns how many. One caller at a time: whoever comes
-- meanwhile has nothing to do. Uploads never wait for this, as they only insert.
create function chain_audit(at_most integer) returns bigint language plpgsql security definer
set search_path = public, pg_temp as $$
declare entry audit; head audit_heads; linked bigint := 0;
begin
  if not pg_try_advisory_xact_lock(hashtextextended('audit chain', 0)) then return 0; end if;
  for entry in select * from audit where place is null order by id limit at_most loop
    insert into audit_heads (tenant_id) values (entry.tenant_id) on conflict do nothing;
    select * into head from audit_heads where tenant_id = entry.tenant_id;
    entry.place := head.place + 1;
    entry.digest := sha256(head.digest || convert_to(audit_entry(entry), 'UTF8'));
    update audit set place = entry.place, digest = entry.digest where id = entry.id;
    update audit_heads set place = entry.place, digest = entry.digest where tenant_id = entry.tenant_id;
    linked := linked + 1;
  end loop;
  return linked;
end $$;

-- Writes one row. The actor is whom the services name for their transaction, or else the database's login.
create function note(tenant uuid, action text, subject text, detail jsonb, actor text default null) returns void
language sql security definer set search_path = public, pg_temp as $$
  insert into audit (tenant_id, actor, action, subject, detail)
  values (coalesce(tenant, '00000000-0000-0000-0000-000000000000'),
    coalesce(actor, nullif(current_setting('thorax.actor', true), ''), session_user), action, subject, detail);
$$;

-- Jobs: who sent which images, and which bundle reads them; who cancelled, retried or erased them; what was answered.
create function audit_job() returns trigger language plpgsql security definer set search_path = public, pg_temp as $$
begin
  if tg_op = 'INSERT' then
    perform note(new.tenant_id, 'sent', new.id::text, jsonb_build_object('study', new.study_id, 'bundle', new.bundle_digest,
      'images', (select jsonb_agg(id order by position) from instances
                 where study_id = new.study_id and position < new.images_below)), new.owner);
  elsif tg_op = 'DELETE' then
    perform note(old.tenant_id, 'erased', old.id::text, jsonb_build_object('study', old.study_id));
  else
    perform note(new.tenant_id,
      case when new.state = 'queued' then 'retried' when new.state = 'cancelled' then 'cancelled' else 'answered' end,
      new.id::text, jsonb_strip_nulls(jsonb_build_object('state', new.state, 'code', new.error_code,
        'bundle', new.bundle_digest,
        'findings', (select jsonb_object_agg(finding, jsonb_build_array(verdict, round(probability::numeric, 4)))
                     from study_findings where job_id = new.id and instance_id is null))));
  end if;
  return null;
end $$;
create trigger audited after insert on jobs for each row when (new.shadow_of is null) execute function audit_job();
create trigger audited_erasure after delete on jobs for each row when (old.shadow_of is null) execute function audit_job();
create trigger audited_end after update of state on jobs for each row
when (new.shadow_of is null and old.state <> new.state and new.state <> 'running') execute function audit_job();

-- Deliveries that have arrived, or were given up.
create function audit_delivery() returns trigger language plpgsql security definer set search_path = public, pg_temp as $$
begin
  perform note(new.tenant_id, case new.state when 'delivered' then 'delivered' else 'delivery_given_up' end, new.job_id::text,
    jsonb_strip_nulls(jsonb_build_object('destination', new.destination_id, 'code', new.error_code)));
  return null;
end $$;
create trigger audited after update of state on deliveries for each row
when (old.state <> new.state and new.state in ('delivered', 'dead')) execute function audit_delivery();

-- Files of erased images: whose they are is remembered while they wait, and a row is the receipt that they are gone.
create function remember_erased() returns trigger language plpgsql security definer set search_path = public, pg_temp as $$
begin
  select tenant_id, study_id into new.tenant_id, new.study_id from instances where id = new.instance_id;
  return new;
end $$;
create trigger whose before insert on blobs_pending_deletion for each row execute function remember_erased();
create function audit_erased() returns trigger language plpgsql security definer set search_path = public, pg_temp as $$
begin
  perform note(old.tenant_id, 'files_erased', old.instance_id::text, jsonb_build_object('study', old.study_id));
  return null;
end $$;
create trigger audited after delete on blobs_pending_deletion for each row
when (old.tenant_id is not null) execute function audit_erased();

-- Which bundle reads, for all or for one tenant, and how a tenant reads its probabilities.
create function audit_bundle() returns trigger language plpgsql security definer set search_path = public, pg_temp as $$
begin
  if tg_table_name = 'bundles' then
    perform note(null, 'bundle_activated', new.digest, jsonb_build_object('name', new.name, 'version', new.version));
  elsif tg_op = 'DELETE' then
    perform note(old.tenant_id, tg_argv[0] || '_ended', '', '{}');
  else
    perform note(new.tenant_id, tg_argv[0], '', to_jsonb(new) - 'tenant_id');
  end if;
  return null;
end $$;
create trigger audited after insert or update of active on bundles for each row
when (new.active) execute function audit_bundle('bundle_activated');
create trigger audited after insert or update or delete on tenant_bundles for each row
execute function audit_bundle('bundle_activated');
create trigger audited after insert or update or delete on tenant_readings for each row
execute function audit_bundle('reading_changed');

-- Where results are sent: without the credentials.
create function audit_destination() returns trigger language plpgsql security definer set search_path = public, pg_temp as $$
begin
  if tg_op = 'DELETE' then
    perform note(old.tenant_id, 'destination_removed', old.id::text, '{}');
  else
    perform note(new.tenant_id, 'destination_changed', new.id::text, '{}');
  end if;
  return null;
end $$;
create trigger audited after insert or update or delete on destinations for each row execute function audit_destination();

-- People and machines: who logged in, and what they may do. An account acts itself unless somebody else is named.
create function audit_account() returns trigger language plpgsql security definer set search_path = public, auth, pg_temp as $$
begin
  if tg_op = 'DELETE' then
    perform note(old.tenant_id, 'account_deleted', old.id::text, '{}');
  elsif tg_op = 'INSERT' then
    perform note(new.tenant_id, 'account_created', new.id::text, jsonb_build_object('scopes', new.scopes));
  elsif old.scopes <> new.scopes or old.disabled_at is distinct from new.disabled_at then
    perform note(new.tenant_id, 'rights_changed', new.id::text,
      jsonb_build_object('scopes', new.scopes, 'disabled', new.disabled_at is not null));
  else
    perform note(new.tenant_id, 'password_changed', new.id::text, '{}');
  end if;
  return null;
end $$;
create trigger audited after insert or delete on auth.users for each row execute function audit_account();
create trigger audited_change after update of scopes, disabled_at, password_hash on auth.users for each row
when (old.scopes <> new.scopes or old.disabled_at is distinct from new.disabled_at or old.password_hash <> new.password_hash)
execute function audit_account();

create function audit_login() returns trigger language plpgsql security definer set search_path = public, auth, pg_temp as $$
begin
  perform note((select tenant_id from auth.users where id = new.user_id), 'logged_in', new.id::text,
    jsonb_build_object('scopes', new.scopes, 'page', new.csrf is not null), new.user_id::text);
  return null;
end $$;
create trigger audited after insert on auth.sessions for each row execute function audit_login();

create function audit_client() returns trigger language plpgsql security definer set search_path = public, auth, pg_temp as $$
declare client auth.clients; what text;
begin
  if tg_op = 'DELETE' then client := old; else client := new; end if;
  what := case when tg_op = 'INSERT' then 'client_created' when tg_op = 'DELETE' then 'client_revoked'
    when old.secret <> new.secret then 'client_rotated' else 'logged_in' end;
  perform note((select tenant_id from auth.users where id = client.owner_id), what, client.id::text,
    jsonb_build_object('scopes', client.scopes), case when what = 'logged_in' then client.id::text end);
  return null;
end $$;
create trigger audited after insert or delete or update of secret, last_used_at on auth.clients for each row
execute function audit_client();

create function audit_key() returns trigger language plpgsql security definer set search_path = public, auth, pg_temp as $$
begin
  perform note(null, 'signing_key_made', new.kid, '{}');
  return null;
end $$;
create trigger audited after insert on auth.signing_keys for each row execute function audit_key();

-- The audit as administrators see it, in all tenants.
create view audit_trail as
select id, tenant_id, at, actor, action, subject, detail, place, encode(digest, 'hex') as digest from audit;

-- Who failed to log in, of accounts that there are. It writes nothing for others, and waits for no disk, so that how long it takes
-- tells nothing.
create function note_failed_login(account uuid) returns void language plpgsql security definer
set search_path = public, auth, pg_temp as $$
begin
  perform set_config('synchronous_commit', 'off', true);
  perform note(tenant_id, 'login_failed', id::text, '{}', 'unknown') from auth.users where id = account;
end $$;

revoke all on function chain_audit(integer), note(uuid, text, text, jsonb, text), note_failed_login(uuid) from public;
grant execute on function chain_audit(integer) to thorax_aggregator;
grant execute on function note_failed_login(uuid) to thorax_auth;
grant insert (tenant_id, actor, action, subject, detail) on audit to thorax_gateway;
grant select on audit_trail to thorax_gateway;
alter table audit enable row level security;
create policy tenant on audit for insert to thorax_gateway
  with check (tenant_id = nullif(current_setting('thorax.tenant', true), '')::uuid);
