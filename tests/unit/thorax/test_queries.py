"""SQL names facts of Python instead of repeating them."""

from thorax.queries import with_literals
from thorax.states import JOBS_CHANNEL, SHADOW_PRIORITY


def test_what_a_migration_names_is_written_out() -> None:
    sql = "select pg_notify(:jobs_channel, ''), 1::float, :jobs_channels where priority = :shadow_priority"
    assert with_literals(sql) == (
        f"select pg_notify('{JOBS_CHANNEL}', ''), 1::float, :jobs_channels where priority = {SHADOW_PRIORITY}"
    )
