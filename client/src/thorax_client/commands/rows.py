"""What `thorax analyze` says of one file: a row of the CSV, a line of JSON, a line for people."""

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Self

from click import format_filename
from msgspec.json import encode

from thorax_client.errors import JobFailedError, ProblemError, ThoraxError
from thorax_client.models import FINDINGS, Job

COLUMNS = (
    *("image", *FINDINGS),
    *(f"{finding}_verdict" for finding in FINDINGS),
    *(f"{finding}_disagreement" for finding in FINDINGS),
    *("view", "study_instance_uid", "sop_instance_uid", "warnings", "error", "detail"),
    *("job", "bundle", "networks"),
)
_TEXT: Any = {"encoding": "utf-8", "errors": "surrogateescape", "newline": ""}
"""How the CSV is opened: a file's name that is not UTF-8 stands in it byte for byte."""


@dataclass(frozen=True)
class Outcome:
    """A file and its job, or the error that took its place."""

    path: Path
    job: Job | None = None
    error: ThoraxError | None = None

    @property
    def code(self) -> str:
        """The stable code of what failed; empty after success."""
        if isinstance(self.error, ProblemError | JobFailedError):
            return self.error.code
        return type(self.error).__name__ if self.error else ""

    def row(self) -> dict[str, str]:
        """The CSV's columns, those of `thorax predict`, and the job and its bundle."""
        if self.job is None:
            return {"image": str(self.path), "error": self.code, "detail": str(self.error)}
        image, row = self.job.images[0], {"image": str(self.path), "job": str(self.job.id)}
        for found in self.job.findings:
            row[found.finding] = f"{found.probability:.6f}"
            row[f"{found.finding}_verdict"] = found.verdict
            row[f"{found.finding}_disagreement"] = f"{found.disagreement:.6f}"
        return {
            **row,
            "view": image.view_position or "",
            "study_instance_uid": self.job.study.study_instance_uid or "",
            "sop_instance_uid": image.sop_instance_uid or "",
            "warnings": "; ".join(f"{warning.code}: {warning.detail}" for warning in image.warnings),
            "bundle": self.job.bundle.digest,
            "networks": str(len(image.ran)) if image.ran else "",
        }

    def as_json(self) -> str:
        """One line: the whole job, or the error."""
        said = {"job": self.job} if self.job else {"error": self.code, "detail": str(self.error)}
        return encode({"image": format_filename(self.path), **said}).decode()

    def line(self) -> str:
        """One line for people."""
        path = format_filename(self.path)
        if self.job is None:
            return f"{path}: {self.error}"
        if not self.job.findings:
            return f"{path}: job {self.job.id}, {self.job.state}"
        told = [f for f in self.job.findings if f.verdict != "unlikely"]
        said = ", ".join(f"{f.label} {f.verdict} ({f.probability:.0%})" for f in told)
        return f"{path}: {said or 'no finding is likely or uncertain'}"


def done(path: Path, *, sent: bool = False) -> list[dict[str, str]]:
    """The rows of an earlier run's CSV that have a result; with `sent` all that have a job, as `--no-wait` leaves them.

    OSError; ValueError if the file is another CSV.
    """
    if not path.is_file():
        return []
    with path.open(**_TEXT) as file:
        rows = csv.DictReader(file)
        if rows.fieldnames and not {"image", "job"} <= set(rows.fieldnames) <= set(COLUMNS):
            raise ValueError(f"{path} is not a CSV of `thorax analyze`.")
        return [row for row in rows if row["job"] and (sent or row[FINDINGS[0]])]


class Table:
    """A CSV that grows by a row at a time, each written through, so that a later run can go on after it. A context manager.

    It begins with `kept`, rows of an earlier run: what failed then is tried again, and has one row in the end.
    """

    def __init__(self, path: Path, kept: Iterable[dict[str, str]]) -> None:
        known = path.is_file()
        if known:
            part = path.with_name(f"{path.name}.part")
            with part.open("w", **_TEXT) as file:
                _writer(file, begin=True).writerows(kept)
            part.replace(path)
        self._file = path.open("a", **_TEXT)
        self._writer = _writer(self._file, begin=not known)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def add(self, outcome: Outcome) -> None:
        """Write a file's row."""
        self._writer.writerow(outcome.row())
        self._file.flush()


def _writer(file: IO[str], *, begin: bool) -> "csv.DictWriter[str]":
    writer = csv.DictWriter(file, COLUMNS, restval="", lineterminator="\n")
    if begin:
        writer.writeheader()
    return writer
