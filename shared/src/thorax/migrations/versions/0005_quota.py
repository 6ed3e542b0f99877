"""A tenant's quota of open jobs holds also for uploads that come at once."""

from alembic import op

revision = "0005"
down_revision = "0004"

# The lock comes before the count, and each statement of a volatile function sees what was committed before it:
# of uploads that come at once, each counts those before it. Held until the job that is counted for is committed.
FUNCTION = """
create function open_jobs(tenant uuid) returns bigint language plpgsql volatile
set search_path = public, pg_temp as $$
begin
  perform pg_advisory_xact_lock(hashtextextended('open jobs of ' || tenant, 0));
  return (select count(*) from jobs
    where tenant_id = tenant and state in ('queued', 'running') and shadow_of is null);
end $$;
"""


def upgrade() -> None:
    """Add the function."""
    op.execute(FUNCTION)
