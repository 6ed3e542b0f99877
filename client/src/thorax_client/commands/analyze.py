"""`thorax analyze`: files and folders to findings, many at a time, and again from where it was stopped."""

import hashlib
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from threading import Thread

import click

from thorax_client.client import Client
from thorax_client.commands.files import found
from thorax_client.commands.login import Access, access, platform
from thorax_client.commands.rows import Outcome, Table, done
from thorax_client.errors import JobFailedError, ThoraxError
from thorax_client.models import Job, Receipt

SOME_REFUSED = 3
INTERRUPTED = 130  # 128 and the number of SIGINT, as shells have it


@dataclass(frozen=True)
class Options:
    """How each file is sent."""

    wait: bool
    overlay: Path | None
    force: bool
    full: bool
    again: bool
    timeout_s: float
    at_once: int


@click.command()
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True))
@platform
@click.option("--wait/--no-wait", default=True, help="Wait for the results; else only the jobs are told.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per line instead of words.")
@click.option(
    "--csv",
    "table",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write a CSV. One that exists is continued: images that have a result there are left out, others tried again.",
)
@click.option(
    "--overlay", type=click.Path(path_type=Path, file_okay=False), help="A PNG here per likely finding."
)
@click.option(
    "--force", is_flag=True, help="Also analyse what does not look like a frontal chest radiograph."
)
@click.option("--full", is_flag=True, help="Ask all networks, also where the first ones are sure.")
@click.option(
    "--again",
    is_flag=True,
    help="Analyse anew what was sent before, by the bundle that the platform has now.",
)
@click.option("--timeout", default=600.0, show_default=True, help="Seconds to wait for each result.")
@click.option(
    "--at-once",
    default=8,
    show_default=True,
    type=click.IntRange(1),
    help="How many files are under way at a time.",
)
def analyze(
    paths: tuple[Path, ...],
    url: str | None,
    token: str | None,
    anonymous: bool,
    wait: bool,
    as_json: bool,
    table: Path | None,
    overlay: Path | None,
    force: bool,
    full: bool,
    again: bool,
    timeout: float,
    at_once: int,
) -> None:
    """Analyse DICOM, PNG and JPEG files, and folders with all that is in them; each file is a job.

    Exit code 0: each file has a result; 3: some were refused or failed, and the output says why; 1: none has one;
    130: stopped by Ctrl-C.
    Not a medical device, not for diagnosis.
    """
    kept = _kept(table, sent=not wait) if table else []
    finished = {row["image"] for row in kept}
    files = [path for path in found(paths) if str(path) not in finished]
    if finished:
        click.echo(f"{len(finished)} images have a {'result' if wait else 'job'} in {table}.", err=True)
    if not files:
        if finished:
            return
        raise click.ClickException("No DICOM, PNG or JPEG file was found there.")
    who = access(url, token, anonymous)
    try:
        with who.client() as thorax:  # rather than be away for one file after the other
            thorax.models()
    except ThoraxError as error:
        raise click.ClickException(str(error)) from error
    options = Options(wait, overlay, force, full, again, timeout, at_once)
    with ExitStack() as stack:
        sinks: list[Callable[[Outcome], None]] = []
        if table:
            sinks.append(_opened(table, kept, stack).add)
        if as_json or not table:
            sinks.append(lambda outcome: click.echo(outcome.as_json() if as_json else outcome.line()))
        try:
            failed = _run(who, files, options, sinks)
        except KeyboardInterrupt:
            click.echo("\nStopped. Run it again to get the results of what was sent.", err=True)
            sys.exit(INTERRUPTED)
    click.echo(f"{len(files) - failed} of {len(files)} files: {'a result' if wait else 'sent'}.", err=True)
    if failed:
        sys.exit(1 if failed == len(files) and not finished else SOME_REFUSED)


def _kept(table: Path, *, sent: bool) -> list[dict[str, str]]:
    try:
        return done(table, sent=sent)
    except OSError as error:
        raise click.ClickException(f"{table} can't be read: {error.strerror}.") from error
    except ValueError as error:
        raise click.ClickException(f"{error} Name another file.") from error


def _opened(table: Path, kept: list[dict[str, str]], stack: ExitStack) -> Table:
    try:
        return stack.enter_context(Table(table, kept))
    except OSError as error:
        raise click.ClickException(f"{table} can't be written: {error.strerror}.") from error


def _run(who: Access, files: list[Path], options: Options, sinks: list[Callable[[Outcome], None]]) -> int:
    """Send everything, tell each outcome to the sinks; how many files have no result."""
    failed = 0
    with (
        Client(who.url, who.credentials) as thorax,
        click.progressbar(length=len(files), label=f"{len(files)} files", file=sys.stderr) as bar,
    ):
        for outcome in _outcomes(thorax, files, options):
            for sink in sinks:
                sink(outcome)
            failed += outcome.error is not None
            bar.update(1)
    return failed


def _outcomes(thorax: Client, files: list[Path], options: Options) -> Iterator[Outcome]:
    """As they come; a few files are under way at a time, each in a thread, which takes half the CPU time that asyncio takes.

    They are daemons, so that Ctrl-C does not wait for what they wait for.
    """
    left, outcomes = iter(files), SimpleQueue[Outcome | Exception]()

    def work() -> None:
        try:
            for path in left:  # the iterator of a list gives each to one thread
                outcomes.put(_outcome(thorax, path, options))
        except Exception as error:
            outcomes.put(error)

    for _ in range(options.at_once):
        Thread(target=work, daemon=True).start()
    for _ in files:
        outcome = outcomes.get()
        if isinstance(outcome, Exception):
            raise outcome
        yield outcome


def _outcome(thorax: Client, path: Path, options: Options) -> Outcome:
    try:
        data = path.read_bytes()
        key = None if options.again else _key(path, data, options)
        receipt: Receipt | Job = thorax.submit(
            (path.name, data), force=options.force, full=options.full, key=key
        )
        if options.again and receipt.state == "succeeded":  # a DICOM image that is known
            receipt = thorax.again(receipt, full=options.full)
        if not options.wait:
            return Outcome(path, thorax.job(receipt))
        job = thorax.wait(receipt, options.timeout_s)
        if job.state != "succeeded":
            return Outcome(path, error=JobFailedError(job))
        if options.overlay:
            _overlays(thorax, path, job, options.overlay)
        return Outcome(path, job)
    except OSError as error:
        return Outcome(path, error=ThoraxError(f"The file can't be opened: {error.strerror}."))
    except ThoraxError as error:
        return Outcome(path, error=error)


def _overlays(thorax: Client, path: Path, job: Job, folder: Path) -> None:
    """A PNG for each likely finding, named by the file's path and the finding."""
    folder.mkdir(parents=True, exist_ok=True)
    name = "_".join(part for part in path.parts if part not in ("/", "..", "."))
    for finding in job.images[0].findings:
        if finding.verdict == "likely":
            png = thorax.overlay(job.images[0], finding.finding)
            (folder / f"{name}.{finding.finding}.png").write_bytes(png)


def _key(path: Path, data: bytes, options: Options) -> str:
    """The Idempotency-Key by which the platform knows for a day what was asked of the same file."""
    asked = b"force" * options.force + b"full" * options.full
    return hashlib.sha256(os.fsencode(path.name) + b"\0" + asked + data).hexdigest()
