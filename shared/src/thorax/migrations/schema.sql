-- Tables, indexes and views. Which role may do what with them is in roles.sql.

create table bundles (
  digest text primary key, name text not null, version text not null, manifest jsonb not null, card text not null,
  active boolean not null default false, registered_at timestamptz not null default now(),
  shadow_share real check (shadow_share > 0 and shadow_share <= 1), shadow_seen timestamptz, preload_until timestamptz);
create unique index bundles_one_active on bundles (active) where active;
create unique index bundles_one_shadow on bundles ((true)) where shadow_share is not null;

-- A bundle of a tenant's own, instead of the active one.
create table tenant_bundles (
  tenant_id uuid primary key, bundle_digest text not null references bundles,
  activated_at timestamptz not null default now());

-- How a tenant reads probabilities, see reading.py; without a row as the bundle does.
create table tenant_readings (
  tenant_id uuid primary key, reading jsonb not null, changed_at timestamptz not null default now());

-- `patient` tells which studies are of one patient, without saying of whom; see `remember_patient`. `ambiguous`: QIDO-RS has to look
-- whether the row stands for its Study Instance UID; see `doubt_study`.
create table studies (
  id uuid primary key, tenant_id uuid not null, title text not null default '',
  study_instance_uid text, created_at timestamptz not null default now(), patient bytea, study_date date,
  -- By bytes, so that a prefix, or a suffix of what is reversed, is a range: row-level security lets an index answer that, but not `like`.
  accession text collate "C", accession_reversed text collate "C" generated always as (reverse(accession)) stored,
  ambiguous boolean not null default false);
create index studies_tenant on studies (tenant_id);
create index studies_uid on studies (tenant_id, study_instance_uid) where study_instance_uid is not null;
create index studies_dates on studies (tenant_id, study_date desc nulls last, study_instance_uid)
  include (accession, id, ambiguous) where study_instance_uid is not null;
create index studies_accession on studies (tenant_id, accession) where accession is not null;
create index studies_accession_reversed on studies (tenant_id, accession_reversed) where accession is not null;
-- What a text has of three characters in a row.
create function grams(value text) returns text[] language sql immutable parallel safe as $$
  select array_agg(distinct substr(value, at, 3) collate "C") from generate_series(1, length(value) - 2) at
$$;
create index studies_accession_grams on studies using gin (grams(accession)) where accession is not null;
create index studies_patient on studies (tenant_id, patient) where patient is not null;

-- `orientation`: how stored pixels become the upright picture that is analysed and shown, as EXIF numbers it.
-- `warnings`: [{code, detail}], see image_warnings.py. `forced`: clinical refusals of it are overruled. `contests`: the
-- image that came before with other bytes under its SOP Instance UID; whether the pixels differ is found by a worker.
-- `transfer_syntax`: of a DICOM file whose header the door could read. `forms`: what DICOMweb serves of it besides the
-- stored file, see forms.py; made by a worker once they are wanted. `data_sha256`: of the transfer syntax and the data set; as
-- each receiver of a C-STORE writes the File Meta Information itself, `sha256` of the same instance differs by door.
create table instances (
  id uuid primary key, study_id uuid not null references studies on delete cascade, tenant_id uuid not null,
  position smallint not null, file_name text not null, media_type text not null, size_bytes bigint not null,
  sha256 text not null, state text not null default 'received' check (state in ('received', 'prepared', 'failed')),
  error_code text, error_detail text, rows integer, columns integer, sop_instance_uid text,
  series_instance_uid text, modality text, view_position text, orientation smallint not null default 1,
  warnings jsonb not null default '[]', forced boolean not null default false, contests uuid,
  sop_class_uid text, transfer_syntax text, forms jsonb, forms_wanted_at timestamptz, data_sha256 text,
  unique (study_id, position));
create index instances_sop on instances (tenant_id, sop_instance_uid) where sop_instance_uid is not null;
create index instances_series on instances (tenant_id, series_instance_uid) where transfer_syntax is not null;
create index instances_modality on instances (tenant_id, modality, study_id) where transfer_syntax is not null;
create index instances_forms on instances (forms_wanted_at) where forms_wanted_at is not null;
create index instances_undecided on instances (id) where state = 'received' and error_code = 'instance_conflict';

