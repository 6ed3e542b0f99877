"""The whole schema: tables, functions, and one role per service with its rights."""

from pathlib import Path

from alembic import op

from thorax.queries import with_literals

revision = "v001"
down_revision = None

_FOLDER = Path(__file__).parents[1]


def upgrade() -> None:
    """Create everything, then hand out as little of it as each service needs."""
    for part in ("schema", "functions", "service_roles", "roles", "audit", "retention"):
        op.execute(with_literals((_FOLDER / f"{part}.sql").read_text("utf-8")))
