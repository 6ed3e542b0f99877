"""`thorax predict`: a folder of images to a CSV of probabilities and verdicts."""

import csv
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import IO

import click

from thorax import telemetry
from thorax.errors import Code, CodedError
from thorax.findings import FINDINGS
from thorax.image_headers import HEAD_BYTES, sniff
from thorax_offline.reader import Reader, Reading, load_bundle

SOME_REFUSED = 3
COLUMNS = (
    *("image", *FINDINGS),
    *(f"{finding}_verdict" for finding in FINDINGS),
    *(f"{finding}_disagreement" for finding in FINDINGS),
    *("view", "study_instance_uid", "sop_instance_uid", "warnings", "error", "detail", "networks"),
)
Row = dict[str, str]


@click.command()
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True))
@click.option(
    "--bundle",
    "folder",
    type=click.Path(path_type=Path),
    default=Path("models/default"),
    show_default=True,
    help="The bundle's folder.",
)
@click.option(
    "--out",
    type=click.File(
        "w", "utf-8", "surrogateescape", lazy=True
    ),  # names that are not UTF-8 stay what they are
    default="-",
    help="The CSV; standard output if left out.",
)
@click.option(
    "--force", is_flag=True, help="Also analyse what does not look like a frontal chest radiograph."
)
@click.option(
    "--full",
    is_flag=True,
    help="Ask all networks, also where the first ones of the bundle's cascade are sure.",
)
def predict(paths: tuple[Path, ...], folder: Path, out: IO[str], force: bool, full: bool) -> None:
    """Analyse the images at PATHS (DICOM, PNG, JPEG; folders with all that is in them) and write a CSV.

    No service has to run. Exit code 0: each image was read; 3: some were refused, and their rows say why; 1: none was.
    Not a medical device, not for diagnosis.
    """
    telemetry.configure("predict", level="ERROR", form="console")
    files = list(found(paths))
    if not files:
        raise click.ClickException("No DICOM, PNG or JPEG file was found there.")
    reader = load_bundle(folder)
    table = csv.DictWriter(out, COLUMNS, restval="", lineterminator="\n")
    table.writeheader()
    refused = 0
    with click.progressbar(
        _each(lambda file: row(reader, file, force=force, full=full), files),
        length=len(files),
        label=f"{len(files)} images",
        file=sys.stderr,
    ) as rows:
        for one in rows:
            table.writerow(one)
            refused += bool(one.get("error"))
    click.echo(f"{len(files) - refused} of {len(files)} images were read.", err=True)
    if refused:
        sys.exit(1 if refused == len(files) else SOME_REFUSED)


def found(paths: Iterable[Path]) -> Iterator[Path]:
    """Every file that is named, and every DICOM, PNG or JPEG file below each folder, in order of name."""
    for path in paths:
        if not path.is_dir():
            yield path
            continue
        for folder, below, names in os.walk(path):
            below.sort()
            yield from (file for name in sorted(names) if _is_image(file := Path(folder, name)))


def _is_image(path: Path) -> bool:
    """Whether a file claims to be an image; a media directory (PS3.10 section 8) claims it and has no pixels."""
    if path.name == "DICOMDIR" or not path.is_file():
        return False
    try:
        with path.open("rb") as file:
            sniff(file.read(HEAD_BYTES))
    except CodedError as error:
        return error.code not in (Code.UNSUPPORTED_MEDIA, Code.EMPTY_FILE)
    except OSError:
        pass  # its row says why
    return True


def row(reader: Reader, file: Path, *, force: bool = False, full: bool = False) -> Row:
    """A file's row by column, with its refusal where it was refused."""
    try:
        reading = reader.predict(file, force=force, full=full)
    except CodedError as error:
        return {"image": str(file), "error": str(error.code), "detail": error.detail}
    return {"image": str(file), **_findings(reading), **_attributes(reading)}


def _findings(reading: Reading) -> Row:
    return {
        **{one.finding: f"{one.probability:.6f}" for one in reading.findings},
        **{f"{one.finding}_verdict": str(one.verdict) for one in reading.findings},
        **{f"{one.finding}_disagreement": f"{one.disagreement:.6f}" for one in reading.findings},
        "networks": str(len(reading.backbones)),
    }


def _attributes(reading: Reading) -> Row:
    told = reading.dicom_attributes
    warnings = "; ".join(f"{warning.code}: {warning.detail}" for warning in reading.warnings)
    if told is None:
        return {"warnings": warnings}
    return {
        "warnings": warnings,
        "view": told.view_position or "",
        "study_instance_uid": told.study_instance_uid or "",
        "sop_instance_uid": told.sop_instance_uid or "",
    }


def _each(work: Callable[[Path], Row], files: list[Path]) -> Iterator[Row]:
    """`work` of every file, in order, on all cores; few are begun ahead, so that memory does not grow with the folder."""
    cores = len(os.sched_getaffinity(0))
    rest = iter(files)
    with ThreadPoolExecutor(cores) as pool:
        begun: list[Future[Row]] = [pool.submit(work, file) for file in islice(rest, 2 * cores)]
        while begun:
            yield begun.pop(0).result()
            begun += [pool.submit(work, file) for file in islice(rest, 1)]
