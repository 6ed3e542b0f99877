"""The attributes of a DICOM file that the platform keeps.

Never a patient's name or birth date: they are not read at all. The patient's id leaves the sandbox only as a digest,
which is keyed before it is kept (the database function `remember_patient`).
"""

import re
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

from thorax.patients import patient_digest

if TYPE_CHECKING:
    from pydicom import Dataset

_UID = re.compile(r"(0|[1-9]\d*)(\.(0|[1-9]\d*))+")
_CODE_STRING = re.compile(r"[A-Z0-9 _-]{1,16}")


@dataclass(frozen=True)
class DicomAttributes:
    """One DICOM image's attributes; a missing or invalid value is None.

    `study_date`: ISO 8601. `accession`: the Accession Number. `patient`: sha256 (hex) over the patient's id and who issued it.
    """

    study_instance_uid: str | None
    series_instance_uid: str | None
    sop_instance_uid: str | None
    sop_class_uid: str | None
    modality: str | None
    view_position: str | None
    body_part: str | None
    study_date: str | None = None
    patient: str | None = None
    accession: str | None = None


def read_attributes(ds: "Dataset") -> DicomAttributes:
    """Read a data set's attributes; a hostile UID or code string reads as None."""
    return DicomAttributes(
        uid(ds.get("StudyInstanceUID")),
        uid(ds.get("SeriesInstanceUID")),
        uid(ds.get("SOPInstanceUID")),
        uid(ds.get("SOPClassUID")),
        _code(ds.get("Modality")),
        _code(ds.get("ViewPosition")),
        _code(ds.get("BodyPartExamined")),
        iso_date(ds.get("StudyDate")),
        _patient(ds),
        short_string(ds.get("AccessionNumber")),
    )


def uid(value: object) -> str | None:
    """A UID of PS3.5 section 9.1 (dotted numbers, 64 characters at most), else None: some hold paths."""
    text = str(value or "").rstrip("\0 ")
    return text if len(text) <= 64 and _UID.fullmatch(text) else None


def iso_date(value: object) -> str | None:
    """A DA value of PS3.5 table 6.2-1 (YYYYMMDD), or an ISO date, as an ISO date, else None."""
    text = str(value or "").strip()
    try:
        return date.fromisoformat(text).isoformat() if len(text) in (8, 10) else None
    except ValueError:
        return None


def _patient(ds: "Dataset") -> str | None:
    return patient_digest(*(str(ds.get(name) or "") for name in ("PatientID", "IssuerOfPatientID")))


def short_string(value: object) -> str | None:
    """A value of VR SH (PS3.5, 6.2: at most 16 characters); None if it is empty, longer, or not printable."""
    text = str(value or "").strip("\0 ")
    return text if text.isprintable() and "\\" not in text and 0 < len(text) <= 16 else None


def _code(value: object) -> str | None:
    text = str(value or "").strip().upper()
    return text if _CODE_STRING.fullmatch(text) else None
