"""The few identifiers of a DICOM file that its receipt needs, from its first bytes. No value but these is read.

A reader of our own, since pydicom would inflate, recurse into and convert a stranger's data set at the door: it steps
over elements by their length, never recurses, and looks at no byte beyond the head that it is given.
"""

import re
import struct
from dataclasses import dataclass, field

from thorax.dicom_files import BIG_ENDIAN_GROUP_8, DEFLATED, EXPLICIT_BIG, LONG_VRS, inflated_head
from thorax.errors import CodedError
from thorax.image_headers import unreadable
from thorax.pacs import OWN_MANUFACTURER
from thorax.patients import patient_digest

HEAD_BYTES = 512 * 1024
IMPLICIT_LITTLE, EXPLICIT_LITTLE = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1"

_UID = re.compile(r"(0|[1-9]\d*)(\.(0|[1-9]\d*))+")  # PS3.5, 9.1
_CODE_STRING = re.compile("[A-Z0-9 _]{1,16}")
_UNDEFINED = 0xFFFFFFFF
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_META_CLASS, _META_INSTANCE, _TRANSFER_SYNTAX = 0x00020002, 0x00020003, 0x00020010
_SOP_CLASS, _SOP_INSTANCE, _STUDY, _SERIES = 0x00080016, 0x00080018, 0x0020000D, 0x0020000E
_MODALITY, _PATIENT_ID, _ISSUER = 0x00080060, 0x00100020, 0x00100021
_MANUFACTURER = 0x00080070
_WANTED = {
    _META_CLASS,
    _META_INSTANCE,
    _TRANSFER_SYNTAX,
    _SOP_CLASS,
    _SOP_INSTANCE,
    _STUDY,
    _SERIES,
    _MODALITY,
    _PATIENT_ID,
    _ISSUER,
    _MANUFACTURER,
}
_FIRST_GROUPS = range(0x0008, 0x0029, 2)  # what a data set begins with, up to the image's own description
_MOST_ELEMENTS = 10_000  # those of sequences too: 25 CPU-ms at most
_LONGEST = 256  # bytes of a value: 64 characters (PS3.5, 6.2)


@dataclass(frozen=True)
class Identifiers:
    """UIDs of one instance; `patient`: a digest that tells patients apart, None if the file names none.

    `series` (its UID) and `modality` are None where the header has none that is valid. `says_syntax`: whether the File Meta
    Information (PS3.10, 7.1) names the transfer syntax; without, it was guessed.
    """

    sop_class: str
    sop_instance: str
    study: str
    transfer_syntax: str
    patient: str | None = None
    series: str | None = None
    modality: str | None = None
    says_syntax: bool = field(default=True, compare=False)  # the identity is the same without
    data_at: int = field(default=0, compare=False)  # where the data set begins in the file
    own: bool = False  # made by this platform, as its Manufacturer (0008,0070) says

    def columns(self) -> dict[str, str | None]:
        """What is recorded of an instance at the door, by the names of the table's columns."""
        return {
            "sop_instance_uid": self.sop_instance,
            "sop_class_uid": self.sop_class,
            "series_instance_uid": self.series,
            "modality": self.modality,
            "transfer_syntax": self.transfer_syntax if self.says_syntax else None,
        }


