"""`thorax admin retention`: how long data are kept, legal holds, and erasure on request."""

from typing import Any
from uuid import UUID

import click
from sqlalchemy import Connection, Row

from thorax import queries
from thorax.commands.connection import transaction
from thorax.retention import QUERIES
from thorax.states import ALL_TENANTS

KINDS = ("originals", "inputs", "maps", "results")
_SQL = queries.load(__file__)


def _named(_context: click.Context, _argument: click.Parameter, value: str) -> UUID:
    found: UUID = ALL_TENANTS if value == "all" else click.UUID.convert(value, _argument, _context)
    return found


_tenant = click.argument("tenant", callback=_named)
_study = click.argument("study")
_days = [
    click.option(f"--{kind}", type=click.IntRange(min=1), help="Days; for ever without it.") for kind in KINDS
]


@click.group()
def retention() -> None:
    """How long data are kept: originals, inputs, maps, and results (the study as a whole)."""


@retention.command()
def show() -> None:
    """Show what is kept for how many days."""
    with transaction() as connection:
        _show(connection)


@retention.command("set")
@_tenant
def keep(tenant: UUID, **days: int | None) -> None:
    """Set how long the data of TENANT (an id, or `all` for those without days of their own) are kept."""
    with transaction() as connection:
        if connection.execute(QUERIES["keep"], {"tenant": tenant, **days}).first() is None:
            raise click.ClickException("No tenant has this id.")
        _show(connection)


for _option in reversed(_days):
    keep = _option(keep)


@retention.command()
@_tenant
def unset(tenant: UUID) -> None:
    """Keep the data of TENANT as those of all."""
    with transaction() as connection:
        connection.execute(QUERIES["forget"], {"tenant": tenant})


@retention.command()
@_tenant
@_study
def hold(tenant: UUID, study: str) -> None:
    """Keep STUDY (its id or Study Instance UID) whatever its age; nobody can erase it until it is released."""
    _hold(tenant, study, held=True)


@retention.command()
@_tenant
@_study
def release(tenant: UUID, study: str) -> None:
    """End the hold of STUDY."""
    _hold(tenant, study, held=False)


@retention.command()
@_tenant
@_study
def erase(tenant: UUID, study: str) -> None:
    """Erase STUDY with all that belongs to it, and print the receipt. `receipt` shows when its files are gone too."""
    with transaction() as connection:
        found = _found(connection, tenant, study)
        if any(row.held_since for row in found):
            raise click.ClickException("The study is under legal hold. Release it first.")
        ids = [row.id for row in found]
        connection.execute(_SQL["erase"], {"ids": ids})
    _receipt(tenant, [str(id_) for id_ in ids])


@retention.command()
@_tenant
@click.argument("ids", nargs=-1, required=True)
def receipt(tenant: UUID, ids: tuple[str, ...]) -> None:
    """Show what the audit says of erased studies, by their ids (not their UIDs, which are erased)."""
    _receipt(tenant, list(ids))


def _show(connection: Connection) -> None:
    for row in connection.execute(QUERIES["kept"]):
        kept = ", ".join(f"{kind} {days or 'for ever'}" for kind, days in zip(KINDS, row[1:], strict=True))
        click.echo(f"{'all' if row.tenant_id == ALL_TENANTS else row.tenant_id}: {kept}")


def _receipt(tenant: UUID, ids: list[str]) -> None:
    with transaction() as connection:
        click.echo(f"studies {' '.join(ids)}")
        for row in connection.execute(_SQL["receipt"], {"tenant": tenant, "studies": ids}):
            click.echo(f"{row.at.isoformat()} {row.action} {row.subject}")


def _hold(tenant: UUID, study: str, *, held: bool) -> None:
    with transaction() as connection:
        _found(connection, tenant, study)
        values = {"tenant": tenant, "study": study, "held": held}
        count = len(connection.execute(QUERIES["hold"], values).all())
    click.echo(f"{count} studies are {'held' if held else 'not held'}.")


def _found(connection: Connection, tenant: UUID, study: str) -> list[Row[Any]]:
    found = list(connection.execute(_SQL["studies"], {"tenant": tenant, "study": study}))
    if not found:
        raise click.ClickException(
            "The tenant has no such study (one is there once its first image has come)."
        )
    return found
