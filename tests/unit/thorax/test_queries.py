"""SQL names facts of Python instead of repeating them, and what is asked for each image is not taken apart each time."""

import pytest
from psycopg import _queries
from sqlalchemy import TextClause
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg

from gateway.uploads import queries as uploads
from model_worker import queries
from thorax.queries import with_literals
from thorax.states import JOBS_CHANNEL, SHADOW_PRIORITY
from thorax.work import answer, ledger


def test_what_a_migration_names_is_written_out() -> None:
    sql = "select pg_notify(:jobs_channel, ''), 1::float, :jobs_channels where priority = :shadow_priority"
    assert with_literals(sql) == (
        f"select pg_notify('{JOBS_CHANNEL}', ''), 1::float, :jobs_channels where priority = {SHADOW_PRIORITY}"
    )


@pytest.mark.parametrize(
    "query",
    [
        ledger._recording(f"{queries.PREPARED}, {queries.INFERRED}, {answer.RECORD}", "conclude"),
        ledger._recording(queries.PREDICTED, "complete"),
        ledger._SQL["claim"],
        uploads._RECORD,
    ],
    ids=["conclude", "complete", "claim", "record"],
)
def test_psycopg_keeps_what_each_image_needs(query: TextClause) -> None:
    compiled = query.compile(dialect=PGDialect_psycopg())
    assert len(str(compiled)) <= _queries.MAX_CACHED_STATEMENT_LENGTH
    assert len(compiled.params) <= _queries.MAX_CACHED_STATEMENT_PARAMS
