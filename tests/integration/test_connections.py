"""What the engines on one Postgres may open together is known to each that starts, whatever its role may see."""

from collections.abc import Callable

import pytest
import structlog
from sqlalchemy import text
from structlog.testing import capture_logs

from thorax import database
from thorax.http.database import async_engine


async def test_an_engine_says_at_its_start_when_postgres_cannot_hold_all(
    url_as: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # A logger that an earlier test of this process used keeps the processors of that time, and nothing is captured.
    monkeypatch.setattr(database, "_log", structlog.get_logger("thorax.database"))
    small = database.engine(url_as("thorax_worker"), pool_size=2)
    large = async_engine(url_as("thorax_auth"), pool_size=200)
    with capture_logs() as said, small.connect():
        before = [line["may_be_opened"] for line in said]
        async with large.connect() as connection:
            await connection.execute(text("select 1"))
        async with large.connect(), large.connect():
            pass
    await large.dispose()
    small.dispose()
    (warning,) = said[len(before) :]
    assert warning["event"] == "too_few_connections"
    assert warning["may_be_opened"] >= 404
    assert warning["allowed"] == 197