def identify(head: bytes, study: str | None = None) -> Identifiers:
    """The identifiers of a DICOM file (PS3.10, 7.1) by its first `HEAD_BYTES`, with or without File Meta Information.

    Workers read more damage than this reader does, and no file is refused here that they can read. Where the data set
    does not tell, the SOP UIDs are those of the File Meta Information (a C-STORE's command set, as the SCP writes it),
    and the study is `study`, or else one of this instance alone, under its SOP Instance UID: an image is never put into
    a study by a guess. Raises CodedError(UNREADABLE_IMAGE) where nothing names the instance, or no data set begins.
    """
    meta, at = _elements(head, 132 if head[128:132] == b"DICM" else 0, last=0x0002FFFF)
    syntax = _uid(meta, _TRANSFER_SYNTAX)
    data = inflated_head(head[at:], HEAD_BYTES)[0] if syntax == DEFLATED else head[at:]
    big = syntax == EXPLICIT_BIG or data.startswith(BIG_ENDIAN_GROUP_8)
    if int.from_bytes(data[:2], "big" if big else "little") not in _FIRST_GROUPS:
        raise unreadable("The data is not a DICOM file.")
    found, _ = _elements(data, 0, last=_SERIES, order=">" if big else "<")
    sop_class = _uid(found, _SOP_CLASS) or _uid(meta, _META_CLASS)
    sop_instance = _uid(found, _SOP_INSTANCE) or _uid(meta, _META_INSTANCE)
    if not (sop_class and sop_instance):
        raise unreadable(f"The DICOM header lacks the SOP {'instance' if sop_class else 'class'} UID.")
    patient = patient_digest(*(found.get(tag, b"").decode("latin-1") for tag in (_PATIENT_ID, _ISSUER)))
    own_study = _uid(found, _STUDY) or study or sop_instance
    guessed = EXPLICIT_LITTLE if _has_vr(data, 0) else IMPLICIT_LITTLE
    modality = found.get(_MODALITY, b"").decode("ascii", "replace").strip("\0 ")
    return Identifiers(
        sop_class,
        sop_instance,
        own_study,
        syntax or guessed,
        patient,
        _uid(found, _SERIES) or None,
        modality if _CODE_STRING.fullmatch(modality) else None,
        syntax != "",
        at,
        found.get(_MANUFACTURER, b"").strip(b"\0 ").upper() == OWN_MANUFACTURER.encode(),
    )


def identified(head: bytes) -> Identifiers | None:
    """As `identify`; None where that refuses, as workers can read what is damaged more than this reader can."""
    try:
        return identify(head)
    except CodedError:
        return None


def is_uid(text: str) -> bool:
    """Whether `text` is a UID (PS3.5, 9.1)."""
    return len(text) <= 64 and _UID.fullmatch(text) is not None


def _elements(data: bytes, at: int, *, last: int, order: str = "<") -> tuple[dict[int, bytes], int]:
    """Values of `_WANTED` elements outside of sequences up to the tag `last`, and where the next element begins.

    Sequences of undefined length are walked through, not into: `open_` holds how each was encoded around it, and one
    without its delimiter ends where another element than an item follows its last item (PS3.5, 7.5). Whether elements
    have a VR is seen from the first, as by pydicom; and a delimiter outside of a sequence is passed over.
    """
    implicit, found, open_, item_at = not _has_vr(data, at), dict[int, bytes](), list[bool](), -1
    for _ in range(_MOST_ELEMENTS):
        if at + 8 > len(data):
            break
        tag, length, value, unknown = _element(data, at, order, implicit)
        if not open_ and last < tag < _ITEM:
            break
        if open_ and at == item_at and tag not in (_ITEM, _SEQUENCE_END):
            implicit, item_at = open_.pop(), -1
            continue
        at = value
        if tag == _SEQUENCE_END:
            implicit = open_.pop() if open_ else implicit
        elif tag == _ITEM_END:
            item_at = at
        elif length != _UNDEFINED:
            if not open_ and tag in _WANTED:
                found[tag] = data[value : value + min(length, _LONGEST)]
            at += length
            item_at = at if tag == _ITEM else -1
        elif tag != _ITEM:  # what an item of undefined length holds is walked through as any element is
            open_.append(implicit)
            implicit = implicit or unknown  # PS3.5, 6.2.2: an UN of undefined length is implicit within
            item_at = at
    return found, at


def _element(data: bytes, at: int, order: str, implicit: bool) -> tuple[int, int, int, bool]:
    """Tag, length, where the value begins, and whether its VR is UN (PS3.5, 7.1)."""
    group, element = struct.unpack_from(f"{order}HH", data, at)
    tag = group << 16 | element
    if implicit or group == 0xFFFE or not _has_vr(data, at):
        return tag, struct.unpack_from(f"{order}I", data, at + 4)[0], at + 8, False
    vr = data[at + 4 : at + 6]
    if vr in LONG_VRS:
        length = data[at + 8 : at + 12].ljust(4, b"\0")  # the head may end here
        return tag, struct.unpack(f"{order}I", length)[0], at + 12, vr == b"UN"
    return tag, struct.unpack_from(f"{order}H", data, at + 6)[0], at + 8, False


def _has_vr(data: bytes, at: int) -> bool:
    return b"AA" <= data[at + 4 : at + 6] <= b"ZZ"


def _uid(values: dict[int, bytes], tag: int) -> str:
    """A value that is a UID; empty if it is missing, or is not one."""
    text = values.get(tag, b"").decode("ascii", "replace").strip("\0 ")
    return text if is_uid(text) else ""