-- Studies that DICOM peers send image by image: from whom, how they are to be analysed, and when they are taken to be
-- complete (`settles_at`, at the latest `settle_by`; null once they have settled). See `file_instance`.
create table arrivals (
  study_id uuid primary key references studies on delete cascade, tenant_id uuid not null,
  study_instance_uid text not null, source text not null, owner text not null, priority smallint not null,
  bundle_digest text references bundles, settles_at timestamptz, settle_by timestamptz,
  unique (tenant_id, study_instance_uid));
create index arrivals_due on arrivals (settles_at) where settles_at is not null;
create index arrivals_bundle on arrivals (bundle_digest) where bundle_digest is not null;

-- `shadow_of`: the job that a shadow bundle repeats. A shadow job belongs to its original's tenant, to be erased with
-- it, but the gateway sees none. `supersedes`: the job that analysed the same study before.
-- `images_below`: its images are those of its study at lower positions; others arrived later. `callback_url`: where its end is
-- told, in place of the address of the webhook that has the same origin; `callbacks`: those of later uploads of the same images. `full_ensemble`: all backbones are asked of each image, whatever
-- the bundle's cascade says. `traceparent`: of the request that made it, see tracing.py.
create table jobs (
  id uuid primary key, tenant_id uuid not null, study_id uuid not null references studies on delete cascade,
  owner text not null, state text not null default 'queued'
    check (state in ('queued', 'running', 'succeeded', 'failed', 'cancelled')),
  priority smallint not null default 1, bundle_digest text not null references bundles,
  steps_total integer not null, steps_done integer not null default 0, version integer not null default 1,
  error_code text, error_detail text, missing_backbones text[] not null default '{}',
  timings jsonb not null default '{}', capability bytea unique, expires_at timestamptz,
  created_at timestamptz not null default now(), started_at timestamptz, finished_at timestamptz,
  shadow_of uuid references jobs on delete cascade, supersedes uuid references jobs on delete set null,
  images_below smallint not null default 32767, callback_url text, callbacks text[] not null default '{}',
  full_ensemble boolean not null default false, traceparent text);
create index jobs_supersede on jobs (supersedes) where supersedes is not null;
create index jobs_newest on jobs (tenant_id, created_at desc, id desc);
create index jobs_study on jobs (study_id);
create index jobs_open on jobs (tenant_id) where state in ('queued', 'running');
create index jobs_ended on jobs (tenant_id, finished_at) where finished_at is not null;
create index jobs_expiry on jobs (expires_at) where expires_at is not null;
create index jobs_succeeded on jobs (finished_at) where state = 'succeeded' and shadow_of is null;
create index jobs_failed on jobs (finished_at desc, id desc)
  where state = 'failed' or cardinality(missing_backbones) > 0;
create unique index jobs_shadows on jobs (shadow_of, bundle_digest) where shadow_of is not null;

