"""The database of a command."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, Engine

from thorax import database
from thorax.settings import Settings, load


def engine(settings: Settings | None = None) -> Engine:
    """An engine of the login in THORAX_DATABASE_URL. `settings`: if they are loaded already."""
    settings = settings or load(Settings)
    return database.engine(settings.database_url.get_secret_value(), pooled=settings.database_pooled)


@contextmanager
def transaction() -> Iterator[Connection]:
    """One transaction of it, which commits when the block ends well."""
    opened = engine()
    with opened.begin() as connection:
        yield connection
    opened.dispose()
