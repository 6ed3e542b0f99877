-- One role per service, with no more rights than it needs; tenants kept apart by row-level security. Lists of columns
-- keep names, titles and owners from the processes that touch hostile bytes.

grant usage on schema public to thorax_gateway, thorax_worker, thorax_aggregator, thorax_auth;

-- auth-service: its own schema, and a note for the sweeper.
grant usage on schema auth to thorax_auth;
grant select, insert, update, delete on all tables in schema auth to thorax_auth;
grant insert on tenants_pending_deletion to thorax_auth;

-- gateway: the jobs of one tenant at a time.
grant select, insert, update, delete on studies, arrivals, instances, jobs, steps, idempotency_keys, tenant_readings
  to thorax_gateway;
grant select on predictions, study_findings, heatmaps, bundles, tenant_bundles, workers, failed_work, erased_jobs
  to thorax_gateway;
grant delete on predictions, study_findings, heatmaps to thorax_gateway;
grant insert on blobs_pending_deletion to thorax_gateway;
grant select (id, tenant_id, kind, name, url, origin, only_from, created_at), insert, update, delete on destinations to thorax_gateway;
grant select, update (state, attempts, crashes, refusals, since, not_before, updated_at) on deliveries to thorax_gateway;
grant select on dead_deliveries, delivery_tenants to thorax_gateway;
grant select, insert, update on webhook_tests to thorax_gateway;
grant select, insert, delete on derivations to thorax_gateway;
grant select, update (forms_wanted_at) on derived to thorax_gateway;

-- model workers and aggregator: the ledger, without names, titles and owners.
grant select (id, study_id, state, priority, bundle_digest, steps_total, steps_done, version, error_code, error_detail,
    missing_backbones, timings, created_at, started_at, finished_at, images_below,
    full_ensemble, traceparent),
  update (state, steps_total, steps_done, version, error_code, error_detail, missing_backbones, timings, started_at,
    finished_at)
  on jobs to thorax_worker, thorax_aggregator;
grant select (id, study_id, tenant_id, position, media_type, size_bytes, state, error_code, error_detail, forced, contests,
    transfer_syntax, forms_wanted_at)
  on instances to thorax_worker, thorax_aggregator;
grant select, insert, update on steps to thorax_worker, thorax_aggregator;
grant select, insert, update, delete on workers to thorax_worker, thorax_aggregator;
grant select on bundles to thorax_worker, thorax_aggregator;

-- model workers: what an image shows, and what the backbones say of it.
grant update (state, error_code, error_detail, rows, columns, sop_instance_uid, series_instance_uid, modality,
  view_position, orientation, warnings, forms, forms_wanted_at) on instances to thorax_worker;
grant select (id), update (study_instance_uid, study_date, accession) on studies to thorax_worker;
grant select (id, forms_wanted_at), update (forms, forms_wanted_at) on derived to thorax_worker;
grant select, insert, update on predictions to thorax_worker;
grant insert on study_findings, heatmaps to thorax_worker;
grant select (tenant_id, reading) on tenant_readings to thorax_worker;
grant select (bundle_digest) on tenant_bundles to thorax_worker;

-- aggregator and sweeper: results, and deletion.
grant select on predictions, platform to thorax_aggregator;
grant select, insert, update, delete on study_findings, heatmaps, blobs_pending_deletion to thorax_aggregator;
grant select, update, delete on tenants_pending_deletion to thorax_aggregator;
grant select (expires_at, tenant_id, shadow_of), delete on jobs to thorax_aggregator;
grant select (id, tenant_id), delete on studies to thorax_aggregator;
grant delete on steps to thorax_aggregator;
grant select (study_id, settles_at) on arrivals to thorax_aggregator;
grant select (orientation, warnings) on instances to thorax_aggregator;
grant select (supersedes) on jobs to thorax_aggregator;
grant select, update on derivations to thorax_aggregator;
grant select, insert on derived to thorax_aggregator;
grant select, delete on destinations to thorax_aggregator;
grant select, update, delete on deliveries to thorax_aggregator;
grant select, insert, update, delete on outages to thorax_aggregator;
grant select, update (sent_at, delivered, answer) on webhook_tests to thorax_aggregator;
grant select, delete on idempotency_keys, erased_jobs to thorax_aggregator;
grant select (tenant_id), delete on tenant_bundles, patient_secrets to thorax_aggregator;
grant select (tenant_id, reading), delete on tenant_readings to thorax_aggregator;

revoke all on function enqueue_shadow_jobs(integer), remember_patient(uuid, bytea), settle_studies(integer),
  decide_conflict(uuid, boolean), tenant_exists(uuid), studies_containing(uuid, text[], text, integer), lock_arrivals(uuid[])
  from public;
