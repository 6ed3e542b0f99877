"""Studies, jobs, the work ledger, results; one role per service; tenants kept apart by row-level security."""

from alembic import op

revision = "0001"
down_revision = None

TABLES = """
create table bundles (
  digest text primary key, name text not null, version text not null, manifest jsonb not null, card text not null,
  active boolean not null default false, registered_at timestamptz not null default now());
create unique index bundles_one_active on bundles (active) where active;

create table studies (
  id uuid primary key, tenant_id uuid not null, title text not null default '',
  study_instance_uid text, created_at timestamptz not null default now());
create index studies_tenant on studies (tenant_id);

create table instances (
  id uuid primary key, study_id uuid not null references studies on delete cascade, tenant_id uuid not null,
  position smallint not null, file_name text not null, media_type text not null, size_bytes bigint not null,
  sha256 text not null, state text not null default 'received' check (state in ('received', 'prepared', 'failed')),
  error_code text, error_detail text, rows integer, columns integer, sop_instance_uid text,
  series_instance_uid text, modality text, view_position text, unique (study_id, position));

create table jobs (
  id uuid primary key, tenant_id uuid not null, study_id uuid not null references studies on delete cascade,
  owner text not null, state text not null default 'queued'
    check (state in ('queued', 'running', 'succeeded', 'failed', 'cancelled')),
  priority smallint not null default 1, bundle_digest text not null references bundles,
  steps_total integer not null, steps_done integer not null default 0, version integer not null default 1,
  error_code text, error_detail text, missing_backbones text[] not null default '{}',
  timings jsonb not null default '{}', capability bytea unique, expires_at timestamptz,
  created_at timestamptz not null default now(), started_at timestamptz, finished_at timestamptz);
create index jobs_newest on jobs (tenant_id, created_at desc, id desc);
create index jobs_study on jobs (study_id);
create index jobs_open on jobs (tenant_id) where state in ('queued', 'running');
create index jobs_expiry on jobs (expires_at) where expires_at is not null;

create table steps (
  id bigint generated always as identity primary key, job_id uuid not null references jobs on delete cascade,
  instance_id uuid references instances on delete cascade, kind text not null
    check (kind in ('prepare', 'infer', 'aggregate')),
  backbone text, bundle_digest text not null, priority smallint not null, state text not null default 'waiting'
    check (state in ('waiting', 'running', 'done', 'dead', 'cancelled')),
  attempts smallint not null default 0, lease_until timestamptz, not_before timestamptz not null default now(),
  hinted_at timestamptz not null default now(), worker text, error_code text,
  created_at timestamptz not null default now(), started_at timestamptz, finished_at timestamptz)
  with (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);
create index steps_waiting on steps (priority, kind, id) where state = 'waiting';
create index steps_leases on steps (lease_until) where state = 'running';
create index steps_job on steps (job_id);

create table predictions (
  job_id uuid not null references jobs on delete cascade, instance_id uuid not null references instances on delete cascade,
  backbone text not null, probabilities real[] not null, maps bytea not null, map_shape smallint[] not null,
  primary key (job_id, instance_id, backbone));

create table study_findings (
  job_id uuid not null references jobs on delete cascade, instance_id uuid references instances on delete cascade,
  finding text not null, probability real not null, threshold real not null, positive boolean not null,
  disagreement real not null, unique nulls not distinct (job_id, instance_id, finding));

create table heatmaps (
  job_id uuid not null references jobs on delete cascade, instance_id uuid not null references instances on delete cascade,
  maps bytea not null, map_shape smallint[] not null, primary key (job_id, instance_id));

create table idempotency_keys (
  tenant_id uuid not null, owner text not null, key text not null, fingerprint text not null,
  job_id uuid not null references jobs on delete cascade, answer jsonb not null,
  created_at timestamptz not null default now(), primary key (tenant_id, owner, key));

create table doomed_blobs (instance_id uuid primary key, doomed_at timestamptz not null default now());

create table doomed_tenants (tenant_id uuid primary key, doomed_at timestamptz not null default now());

create table workers (
  id text primary key, service text not null, kinds text[] not null, backbones text[] not null default '{}',
  bundles text[] not null default '{}', provider text not null default '', seen_at timestamptz not null default now());
"""

# Column lists keep names, titles and owners from the processes that touch hostile bytes.
JOB_COLUMNS = """id, study_id, state, priority, bundle_digest, steps_total, steps_done, version, error_code,
  error_detail, missing_backbones, timings, created_at, started_at, finished_at"""
JOB_UPDATES = """state, steps_total, steps_done, version, error_code, error_detail, missing_backbones, timings,
  started_at, finished_at"""
INSTANCE_COLUMNS = "id, study_id, position, media_type, size_bytes, state, error_code, error_detail"
INSTANCE_UPDATES = """state, error_code, error_detail, rows, columns, sop_instance_uid, series_instance_uid,
  modality, view_position"""

GRANTS = f"""
grant usage on schema public to thorax_gateway, thorax_worker, thorax_aggregator;
grant select, insert, update, delete on studies, instances, jobs, steps, idempotency_keys to thorax_gateway;
grant select on predictions, study_findings, heatmaps, bundles, workers to thorax_gateway;
grant delete on predictions, study_findings, heatmaps to thorax_gateway;
grant insert on doomed_blobs to thorax_gateway;

grant select ({JOB_COLUMNS}), update ({JOB_UPDATES}) on jobs to thorax_worker, thorax_aggregator;
grant select ({INSTANCE_COLUMNS}) on instances to thorax_worker, thorax_aggregator;
grant update ({INSTANCE_UPDATES}) on instances to thorax_worker;
grant select (id), update (study_instance_uid) on studies to thorax_worker;
grant select, insert, update on steps to thorax_worker, thorax_aggregator;
grant select, insert, update on predictions to thorax_worker;
grant select, insert, update, delete on workers to thorax_worker, thorax_aggregator;
grant select on bundles to thorax_worker, thorax_aggregator;

grant select on predictions to thorax_aggregator;
grant select, insert, update, delete on study_findings, heatmaps to thorax_aggregator;
grant select, insert, update, delete on doomed_blobs to thorax_aggregator;
grant select, update, delete on doomed_tenants to thorax_aggregator;
grant select (expires_at, tenant_id), delete on jobs to thorax_aggregator;
grant select (id, tenant_id), delete on studies to thorax_aggregator;
grant select (tenant_id) on instances to thorax_aggregator;
grant delete on steps to thorax_aggregator;
grant select, delete on idempotency_keys to thorax_aggregator;
"""

ROLES = ("thorax_auth", "thorax_gateway", "thorax_worker", "thorax_aggregator")
OWNED = ("studies", "instances", "jobs", "idempotency_keys")
OF_A_JOB = ("predictions", "study_findings", "heatmaps")


def upgrade() -> None:
    """Create everything, then hand out as little of it as each service needs."""
    for role in ROLES:
        op.execute(
            f"do $$ begin create role {role} nologin; exception when duplicate_object or unique_violation then null; end $$"
        )
    op.execute(TABLES)
    op.execute(GRANTS)
    for table in OWNED:
        _confine(table, "tenant_id = nullif(current_setting('thorax.tenant', true), '')::uuid")
    for table in OF_A_JOB:
        _confine(table, "exists (select from jobs where jobs.id = job_id)")


def _confine(table: str, condition: str) -> None:
    op.execute(f"alter table {table} enable row level security")
    op.execute(f"create policy tenant on {table} to thorax_gateway using ({condition})")
    op.execute(f"create policy services on {table} to thorax_worker, thorax_aggregator using (true)")
