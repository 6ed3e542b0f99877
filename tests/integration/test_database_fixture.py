"""The fixtures themselves: every test gets a migrated database of its own, and each role only its rights."""

from collections.abc import Callable

import psycopg
import pytest


def connect(url: str) -> psycopg.Connection:
    return psycopg.connect(url.replace("+psycopg", ""))


@pytest.mark.parametrize("_round", [1, 2])
def test_a_database_is_migrated_and_empty(database_url: str, _round: int) -> None:
    with connect(database_url) as connection:
        assert connection.execute("SELECT count(*) FROM steps").fetchone() == (0,)


def test_a_worker_sees_the_ledger_but_not_the_users(url_as: Callable[[str], str]) -> None:
    with connect(url_as("thorax_worker")) as connection:
        assert connection.execute("SELECT count(*) FROM steps").fetchone() == (0,)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("SELECT * FROM studies")