grant execute on function settle_studies(integer), tenant_exists(uuid), studies_containing(uuid, text[], text, integer) to thorax_gateway;
grant execute on function enqueue_shadow_jobs(integer), lock_arrivals(uuid[]) to thorax_aggregator;
grant execute on function remember_patient(uuid, bytea), decide_conflict(uuid, boolean) to thorax_worker;

-- Whether the schema is the one that a service needs: `thorax wait-for-schema`.
grant select on alembic_version to thorax_auth, thorax_gateway, thorax_worker, thorax_aggregator;

-- The gateway sees one tenant's rows, and what belongs to jobs that it sees; the other services see all.
alter table studies enable row level security;
create policy tenant on studies to thorax_gateway
  using (tenant_id = nullif(current_setting('thorax.tenant', true), '')::uuid);
create policy services on studies to thorax_worker, thorax_aggregator using (true);

alter table arrivals enable row level security;
create policy tenant on arrivals to thorax_gateway
  using (tenant_id = nullif(current_setting('thorax.tenant', true), '')::uuid);
create policy services on arrivals to thorax_aggregator using (true);

alter table instances enable row level security;
create policy tenant on instances to thorax_gateway
  using (tenant_id = nullif(current_setting('thorax.tenant', true), '')::uuid);
create policy services on instances to thorax_worker, thorax_aggregator using (true);

alter table jobs enable row level security;
create policy tenant on jobs to thorax_gateway
  using (tenant_id = nullif(current_setting('thorax.tenant', true), '')::uuid and shadow_of is null);
create policy services on jobs to thorax_worker, thorax_aggregator using (true);

alter table idempotency_keys enable row level security;
create policy tenant on idempotency_keys to thorax_gateway
  using (tenant_id = nullif(current_setting('thorax.tenant', true), '')::uuid);
create policy services on idempotency_keys to thorax_worker, thorax_aggregator using (true);

alter table erased_jobs enable row level security;
create policy tenant on erased_jobs to thorax_gateway
  using (tenant_id = nullif(current_setting('thorax.tenant', true), '')::uuid);
create policy services on erased_jobs to thorax_aggregator using (true);

alter table tenant_bundles enable row level security;
create policy tenant on tenant_bundles to thorax_gateway
  using (tenant_id = nullif(current_setting('thorax.tenant', true), '')::uuid);
create policy services on tenant_bundles to thorax_worker, thorax_aggregator using (true);

alter table tenant_readings enable row level security;
create policy tenant on tenant_readings to thorax_gateway
  using (tenant_id = nullif(current_setting('thorax.tenant', true), '')::uuid);
create policy services on tenant_readings to thorax_worker, thorax_aggregator using (true);

alter table destinations enable row level security;
create policy tenant on destinations to thorax_gateway
  using (tenant_id = nullif(current_setting('thorax.tenant', true), '')::uuid);
create policy services on destinations to thorax_aggregator using (true);

alter table webhook_tests enable row level security;
create policy tenant on webhook_tests to thorax_gateway
  using (tenant_id = nullif(current_setting('thorax.tenant', true), '')::uuid);
create policy services on webhook_tests to thorax_aggregator using (true);

alter table deliveries enable row level security;
create policy tenant on deliveries to thorax_gateway
  using (tenant_id = nullif(current_setting('thorax.tenant', true), '')::uuid);
create policy services on deliveries to thorax_aggregator using (true);

alter table derivations enable row level security;
create policy tenant on derivations to thorax_gateway
  using (tenant_id = nullif(current_setting('thorax.tenant', true), '')::uuid);
create policy services on derivations to thorax_aggregator using (true);

alter table derived enable row level security;
create policy tenant on derived to thorax_gateway
  using (tenant_id = nullif(current_setting('thorax.tenant', true), '')::uuid);
create policy services on derived to thorax_worker, thorax_aggregator using (true);

alter table predictions enable row level security;
create policy tenant on predictions to thorax_gateway using (exists (select from jobs where jobs.id = job_id));
create policy services on predictions to thorax_worker, thorax_aggregator using (true);

alter table study_findings enable row level security;
create policy tenant on study_findings to thorax_gateway using (exists (select from jobs where jobs.id = job_id));
create policy services on study_findings to thorax_worker, thorax_aggregator using (true);

alter table heatmaps enable row level security;
create policy tenant on heatmaps to thorax_gateway using (exists (select from jobs where jobs.id = job_id));
create policy services on heatmaps to thorax_worker, thorax_aggregator using (true);
