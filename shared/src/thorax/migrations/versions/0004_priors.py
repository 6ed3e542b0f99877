"""Which studies are of one patient, without saying of whom; what failed, across tenants."""

from alembic import op

revision = "0004"
down_revision = "0003"

# A patient is kept as a keyed hash with a secret of the tenant's own that no service may read: it is made and used
# inside `remember_patient`, which is all a worker may call. Both halves of what is hashed have 32 bytes, so there is
# nothing to extend or to shift. An empty hash: the images of one study name several patients.
TABLES = """
create table patient_secrets (
  tenant_id uuid primary key,
  secret bytea not null default sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())));

alter table studies add column patient bytea, add column study_date date;
create index studies_patient on studies (tenant_id, patient) where patient is not null;

create function remember_patient(study uuid, digest bytea) returns void language sql security definer
set search_path = public, pg_temp as $$
  insert into patient_secrets (tenant_id)
  select tenant_id from studies
  where id = study and octet_length(digest) = 32 and tenant_id <> '00000000-0000-0000-0000-00000000a707'
  on conflict do nothing;
  update studies s set patient = case
    when s.patient is null or s.patient = sha256(p.secret || digest) then sha256(p.secret || digest) else '' end
  from patient_secrets p where s.id = study and p.tenant_id = s.tenant_id;
$$;

create index jobs_failed on jobs (finished_at desc, id desc)
  where state = 'failed' or cardinality(missing_backbones) > 0;
"""

# Seen with its owner's rights, so in all tenants: codes and times, no title, no name, no image.
VIEWS = """
create view failed_work as
select j.id, j.tenant_id, j.state, j.error_code, j.missing_backbones, j.bundle_digest, j.created_at, j.finished_at,
  (select count(*) from instances i where i.study_id = j.study_id) as images,
  (select jsonb_agg(jsonb_build_object(
     'kind', s.kind, 'backbone', s.backbone, 'attempts', s.attempts, 'code', s.error_code) order by s.id)
   from steps s where s.job_id = j.id and s.state = 'dead') as dead
from jobs j
where (j.state = 'failed' or cardinality(j.missing_backbones) > 0) and j.finished_at is not null and j.shadow_of is null;
"""

GRANTS = """
revoke all on function remember_patient(uuid, bytea) from public;
grant execute on function remember_patient(uuid, bytea) to thorax_worker;
grant update (study_date) on studies to thorax_worker;
grant select on failed_work to thorax_gateway;
grant select (tenant_id), delete on patient_secrets to thorax_aggregator;
"""


def upgrade() -> None:
    """Add them, and hand out no more than is needed."""
    op.execute(TABLES)
    op.execute(VIEWS)
    op.execute(GRANTS)
