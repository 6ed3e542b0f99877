"""`thorax admin audit`: check the chains, and export them."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID

import click
import orjson
from sqlalchemy import Connection

from thorax import queries
from thorax.commands.connection import engine

_SQL = queries.load(__file__)


@click.group()
def audit() -> None:
    """What was done, and by whom."""


@audit.command()
@click.option(
    "--against",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="An export made earlier: its rows have to be there still, each in its place.",
)
def verify(against: Path | None) -> None:
    """Name the first row of each tenant's chain that was altered, removed or moved; code 1 if there is any."""
    with _patient_connection() as connection:
        faults = [
            f"tenant {row.tenant_id}, place {row.place}: "
            + (f"row {row.id} is altered, or another's" if row.id else "the row is removed")
            for row in connection.execute(_SQL["faults"])
        ]
        if against and not faults:
            faults = [*_differing(connection, against)][:1]
        found = connection.execute(_SQL["counts"]).one()
    if faults:
        raise click.ClickException("\n".join(["The audit is not as it was written.", *faults]))
    click.echo(f"{found.rows} rows in {found.chains} chains are as they were written.")


@audit.command()
@click.option("--tenant", type=click.UUID, help="Of this tenant only.")
def export(tenant: UUID | None) -> None:
    """Print all linked rows as JSON lines.

    The `digest` of a row is the SHA-256 of the digest before it in its tenant's chain (its 32 bytes, none for the first) and
    of the UTF-8 of its `entry`.
    """
    with _patient_connection() as connection:
        for row in connection.execution_options(yield_per=1000).execute(_SQL["rows"], {"tenant": tenant}):
            click.echo(orjson.dumps(dict(row._mapping)).decode())


@contextmanager
def _patient_connection() -> Iterator[Connection]:
    """One transaction; what nobody has linked yet is linked first."""
    opened = engine()
    with opened.begin() as connection:
        connection.execute(_SQL["patient"])
        while connection.execute(_SQL["link"]).scalar_one():
            pass
    with opened.connect() as connection:
        connection.execute(_SQL["patient"])
        yield connection


def _differing(connection: Connection, export: Path) -> Iterator[str]:
    """Rows of an export that are not there any more, or with another digest."""
    with export.open("rb") as lines:
        for line in map(orjson.loads, lines):
            values = {"tenant": line["tenant_id"], "place": line["place"]}
            if connection.execute(_SQL["digest"], values).scalar() != line["digest"]:
                yield f"tenant {line['tenant_id']}, place {line['place']}: the row is not the exported one"
