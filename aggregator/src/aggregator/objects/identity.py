"""Who made an object, when, and its UIDs: the same content has the same UID, other content another.

A receiver that has a SOP Instance UID already may keep its first bytes and say success, so a UID must not be used for
two contents. It is made of the content's digest, under the root for UUIDs (PS3.5, B.2), which nobody has to register.
"""

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from io import BytesIO
from uuid import UUID

from highdicom.base import SOPClass
from pydicom import Dataset, config
from pydicom.tag import Tag
from pydicom.uid import UID

from aggregator.objects.answer import Answer
from aggregator.objects.encoding import encode
from aggregator.objects.source import take_over
from thorax.pacs import OWN_MANUFACTURER
from thorax.version import VERSION

MODEL_NAME = "Thorax"
NOT_FOR_DIAGNOSIS = "NOT FOR DIAGNOSTIC USE"
UNSEALED = UID("2.25.0")
"""Stands for the SOP Instance UID until the content is complete."""


def uid_of(*content: str | bytes) -> UID:
    """A UID that depends on this content only."""
    digest = hashlib.sha256()
    for part in content:
        data = part.encode() if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8, "big"))
        digest.update(data)
    return UID(f"2.25.{UUID(bytes=digest.digest()[:16], version=5).int}")


def series_uid(answer: Answer, kind: str) -> UID:
    """The series of one kind of objects (SR, SC or PR) of an answer."""
    study = str(answer.images[0].source.StudyInstanceUID)
    return uid_of(kind, study, answer.digest, answer.ready_at.isoformat())


@dataclass(frozen=True)
class Sealed:
    """An object that is complete, and its DICOM file (PS3.10)."""

    dataset: SOPClass
    file: bytes


def seal(made: SOPClass, answer: Answer, header: Dataset) -> Sealed:
    """Complete an object whose content is done: patient and study, equipment, times, and at last its UID."""
    take_over(header, made)
    made.Manufacturer, made.ManufacturerModelName = OWN_MANUFACTURER, MODEL_NAME
    made.DeviceSerialNumber, made.SoftwareVersions = answer.digest[:16], VERSION
    made.SeriesDescription = f"{MODEL_NAME} {made.Modality} - {NOT_FOR_DIAGNOSIS.lower()}"
    if made.Modality != "SR":
        made.Laterality = ""  # of a chest it is unknown, and its place must not be missing (PS3.3 C.7.3.1)
    _date(made, _local(answer.ready_at, str(header.get("TimezoneOffsetFromUTC") or "")))
    made.file_meta.ImplementationVersionName = f"THORAX_{VERSION}"[:16]
    with config.disable_value_validation():
        rest = encode(made[Tag("SOPInstanceUID") + 1 :], made.get("SpecificCharacterSet") or "iso8859")
        made.SOPInstanceUID = made.file_meta.MediaStorageSOPInstanceUID = uid_of(_first(made) + rest)
        return Sealed(made, _first(made) + rest)


def _first(made: SOPClass) -> bytes:
    """The file up to the object's UID, which is all that differs when this is known: the rest is encoded once."""
    first, buffer = made[: Tag("SOPInstanceUID") + 1], BytesIO()
    first.file_meta = made.file_meta
    first.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def _date(made: Dataset, when: datetime) -> None:
    """The library writes the present; an object made again must not differ."""
    date, time = when.strftime("%Y%m%d"), when.strftime("%H%M%S.%f")
    made.SeriesDate, made.SeriesTime = date, time
    for what in ("InstanceCreation", "Content", "PresentationCreation"):
        if f"{what}Date" in made:
            setattr(made, f"{what}Date", date)
            setattr(made, f"{what}Time", time)
    for equipment in made.get("ContributingEquipmentSequence", ()):
        equipment.ContributionDateTime = when.strftime("%Y%m%d%H%M%S.%f%z")
    if "DateOfSecondaryCapture" in made:
        made.DateOfSecondaryCapture, made.TimeOfSecondaryCapture = date, time


def _local(when: datetime, offset: str) -> datetime:
    """The time at Timezone Offset From UTC (0008,0201), `&ZZXX`, in which all times of a data set are; else in UTC."""
    try:
        minutes = int(offset[1:3]) * 60 + int(offset[3:5])
        return when.astimezone(timezone(timedelta(minutes=-minutes if offset[0] == "-" else minutes)))
    except (ValueError, IndexError):
        return when.astimezone(UTC)
