"""Erasing an image reads no whole table; blobs know their database; invitations go with who made them."""

from alembic import op

revision = "0006"
down_revision = "0005"

# What is of an image is also of a job of its study, and goes with that: a second cascade, by an image that no index
# begins with, read four tables whole for each image that was erased, and checked each row that was written.
TABLES = """
alter table steps drop constraint steps_instance_id_fkey;
alter table predictions drop constraint predictions_instance_id_fkey;
alter table study_findings drop constraint study_findings_instance_id_fkey;
alter table heatmaps drop constraint heatmaps_instance_id_fkey;
create index idempotency_keys_job on idempotency_keys (job_id);

alter table auth.invitations add column host_id uuid references auth.users on delete cascade;
create index invitations_tenant on auth.invitations (tenant_id);
create index invitations_host on auth.invitations (host_id);

create table platform (id uuid primary key default gen_random_uuid(), only_one boolean not null unique default true
  check (only_one));
insert into platform default values;
grant select on platform to thorax_aggregator;
"""


def upgrade() -> None:
    """Let the second cascade go, name the database, and ask invitations whose they are."""
    op.execute(TABLES)
