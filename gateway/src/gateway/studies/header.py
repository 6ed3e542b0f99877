"""The few identifiers of a DICOM file that its receipt needs, from its first bytes. No value but these is read.

A reader of our own, since pydicom would inflate, recurse into and convert a stranger's data set at the door: it steps
over elements by their length, never recurses, and looks at no byte beyond the head that it is given.
"""

import re
import struct
import zlib
from dataclasses import dataclass

from thorax.errors import CodedError
from thorax.image_headers import unreadable
from thorax.patients import patient_digest

HEAD_BYTES = 512 * 1024
IMPLICIT_LITTLE, DEFLATED = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1.99"
EXPLICIT_BIG = "1.2.840.10008.1.2.2"

_UID = re.compile(r"(0|[1-9]\d*)(\.(0|[1-9]\d*))+")  # PS3.5, 9.1
_LONG = frozenset({b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"})
_UNDEFINED = 0xFFFFFFFF
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_TRANSFER_SYNTAX = 0x00020010
_UIDS = {0x00080016: "sop_class", 0x00080018: "sop_instance", 0x0020000D: "study"}
_PATIENT_ID, _ISSUER = 0x00100020, 0x00100021
_WANTED = {*_UIDS, _PATIENT_ID, _ISSUER}
_LONGEST = 256  # bytes of a value: 64 characters (PS3.5, 6.2)


@dataclass(frozen=True)
class Identifiers:
    """UIDs of one instance; `patient`: a digest that tells patients apart, None if the file names none."""

    sop_class: str
    sop_instance: str
    study: str
    transfer_syntax: str
    patient: str | None = None


def identify(head: bytes) -> Identifiers:
    """The identifiers of a DICOM file (PS3.10, 7.1) by its first `HEAD_BYTES`.

    Raises CodedError(UNREADABLE_IMAGE) where one is missing or is not a UID.
    """
    if head[128:132] != b"DICM":
        raise unreadable("The data is not a DICOM file.")
    try:
        meta, at = _elements(head, 132, "", {_TRANSFER_SYNTAX}, last=0x0002FFFF)
        syntax = _uid(meta[_TRANSFER_SYNTAX]) if meta else IMPLICIT_LITTLE
        data = zlib.decompressobj(-15).decompress(head[at:], HEAD_BYTES) if syntax == DEFLATED else head[at:]
        found, _ = _elements(data, 0, syntax, _WANTED, last=max(_WANTED))
    except (struct.error, zlib.error, IndexError):
        raise unreadable("The DICOM header is damaged.") from None
    for tag, name in _UIDS.items():
        if tag not in found:
            raise unreadable(f"The DICOM header lacks the {name.replace('_', ' ')} UID.")
    patient = patient_digest(*(found.get(tag, b"").decode("latin-1") for tag in (_PATIENT_ID, _ISSUER)))
    uids = {name: _uid(found[tag]) for tag, name in _UIDS.items()}
    return Identifiers(**uids, transfer_syntax=syntax, patient=patient)


def identified(head: bytes) -> Identifiers | None:
    """As `identify`; None where that refuses, as workers can read what is damaged more than this reader can."""
    try:
        return identify(head)
    except CodedError:
        return None


def is_uid(text: str) -> bool:
    """Whether `text` is a UID (PS3.5, 9.1)."""
    return len(text) <= 64 and _UID.fullmatch(text) is not None


def _elements(
    data: bytes, at: int, syntax: str, wanted: set[int], *, last: int
) -> tuple[dict[int, bytes], int]:
    """Values of `wanted` elements outside of sequences up to the tag `last`, and where the next element begins.

    Sequences of undefined length are walked through, not into: `open_` holds how each was encoded around it.
    """
    order = ">" if syntax == EXPLICIT_BIG else "<"
    implicit, found, open_ = syntax == IMPLICIT_LITTLE, dict[int, bytes](), list[bool]()
    while at + 8 <= len(data):
        tag, length, value, unknown = _element(data, at, order, implicit)
        if not open_ and tag > last:
            break
        at = value
        if tag == _SEQUENCE_END:
            implicit = open_.pop()
        elif tag in (_ITEM, _ITEM_END):
            continue  # what an item holds is walked through as any element is
        elif length == _UNDEFINED:
            open_.append(implicit)
            implicit = implicit or unknown  # PS3.5, 6.2.2: an UN of undefined length is implicit within
        else:
            if not open_ and tag in wanted:
                found[tag] = data[value : value + min(length, _LONGEST)]
            at += length
    return found, at


def _element(data: bytes, at: int, order: str, implicit: bool) -> tuple[int, int, int, bool]:
    """Tag, length, where the value begins, and whether its VR is UN (PS3.5, 7.1)."""
    group, element = struct.unpack_from(f"{order}HH", data, at)
    tag = group << 16 | element
    if implicit or group == 0xFFFE:
        return tag, struct.unpack_from(f"{order}I", data, at + 4)[0], at + 8, False
    vr = data[at + 4 : at + 6]
    if vr in _LONG:
        return tag, struct.unpack_from(f"{order}I", data, at + 8)[0], at + 12, vr == b"UN"
    return tag, struct.unpack_from(f"{order}H", data, at + 6)[0], at + 8, False


def _uid(value: bytes) -> str:
    text = value.decode("ascii", "replace").rstrip("\0 ")
    if not is_uid(text):
        raise unreadable("The DICOM header has a UID that is not one.")
    return text
