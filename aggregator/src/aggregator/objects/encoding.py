"""Explicit VR Little Endian (PS3.5, 7.1.2), as pydicom writes it, in a fraction of its time for what a report is made of:
short texts and items in items. Every other element is left to pydicom."""

from struct import pack

from pydicom import DataElement, Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import correct_ambiguous_vr_element, write_data_element
from pydicom.valuerep import EXPLICIT_VR_LENGTH_32

_PAD = {**dict.fromkeys(("CS", "LO", "LT", "SH", "ST", "UC", "UR", "UT"), b" "), "UI": b"\0"}
"""What fills a text up to an even length, by VR (PS3.5, 6.2)."""
_CHARACTER_SET = 0x00080005
_LONGEST = 0xFFFF


def encode(dataset: Dataset, character_set: str | list[str] = "iso8859") -> bytes:
    """The elements of a data set in their order. `character_set`: of that around it, unless it names its own."""
    if _CHARACTER_SET in dataset:
        character_set = dataset[_CHARACTER_SET].value or character_set
    return b"".join([_element(dataset, dataset[tag], character_set) for tag in sorted(dataset.keys())])


def _element(dataset: Dataset, element: DataElement, character_set: str | list[str]) -> bytes:
    vr, value = element.VR, element.value
    if vr in _PAD and isinstance(value, str) and value.isascii() and len(value) < _LONGEST:
        body = value.encode()
        body += _PAD[vr] * (len(body) % 2)
    elif vr == "SQ" and not _ends_by_delimiters(element):
        items = [encode(item, character_set) for item in value]
        body = b"".join([pack("<HHI", 0xFFFE, 0xE000, len(item)) + item for item in items])
    elif vr in ("OB", "OW") and isinstance(value, bytes) and not element.is_undefined_length:
        body = value + bytes(len(value) % 2)
    else:
        return _by_pydicom(dataset, element, character_set)
    group, number = divmod(element.tag, 0x10000)
    if vr in EXPLICIT_VR_LENGTH_32:
        return pack("<HH2sHI", group, number, vr.encode(), 0, len(body)) + body
    return pack("<HH2sH", group, number, vr.encode(), len(body)) + body


def _ends_by_delimiters(sequence: DataElement) -> bool:
    """Whether the file that a sequence is from gave no length (PS3.5, 7.5); pydicom keeps that."""
    return sequence.is_undefined_length or any(
        item.is_undefined_length_sequence_item for item in sequence.value
    )


def _by_pydicom(dataset: Dataset, element: DataElement, character_set: str | list[str]) -> bytes:
    file = DicomBytesIO()
    file.is_implicit_VR, file.is_little_endian = False, True
    write_data_element(file, correct_ambiguous_vr_element(element, dataset, True), character_set)
    return file.getvalue()
