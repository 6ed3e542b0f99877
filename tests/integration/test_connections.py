"""What the engines on one Postgres may open together is known to each that starts, whatever its role may see."""

from collections.abc import Callable

import pytest
import structlog
from sqlalchemy import text
from structlog.testing import LogCapture

from thorax import database
from thorax.http.database import async_engine


async def test_an_engine_says_at_its_start_when_postgres_cannot_hold_all(
    url_as: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # A logger of its own: the process's may have a level and processors of an earlier test.
    said = LogCapture()
    log = structlog.wrap_logger(None, processors=[said], wrapper_class=structlog.BoundLogger)
    monkeypatch.setattr(database, "_log", log)
    small = database.engine(url_as("thorax_worker"), pool_size=2)
    large = async_engine(url_as("thorax_auth"), pool_size=200)
    with small.connect():
        said.entries.clear()
        async with large.connect() as connection:
            await connection.execute(text("select 1"))
        async with large.connect(), large.connect():
            pass
    await large.dispose()
    small.dispose()
    (warning,) = said.entries
    assert warning["event"] == "too_few_connections"
    assert warning["may_be_opened"] >= 404
    assert warning["allowed"] == 197