-- What belongs to an image also belongs to a job of its study, and is deleted with that. `instance_id` has no foreign
-- key here: a second cascade, by a column that no index begins with, would read four tables whole for each deleted
-- image, and check each row that is written.
create table steps (
  id bigint generated always as identity primary key, job_id uuid not null references jobs on delete cascade,
  instance_id uuid, kind text not null
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
create index steps_dead on steps (job_id) where state = 'dead';

create table predictions (
  job_id uuid not null references jobs on delete cascade, instance_id uuid not null,
  backbone text not null, probabilities real[] not null, maps bytea not null, map_shape smallint[] not null,
  primary key (job_id, instance_id, backbone));

-- Without an instance: the study's. As the tenant read it then: `point` says what the threshold is, and `prevalence` is its
-- own or the bundle's, null where it states none.
create table study_findings (
  job_id uuid not null references jobs on delete cascade, instance_id uuid,
  finding text not null, probability real not null, threshold real not null, positive boolean not null,
  disagreement real not null, verdict text not null check (verdict in ('unlikely', 'uncertain', 'likely')),
  prevalence real, point text not null default 'likely' check (point in ('likely', 'balanced', 'unlikely', 'own')),
  unique nulls not distinct (job_id, instance_id, finding));

create table heatmaps (
  job_id uuid not null references jobs on delete cascade, instance_id uuid not null,
  maps bytea not null, map_shape smallint[] not null, primary key (job_id, instance_id));

-- Where a tenant's results are sent: DICOMweb servers, DICOM peers (`dicom://host:port/AE`), and servers that want to be told
-- of jobs that ended. `sealed`: credentials, encrypted, which only the sweeper reads. `only_from`: the calling AE title of a
-- peer; studies of other origin are not sent there.
create table destinations (
  id uuid primary key default gen_random_uuid(), tenant_id uuid not null,
  kind text not null check (kind in ('dicomweb', 'dicom', 'webhook')), name text not null, url text not null,
  origin text generated always as (substring(url from '^https://[^/?]+')) stored, sealed bytea, only_from text,
  created_at timestamptz not null default now(), unique (tenant_id, name));

-- What one job says on its way to one destination; see `queue_deliveries`. `proof`: how it is known that it is there. `url`:
-- in place of the destination's own.
-- `attempts` guards what an attempt writes; `crashes`: those that took their process along; `refusals`:
-- those that the destination was there for. `since`: when it was queued, or sent again.
-- `report_*`: the UIDs of its SR, kept before it is sent. `predecessor_*`: those of the SR of the job that this one supersedes.
create table deliveries (
  id uuid primary key default gen_random_uuid(), tenant_id uuid not null, job_id uuid not null references jobs on delete cascade,
  destination_id uuid not null references destinations on delete cascade, url text,
  state text not null default 'waiting' check (state in ('waiting', 'sending', 'delivered', 'dead')),
  attempts integer not null default 0, lease_until timestamptz, not_before timestamptz not null default now(),
  crashes smallint not null default 0, refusals integer not null default 0, since timestamptz not null default now(), proof text,
  error_code text, error_detail text, report_series text, report_sop text, predecessor_series text, predecessor_sop text,
  updated_at timestamptz not null default now(), unique nulls not distinct (job_id, destination_id, url));
create index deliveries_due on deliveries (not_before) where state in ('waiting', 'sending');
create index deliveries_dead on deliveries (updated_at desc, id desc) where state = 'dead';
create index deliveries_destination on deliveries (destination_id);

-- The last test that was asked for of a webhook: the sweeper sends it once (`sent_at`) and writes how it was answered.
create table webhook_tests (
  destination_id uuid primary key references destinations on delete cascade, tenant_id uuid not null,
  id uuid not null default gen_random_uuid(), asked_at timestamptz not null default now(), sent_at timestamptz,
  delivered boolean, answer text);

-- Destinations that are away: after how many attempts in a row, of whichever deliveries, and when the next one may be made.
create table outages (
  destination_id uuid primary key references destinations on delete cascade, attempts integer not null default 1,
  until timestamptz not null);

-- A job's answer as DICOM objects, for those who read its study here: made by the sweeper once somebody looks (docs/adr/0027).
create table derivations (
  job_id uuid primary key references jobs on delete cascade, tenant_id uuid not null, attempts smallint not null default 0,
  not_before timestamptz not null default now(), made_at timestamptz);
create index derivations_due on derivations (not_before) where made_at is null;

-- These objects. Their bytes lie in the blob store under their ids, as those of instances do.
create table derived (
  id uuid primary key, job_id uuid not null references derivations on delete cascade, tenant_id uuid not null,
  study_instance_uid text not null, series_instance_uid text not null, sop_instance_uid text not null,
  sop_class_uid text not null, modality text not null, transfer_syntax text not null, size_bytes bigint not null,
  sha256 text not null, forms jsonb, forms_wanted_at timestamptz, unique (job_id, sop_instance_uid));
create index derived_study on derived (tenant_id, study_instance_uid);
create index derived_sop on derived (tenant_id, sop_instance_uid);
create index derived_series on derived (tenant_id, series_instance_uid);
create index derived_modality on derived (tenant_id, modality, study_instance_uid);
create index derived_forms on derived (forms_wanted_at) where forms_wanted_at is not null;

create table idempotency_keys (
  tenant_id uuid not null, owner text not null, key text not null, fingerprint text not null,
  job_id uuid not null references jobs on delete cascade, answer jsonb not null,
  created_at timestamptz not null default now(), primary key (tenant_id, owner, key));
create index idempotency_keys_job on idempotency_keys (job_id);

-- What the sweeper has to erase: blobs of deleted instances, and all data of tenants whose last user has left.
create table blobs_pending_deletion (
  instance_id uuid primary key, queued_at timestamptz not null default now(), tenant_id uuid, study_id uuid);
create table tenants_pending_deletion (tenant_id uuid primary key, queued_at timestamptz not null default now());

-- Jobs that were erased, for a day: so that who follows a tenant's jobs and was away learns of it.
create table erased_jobs (
  job_id uuid primary key, tenant_id uuid not null, erased_at timestamptz not null default now());
create index erased_jobs_newest on erased_jobs (tenant_id, erased_at);

create table workers (
  id text primary key, service text not null, kinds text[] not null, backbones text[] not null default '{}',
  bundles text[] not null default '{}', provider text not null default '', seen_at timestamptz not null default now(),
  loaded text[] not null default '{}');

-- Secrets of the tenants' own, which no service may read; see `remember_patient`.
create table patient_secrets (
  tenant_id uuid primary key,
  secret bytea not null default sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())));

