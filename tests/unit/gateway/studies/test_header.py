"""The identifiers of DICOM files as they come: every transfer syntax, sequences before the UIDs, and hostile bytes."""

import struct
import zlib
from io import BytesIO

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import Dataset, dcmread, dcmwrite
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)
from tests.factories.images import chest_dicom

from gateway.studies.header import Identifiers, identify
from thorax.errors import CodedError
from thorax.patients import patient_digest

IDS = ("1.2.840.10008.5.1.4.1.1.1", "1.2.3.4.3.256.1", "1.2.3.4.1")


def sequences(depth: int) -> list[Dataset]:
    inner = Dataset()
    inner.StudyInstanceUID = "9.9.9"  # of another study: what lies in a sequence is not the image's own
    inner.CodeValue = "x"
    if depth:
        inner.ReferencedStudySequence = sequences(depth - 1)
    return [inner, inner]


def written(syntax: str, *, undefined: bool) -> bytes:
    data = dcmread(BytesIO(chest_dicom(1)))
    data.file_meta.TransferSyntaxUID = syntax
    data.ReferencedStudySequence = sequences(3)
    data.ReferencedStudySequence.is_undefined_length = undefined
    data.ProcedureCodeSequence = sequences(0)
    if undefined:
        for item in data.ReferencedStudySequence:
            item.is_undefined_length_sequence_item = True
    out = BytesIO()
    data.PixelData = data.PixelData[:1024]
    dcmwrite(
        out, data, implicit_vr=syntax == ImplicitVRLittleEndian, little_endian=syntax != ExplicitVRBigEndian
    )
    return out.getvalue()


@pytest.mark.parametrize("undefined", [False, True])
@pytest.mark.parametrize(
    "syntax",
    [ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian],
)
def test_every_encoding_is_read(syntax: str, undefined: bool) -> None:
    patient = patient_digest("SYNTHETIC-1", "")
    assert identify(written(syntax, undefined=undefined)) == Identifiers(*IDS, syntax, patient)


def test_an_unknown_of_undefined_length_is_implicit_within() -> None:
    file = written(ExplicitVRLittleEndian, undefined=False)
    at = file.index(struct.pack("<HH", 0x0008, 0x1032))
    inner = struct.pack("<HHI", 0xFFFE, 0xE000, 12) + struct.pack("<HHI", 0x0008, 0x0100, 4) + b"x \0\0"
    unknown = struct.pack("<HH", 0x0008, 0x1030) + b"UN\0\0\xff\xff\xff\xff" + inner
    unknown += struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)
    found = identify(file[:at] + unknown + file[at:])
    assert (found.sop_class, found.sop_instance, found.study) == IDS


@pytest.mark.parametrize("nobody", [None, "", "ANONYMOUS", "000"])
def test_an_id_shared_by_many_patients_is_ignored(nobody: str | None) -> None:
    assert identify(chest_dicom(PatientID=nobody)).patient is None
    issued = (identify(chest_dicom(PatientID="7", IssuerOfPatientID=who)).patient for who in ("A", "B"))
    assert len(set(issued)) == 2


def test_a_deflated_bomb_is_inflated_no_further_than_the_head() -> None:
    packer = zlib.compressobj(9, wbits=-15)
    element = struct.pack("<HH", 0x0008, 0x0001) + b"UT\0\0\xf0\xff\xff\xff"
    bomb = packer.compress(element + bytes(200_000_000)) + packer.flush()
    meta = bytes(128) + b"DICM" + struct.pack("<HH", 0x0002, 0x0010) + b"UI" + struct.pack("<H", 22)
    with pytest.raises(CodedError, match="lacks"):
        identify(meta + b"1.2.840.10008.1.2.1.99" + bomb)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        bytes(132),
        bytes(128) + b"DICM",
        chest_dicom(1)[:300],
        chest_dicom(1).replace(b"1.2.3.4.3", b"../../etc"),
        chest_dicom(1).replace(b"1.2.3.4.1", b"1.2.03..1"),
        chest_dicom(StudyInstanceUID=None),
    ],
)
def test_a_file_without_identifiers_is_refused(data: bytes) -> None:
    with pytest.raises(CodedError):
        identify(data)


@settings(max_examples=300, deadline=1000, derandomize=True)
@given(st.binary(max_size=400))
def test_any_bytes_get_an_answer(data: bytes) -> None:
    for syntax in (
        b"1.2.840.10008.1.2.1\0",
        b"1.2.840.10008.1.2\0",
        b"1.2.840.10008.1.2.1.99",
        b"1.2.840.10008.1.2.2\0",
    ):
        meta = struct.pack("<HH", 0x0002, 0x0010) + b"UI" + struct.pack("<H", len(syntax)) + syntax
        with pytest.raises(CodedError):
            identify(bytes(128) + b"DICM" + meta + data)
