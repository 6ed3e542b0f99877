"""The attributes of a DICOM file that the platform keeps, and whether they rule a frontal chest out.

Never a patient's name or birth date: they are not read at all. The patient's id leaves the sandbox only as a digest,
which is keyed before it is kept (the database function `remember_patient`).
"""

import hashlib
import re
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

from thorax.errors import Code, CodedError

if TYPE_CHECKING:
    from pydicom import Dataset

_UID = re.compile(r"(0|[1-9]\d*)(\.(0|[1-9]\d*))+")
_CODE_STRING = re.compile(r"[A-Z0-9 _-]{1,16}")

MODALITIES = frozenset({"CR", "DX", "RG", "XR", "OT", "SC"})
STORAGE = "1.2.840.10008.5.1.4.1.1."
SOP_CLASSES = frozenset(
    STORAGE + leaf
    for leaf in ("1", "1.1", "1.1.1", "7", "7.1", "7.2", "7.3", "7.4")  # CR, DX (both), secondary capture
)
# View Position of lateral views (PS3.3 C.8.1.1, C.8.11.5), which the networks were never shown. Decubitus are frontal.
LATERAL = frozenset({"LL", "RL", "LAT", "LATERAL"})
# Body parts of PS3.16 annex L, and their plain spellings, that are not and do not contain the chest.
NO_CHEST = frozenset(
    """ABDOMEN ABDOMENPELVIS PELVIS HIP HEAD SKULL FACE SINUS ORBIT JAW MANDIBLE MAXILLA TOOTH TEETH NOSE EAR EYE
    BRAIN NECK CSPINE CERVICAL LSPINE LUMBAR SSPINE SACRUM COCCYX LSSPINE CTSPINE TLSPINE EXTREMITY ARM UPPERARM
    HUMERUS ELBOW FOREARM RADIUS ULNA WRIST HAND FINGER THUMB SHOULDER SCAPULA LEG THIGH FEMUR KNEE PATELLA
    LOWERLEG TIBIA FIBULA TIBFIB ANKLE FOOT CALCANEUS HEEL TOE BREAST BLADDER KIDNEY LIVER UTERUS PROSTATE
    LOWERLIMB UPPERLIMB LOWEREXTREMITY UPPEREXTREMITY""".split()  # noqa: SIM905
)

# Patient IDs of anonymised files. They stand for many patients, so no patient is recorded.
NOBODY = frozenset(
    {"", "ANON", "ANONYMOUS", "ANONYMIZED", "ANONYMISED", "UNKNOWN", "NONE", "NA", "NULL", "TEST"}
)


@dataclass(frozen=True)
class DicomAttributes:
    """One DICOM image's attributes; a missing or invalid value is None.

    `study_date`: ISO 8601. `patient`: sha256 (hex) over the patient's id and who issued it.
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
    )


def refuse_no_chest(attributes: DicomAttributes) -> None:
    """Raise NOT_A_CHEST or NOT_FRONTAL where the file says so. A missing or unknown value is accepted."""
    if attributes.modality and attributes.modality not in MODALITIES:
        raise CodedError(
            Code.NOT_A_CHEST, f"The DICOM header's modality is {attributes.modality}, not CR or DX."
        )
    sop_class = attributes.sop_class_uid or ""
    if sop_class.startswith(STORAGE) and sop_class not in SOP_CLASSES:
        raise CodedError(Code.NOT_A_CHEST, f"The DICOM header's SOP class {sop_class} is not a radiograph's.")
    if attributes.view_position in LATERAL:
        raise CodedError(
            Code.NOT_FRONTAL, f"The DICOM header names a lateral view: {attributes.view_position}."
        )
    if re.sub("[^A-Z]", "", attributes.body_part or "") in NO_CHEST:
        raise CodedError(
            Code.NOT_A_CHEST, f"The DICOM header names another body part: {attributes.body_part}."
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
    """Patient ID and Issuer of Patient ID (PS3.3 C.2.2) as one digest; a backslash can't occur in either."""
    number, issuer = (str(ds.get(name) or "").strip("\0 ") for name in ("PatientID", "IssuerOfPatientID"))
    if re.sub("[^A-Z0-9]", "", number.upper()).strip("0") in NOBODY:
        return None
    return hashlib.sha256(f"{issuer}\\{number}".encode()).hexdigest()


def _code(value: object) -> str | None:
    text = str(value or "").strip().upper()
    return text if _CODE_STRING.fullmatch(text) else None