-- The id of this database, by which a blob store knows its platform.
create table platform (id uuid primary key default gen_random_uuid(), only_one boolean not null unique default true
  check (only_one));
insert into platform default values;

-- What failed, in all tenants, as it is seen with its owner's rights: codes and times, no title, no name, no image.
create view failed_work as
select j.id, j.tenant_id, j.state, j.error_code, j.missing_backbones, j.bundle_digest, j.created_at, j.finished_at,
  (select count(*) from instances i where i.study_id = j.study_id and i.position < j.images_below) as images,
  (select jsonb_agg(jsonb_build_object(
     'kind', s.kind, 'backbone', s.backbone, 'attempts', s.attempts, 'code', s.error_code) order by s.id)
   from steps s where s.job_id = j.id and s.state = 'dead') as dead
from jobs j
where (j.state = 'failed' or cardinality(j.missing_backbones) > 0) and j.finished_at is not null and j.shadow_of is null;


-- What could not be delivered, in all tenants, as it is seen with its owner's rights: ids, codes and times.
create view dead_deliveries as
select d.id, d.tenant_id, d.job_id, x.name as destination, x.kind, d.attempts, d.error_code, d.error_detail, d.updated_at
from deliveries d join destinations x on x.id = d.destination_id where d.state = 'dead';
-- Whose a delivery is, seen likewise.
create view delivery_tenants as select id, tenant_id from deliveries;


-- People, machines, sessions and signing keys, in a schema that only auth-service's role may enter.
create schema auth;

create table auth.tenants (
  id uuid primary key, created_at timestamptz not null default now());

create table auth.users (
  id uuid primary key, tenant_id uuid not null references auth.tenants, name text not null unique,
  password_hash text not null, scopes text[] not null, disabled_at timestamptz,
  created_at timestamptz not null default now());
create index users_newest on auth.users (created_at desc, id desc);
create index users_tenant on auth.users (tenant_id);

create table auth.invitations (
  digest bytea primary key, tenant_id uuid not null references auth.tenants on delete cascade,
  expires_at timestamptz not null, host_id uuid references auth.users on delete cascade);
create index invitations_tenant on auth.invitations (tenant_id);
create index invitations_host on auth.invitations (host_id);

create table auth.clients (
  id uuid primary key, owner_id uuid not null references auth.users on delete cascade, name text not null,
  scopes text[] not null, secret bytea not null, old_secret bytea, old_secret_until timestamptz,
  created_at timestamptz not null default now(), last_used_at timestamptz);
create index clients_owner on auth.clients (owner_id);

create table auth.sessions (
  id uuid primary key, user_id uuid not null references auth.users on delete cascade, scopes text[] not null,
  csrf text, user_agent text not null default '', created_at timestamptz not null default now(),
  last_used_at timestamptz not null default now(), expires_at timestamptz not null);
create index sessions_user on auth.sessions (user_id);
create index sessions_expiry on auth.sessions (expires_at);

create table auth.refresh_tokens (
  digest bytea primary key, session_id uuid not null references auth.sessions on delete cascade,
  used_at timestamptz);
create index refresh_tokens_session on auth.refresh_tokens (session_id);

create table auth.login_failures (
  id bigint generated always as identity primary key, account bytea not null, address text not null,
  failed_at timestamptz not null default clock_timestamp());
create index login_failures_address on auth.login_failures (address, failed_at);
create index login_failures_age on auth.login_failures (failed_at);

create table auth.signing_keys (
  kid text primary key, public_jwk jsonb not null, private_key bytea not null,
  created_at timestamptz not null default now(), active_from timestamptz not null, retires_at timestamptz);
