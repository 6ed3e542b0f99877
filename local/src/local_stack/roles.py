"""One database login per service, so that each sees only what its role may see.

`thorax migrate` creates the roles with their rights (they can't log in); a login is a member of one of them.
"""

from collections.abc import Sequence

import psycopg
from psycopg import sql

from local_stack.postgres import Postgres
from local_stack.server import secret_in

ROLES = ("thorax_auth", "thorax_gateway", "thorax_worker", "thorax_aggregator")


def create_database(postgres: Postgres, name: str) -> str:
    """Create the database if it is missing. Returns its owner's URL."""
    with psycopg.connect(postgres.dsn("postgres"), autocommit=True) as connection:
        known = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone()
        if known is None:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    return postgres.url_of(name)


def logins(postgres: Postgres, database: str, roles: Sequence[str] = ROLES) -> dict[str, str]:
    """The URL of `database` for the service that has each role; its login is created or updated."""
    urls = {}
    with psycopg.connect(postgres.dsn("postgres"), autocommit=True) as connection:
        for role in roles:
            name = f"{role}_login"
            password = secret_in(postgres.folder / "roles" / role)
            _ensure(connection, name, role, password)
            urls[role] = postgres.url_of(database, name, password)
    return urls


def _ensure(connection: psycopg.Connection, name: str, role: str, password: str) -> None:
    known = connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [name]).fetchone()
    verb, login, group = sql.SQL("ALTER" if known else "CREATE"), sql.Identifier(name), sql.Identifier(role)
    connection.execute(sql.SQL("{} ROLE {} LOGIN PASSWORD {}").format(verb, login, sql.Literal(password)))
    connection.execute(sql.SQL("GRANT {} TO {}").format(group, login))
