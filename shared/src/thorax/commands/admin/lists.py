"""`thorax admin users | clients | keys | failed`: what there is, one line each, columns with tabs between."""

import click
from sqlalchemy import Row

from thorax import queries
from thorax.commands.connection import engine

_SQL = queries.load(__file__)
_TOLD = {
    "users": "List all accounts. Administrators change them on the page or at /auth/users.",
    "clients": "List all machine clients. Their owners change them on the page or at /auth/clients.",
    "keys": "List the signing keys. `auth-service rotate-keys` makes a new one.",
    "failed": "List failed jobs and deliveries. Administrators retry them on the page or at /v1/admin.",
}


def _list(name: str) -> click.Command:
    def command() -> None:
        with engine().connect() as connection:
            found = connection.execute(_SQL[name])
            click.echo("\t".join(found.keys()))
            for row in found:
                click.echo("\t".join(_cells(row)))

    return click.command(name, help=_TOLD[name])(command)


def _cells(row: Row[tuple[object, ...]]) -> list[str]:
    return ["" if cell is None else str(cell) for cell in row]


COMMANDS = [_list(name) for name in _TOLD]
