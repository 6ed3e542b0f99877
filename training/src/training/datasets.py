"""Reads labelled sets (CheXpert, ChestX-ray14, a plain CSV) into one table. numpy alone, no image is opened."""

import csv
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from thorax.findings import FINDINGS, Finding

Row = dict[str, str]
UNCERTAIN = -1.0

POLICIES: dict[str, dict[Finding, float]] = {
    "u-ones": dict.fromkeys(FINDINGS, 1.0),
    "u-zeros": dict.fromkeys(FINDINGS, 0.0),
    "u-ignore": dict.fromkeys(FINDINGS, float("nan")),
    "original": {f: float(f in (Finding.ATELECTASIS, Finding.EDEMA)) for f in FINDINGS},
}
"""What an uncertain label (-1) becomes (Irvin et al. 2019, arXiv 1901.07031, section 3); NaN is left out."""


class DataError(ValueError):
    """A labelled set that can't be used: one sentence that names the file and what was expected."""


@dataclass(frozen=True)
class Table:
    """Labelled images. `labels` is float32 [N, 5]: 1 present, 0 absent, NaN left out of loss and figures."""

    source: Path
    images: tuple[str, ...]
    patients: tuple[str, ...]
    labels: NDArray[np.float32]
    columns: dict[str, tuple[str, ...]]

    def __len__(self) -> int:
        return len(self.images)

    def take(self, rows: NDArray[np.bool_] | NDArray[np.int64]) -> "Table":
        """The rows of a mask or of indices, in their order."""
        chosen = np.arange(len(self))[rows]
        return Table(
            self.source,
            tuple(self.images[i] for i in chosen),
            tuple(self.patients[i] for i in chosen),
            self.labels[chosen],
            {name: tuple(values[i] for i in chosen) for name, values in self.columns.items()},
        )

    def one_sided(self) -> dict[Finding, str]:
        """What can't be measured and why: the findings without a label, and those only present or only absent."""
        found = {}
        for finding, column in zip(FINDINGS, self.labels.T, strict=True):
            kinds = set(np.unique(column[~np.isnan(column)]).tolist())
            if not kinds:
                found[finding] = f"{self.source}: {finding} has no label; expected a column of 0 and 1."
            elif len(kinds) == 1:
                found[finding] = f"{self.source}: {finding} has one class only; expected both 0 and 1."
        return found

    def require_both_classes(self) -> None:
        """DataError if some finding is one-sided: no AUC, and nothing to learn from."""
        for sentence in self.one_sided().values():
            raise DataError(sentence)


def read_table(path: Path, policy: str = "original", *, partial: bool = False) -> Table:
    """Read a CSV whose columns tell its kind; blank labels are 0. DataError names what is wrong with it.

    With `partial` a plain table may lack findings (not all): their labels are NaN.
    """
    rows, header = _rows(path)
    for wanted, read in _KINDS:
        if wanted <= header:
            return read(path, rows, policy)
    if partial and "image" in header and header.intersection(FINDINGS):
        return _plain(path, rows, policy)
    expected = "image, " + ", ".join(FINDINGS)
    missing = [c for c in expected.split(", ") if c not in header]
    raise DataError(f"{path}: expected the columns {expected}; missing are {', '.join(missing)}.")


def check_patients(parts: dict[str, Table]) -> None:
    """DataError if a patient stands in two parts of a split that came ready-made."""
    seen: dict[str, str] = {}
    for part, table in parts.items():
        for patient in set(table.patients):
            if seen.setdefault(patient, part) != part:
                raise DataError(
                    f"{table.source}: patient {patient} is in {seen[patient]} and in {part}; expected one part."
                )


def _rows(path: Path) -> tuple[list[Row], set[str]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            rows = list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: expected a readable CSV file; {error}.") from error
    if not rows:
        raise DataError(f"{path}: expected at least one row below the header; found none.")
    return rows, set(reader.fieldnames or ())


def _plain(path: Path, rows: list[Row], policy: str) -> Table:
    labels = [
        [_label(path, i, f, row[f], policy) if f in row else float("nan") for f in FINDINGS]
        for i, row in enumerate(rows, 2)
    ]
    patients = [row.get("patient_id") or row["image"] for row in rows]
    extra: list[str] = [
        name for name in ("view", "source", "native_px", "age", "sex", "nih_labels") if name in rows[0]
    ]
    columns = {name: tuple(row[name] or "" for row in rows) for name in extra}
    images = tuple(row["image"] for row in rows)
    if not all(images):
        raise DataError(f"{path}, line {images.index('') + 2}: expected the name of an image; found none.")
    return Table(path, images, tuple(patients), np.array(labels, np.float32), columns)


def _chexpert(path: Path, rows: list[Row], policy: str) -> Table:
    """Paths are `CheXpert-v1.0-small/train/patient00001/study1/view1_frontal.jpg`; laterals are left out."""
    frontal = [row for row in rows if row["Frontal/Lateral"] == "Frontal"]
    if not frontal:
        raise DataError(f"{path}: expected frontal views; found {len(rows)} others.")
    for row in frontal:
        row["image"], row["view"] = row["Path"], row.get("AP/PA", "")
        row["patient_id"] = next((part for part in row["Path"].split("/") if part.startswith("patient")), "")
        row.update({f: row[f.label] for f in FINDINGS})
    return _plain(path, frontal, policy)


def _chest_xray14(path: Path, rows: list[Row], policy: str) -> Table:
    """`Data_Entry_2017.csv`; the names of findings stand in one column, parted by `|`."""
    for row in rows:
        named = row["Finding Labels"].split("|")
        row["image"], row["patient_id"] = row["Image Index"], row["Patient ID"]
        row["view"] = row.get("View Position", "")
        row.update({f: str(int(_NIH_NAMES.get(f, f.label) in named)) for f in FINDINGS})
    return _plain(path, rows, policy)


def _label(path: Path, line: int, finding: Finding, text: str | None, policy: str) -> float:
    try:
        value = float(text) if text and text.strip() else 0.0
    except ValueError:
        value = float("inf")
    if value == UNCERTAIN:
        return POLICIES[policy][finding]
    if value not in (0.0, 1.0):
        raise DataError(f"{path}, line {line}: {finding} is {text!r}; expected -1, 0, 1 or blank.")
    return value


def _soft(path: Path, line: int, finding: Finding, text: str | None) -> float:
    try:
        value = float(text or "")
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise DataError(f"{path}, line {line}: {finding} is {text!r}; expected a probability.")
    return value


_NIH_NAMES = {Finding.PLEURAL_EFFUSION: "Effusion"}
_KINDS: list[tuple[set[str], Callable[[Path, list[Row], str], Table]]] = [
    ({"image", *FINDINGS}, _plain),
    ({"Path", "Frontal/Lateral", *(f.label for f in FINDINGS)}, _chexpert),
    ({"Image Index", "Finding Labels", "Patient ID"}, _chest_xray14),
]


def read_soft_labels(path: Path, table: Table) -> NDArray[np.float32]:
    """Another network's probabilities from a CSV with `image` and the five, [N, 5]; NaN where it has none."""
    rows, header = _rows(path)
    missing = [name for name in ("image", *FINDINGS) if name not in header]
    if missing:
        raise DataError(f"{path}: expected the columns image, {', '.join(FINDINGS)}; missing {missing[0]}.")
    known = {row["image"]: [_soft(path, i, f, row[f]) for f in FINDINGS] for i, row in enumerate(rows, 2)}
    unknown = [float("nan")] * len(FINDINGS)
    return np.array([known.get(image, unknown) for image in table.images], np.float32)
