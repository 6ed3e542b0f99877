"""The `thorax` command. Each of its commands is imported when it is called: SQLAlchemy and psycopg alone take half a second."""

import sys
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any

import click

from thorax.commands.entry import stopped
from thorax.errors import CodedError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoints

OWN = {
    "admin": (
        "admin.command:admin",
        "Operate the platform: accounts, failed work, bundles, retention, audit.",
    ),
    "backup": (
        "backup.command:backup",
        "Back the platform up into FOLDER, check that, and come back from it.",
    ),
    "bundle": ("bundles:bundle", "Model bundles: check, register, activate, shadow, compare."),
    "mark-restored": (
        "releases:mark_restored",
        "Keep the images that a restored database does not know.",
    ),
    "migrate": ("releases:migrate", "Bring the database at THORAX_DATABASE_URL to the newest schema."),
    "wait-for-schema": (
        "releases:wait_for_schema",
        "Wait until the database has the schema that this version needs.",
    ),
}
"""This package's own commands: where each is, and what `thorax --help` says of it."""


class Commands(click.Group):
    """The commands above, and those of the packages beside this one: entry points of the group `thorax.commands`."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*OWN, *_others().names})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        command: click.Command | None = None
        if cmd_name in OWN:
            command = resolve_name(f"thorax.commands.{OWN[cmd_name][0]}")
        elif found := [one for one in _others() if one.name == cmd_name]:
            command = found[0].load()
        return command

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:  # which click would call "Aborted!" and 1
            raise stopped() from None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, self._said_of(ctx, name)) for name in self.list_commands(ctx)])

    def _said_of(self, ctx: click.Context, name: str) -> str:
        if name in OWN:
            return OWN[name][1]
        command = self.get_command(ctx, name)
        return command.get_short_help_str(limit=100) if command else ""


def _others() -> "EntryPoints":
    from importlib.metadata import entry_points

    return entry_points(group="thorax.commands")


@click.group(cls=Commands)
def cli() -> None:
    """Thorax: operate the platform from a shell."""


def main() -> None:
    """Run the command; coded errors and a database that is away are one sentence, not a traceback."""
    try:
        cli(standalone_mode=True)
    except CodedError as error:
        sys.exit(f"{error.detail} {error.code.remedy}")
    except Exception as error:
        from sqlalchemy.exc import OperationalError  # not before something has failed

        if not isinstance(error, OperationalError):
            raise
        [said, *_] = str(error.orig).splitlines()  # neither URL nor statement
        sys.exit(f"The database did not answer: {said}. Try again, or check THORAX_DATABASE_URL.")


if __name__ == "__main__":
    main()
