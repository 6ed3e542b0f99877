"""What a search of QIDO-RS answers for a row: the attributes of study, series and instance (PS3.18, 10.6.3.3), as DICOM JSON."""

import re
from collections.abc import Iterable
from typing import Any, Final

from thorax.errors import Code, CodedError

Values = dict[str, Any]
"""Values by keyword; None where there is none."""

ATTRIBUTES: Final = {
    "SpecificCharacterSet": ("00080005", "CS"),
    "SOPClassUID": ("00080016", "UI"),
    "SOPInstanceUID": ("00080018", "UI"),
    "StudyDate": ("00080020", "DA"),
    "StudyTime": ("00080030", "TM"),
    "AccessionNumber": ("00080050", "SH"),
    "InstanceAvailability": ("00080056", "CS"),
    "Modality": ("00080060", "CS"),
    "ModalitiesInStudy": ("00080061", "CS"),
    "ReferringPhysicianName": ("00080090", "PN"),
    "RetrieveURL": ("00081190", "UR"),
    "AvailableTransferSyntaxUID": ("00083002", "UI"),
    "PatientName": ("00100010", "PN"),
    "PatientID": ("00100020", "LO"),
    "PatientBirthDate": ("00100030", "DA"),
    "PatientSex": ("00100040", "CS"),
    "StudyInstanceUID": ("0020000D", "UI"),
    "SeriesInstanceUID": ("0020000E", "UI"),
    "StudyID": ("00200010", "SH"),
    "SeriesNumber": ("00200011", "IS"),
    "InstanceNumber": ("00200013", "IS"),
    "NumberOfStudyRelatedSeries": ("00201206", "IS"),
    "NumberOfStudyRelatedInstances": ("00201208", "IS"),
    "NumberOfSeriesRelatedInstances": ("00201209", "IS"),
    "Rows": ("00280010", "US"),
    "Columns": ("00280011", "US"),
}
"""Keyword: tag and VR of all that is ever answered."""
_KEYWORDS: Final = {tag: keyword for keyword, (tag, _) in ATTRIBUTES.items()}
_FIELD = re.compile(r"[0-9A-Fa-f]{8}|[A-Za-z]\w{0,63}", re.ASCII)


def fields(values: Iterable[str]) -> frozenset[str]:
    """The keywords that `includefield` names (PS3.18, 8.3.4.3), all of them for `all`; an attribute that is not known here adds nothing.

    Raises CodedError(VALIDATION) for what has the form of neither tag nor keyword: the gateway holds no dictionary of PS3.6.
    """
    named = [name.strip() for value in values for name in value.split(",")]
    paths = [part for name in named for part in name.split(".")]
    if not all(_FIELD.fullmatch(part) for part in paths):
        raise CodedError(Code.VALIDATION, "`includefield` is a keyword, a tag such as 00280010, or `all`.")
    return frozenset(ATTRIBUTES if "all" in named else (_KEYWORDS.get(name.upper(), name) for name in named))


def study(root: str, row: Any) -> Values:
    """A study's (table 10.6.3-3). What is known of a patient is a keyed hash, so that these values are empty."""
    return {
        "SpecificCharacterSet": "ISO_IR 192",
        "StudyDate": row.study_date.strftime("%Y%m%d") if row.study_date else None,
        "StudyTime": None,
        "AccessionNumber": row.accession,
        "InstanceAvailability": "ONLINE",
        "ModalitiesInStudy": row.modalities,
        "ReferringPhysicianName": None,
        "RetrieveURL": f"{root}/studies/{row.study_instance_uid}",
        "PatientName": None,
        "PatientID": None,
        "PatientBirthDate": None,
        "PatientSex": None,
        "StudyInstanceUID": row.study_instance_uid,
        "StudyID": None,
        "NumberOfStudyRelatedSeries": row.study_series,
        "NumberOfStudyRelatedInstances": row.study_instances,
    }


def series(root: str, row: Any) -> Values:
    """A series' (table 10.6.3-4)."""
    return {
        "SpecificCharacterSet": "ISO_IR 192",
        "Modality": row.series_modality,
        "RetrieveURL": f"{root}/studies/{row.study_instance_uid}/series/{row.series_instance_uid}",
        "StudyInstanceUID": row.study_instance_uid,
        "SeriesInstanceUID": row.series_instance_uid,
        "SeriesNumber": None,
        "NumberOfSeriesRelatedInstances": row.series_instances,
    }


def instance(root: str, row: Any) -> Values:
    """An instance's (table 10.6.3-5); its size is known once it is prepared."""
    of_series = f"{root}/studies/{row.study_instance_uid}/series/{row.series_instance_uid}"
    known = {"Rows": row.rows, "Columns": row.columns} if row.rows else {}
    return {
        "SpecificCharacterSet": "ISO_IR 192",
        "SOPClassUID": row.sop_class_uid,
        "SOPInstanceUID": row.sop_instance_uid,
        "InstanceAvailability": "ONLINE",
        "Modality": row.modality,
        "RetrieveURL": f"{of_series}/instances/{row.sop_instance_uid}",
        "AvailableTransferSyntaxUID": row.transfer_syntax,
        "StudyInstanceUID": row.study_instance_uid,
        "SeriesInstanceUID": row.series_instance_uid,
        "InstanceNumber": None,
        **known,
    }


def data_set(values: Values) -> dict[str, Any]:
    """Values as DICOM JSON (PS3.18, F.2), in the order of tags."""
    return {
        ATTRIBUTES[keyword][0]: _element(keyword, values[keyword])
        for keyword in ATTRIBUTES
        if keyword in values
    }


def _element(keyword: str, value: Any) -> dict[str, Any]:
    vr = ATTRIBUTES[keyword][1]
    kept = [one for one in (value if isinstance(value, list) else [value]) if one not in (None, "")]
    return {"vr": vr, "Value": kept} if kept else {"vr": vr}
