"""The identifiers of DICOM files as they come: every transfer syntax, sequences before the UIDs, and hostile bytes."""

import struct
import tracemalloc
import zlib
from io import BytesIO
from random import Random
from time import thread_time

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

from gateway.studies.header import HEAD_BYTES, Identifiers, identify, is_uid
from thorax.errors import CodedError
from thorax.patients import patient_digest

IDS = ("1.2.840.10008.5.1.4.1.1.1", "1.2.3.4.3.256.1", "1.2.3.4.1")
REST = ("1.2.3.4.2", "CR")


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


def without_meta(file: bytes) -> bytes:
    return file[144 + int.from_bytes(file[140:144], "little") :]


@pytest.mark.parametrize("undefined", [False, True])
@pytest.mark.parametrize(
    "syntax",
    [ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian],
)
def test_every_encoding_is_read(syntax: str, undefined: bool) -> None:
    patient = patient_digest("SYNTHETIC-1", "")
    assert identify(written(syntax, undefined=undefined)) == Identifiers(*IDS, syntax, patient, *REST)


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
    bomb = packer.compress(element + bytes(20_000_000)) + packer.flush()
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
        without_meta(chest_dicom(SOPClassUID=None)),
        without_meta(chest_dicom(SOPInstanceUID=None)),
        bytes(128) + b"DICM" + chest_dicom(1)[150:],
    ],
)
def test_a_file_without_identifiers_is_refused(data: bytes) -> None:
    with pytest.raises(CodedError):
        identify(data)


ITEM, ITEM_END, END = (
    struct.pack("<HHI", 0xFFFE, e, n) for e, n in ((0xE000, 0xFFFFFFFF), (0xE00D, 0), (0xE0DD, 0))
)
CODE = struct.pack("<HH2sH", 0x0008, 0x0100, b"SH", 2) + b"X "
OPEN = struct.pack("<HH", 0x0008, 0x1032) + b"SQ\0\0\xff\xff\xff\xff"


def before_the_patient(damage: bytes, **elements: str | None) -> bytes:
    file = chest_dicom(1, 16, **elements)
    at = file.index(struct.pack("<HH", 0x0010, 0x0020))
    return file[:at] + damage + file[at:]


@pytest.mark.parametrize(
    "damage",
    [
        OPEN + ITEM + CODE + ITEM_END,
        OPEN + ITEM[:4] + struct.pack("<I", len(CODE)) + CODE,
        OPEN,
        OPEN + ITEM + OPEN + ITEM + CODE + ITEM_END + ITEM_END,
        END,
        OPEN + ITEM + CODE + ITEM_END + END + END,
        ITEM_END,
        struct.pack("<HHI", 0x0008, 0x1030, 4) + b"abcd",
    ],
    ids=[
        "sequence delimiter missing",
        "the same after an item of known length",
        "the same without an item",
        "two of them missing",
        "a delimiter of nothing",
        "a second delimiter",
        "an item delimiter of nothing",
        "an element without VR",
    ],
)
def test_damaged_sequences_hide_no_identifier(damage: bytes) -> None:
    found = identify(before_the_patient(damage))
    assert (found.sop_instance, found.study) == ("1.2.3.4.3.16.1", "1.2.3.4.1")
    assert found.patient is not None


@pytest.mark.parametrize(
    "file",
    [
        before_the_patient(OPEN + ITEM + CODE),  # what follows may be the item's
        chest_dicom(1, 16, StudyInstanceUID=None),
        chest_dicom(1, 16, StudyInstanceUID="1.2.03..1"),
    ],
)
def test_without_its_study_an_instance_is_a_study_of_its_own(file: bytes) -> None:
    assert identify(file).study == identify(file).sop_instance == "1.2.3.4.3.16.1"
    assert identify(file, "1.2.3").study == "1.2.3"


def test_the_file_meta_information_names_what_the_data_set_does_not() -> None:
    found = identify(chest_dicom(1, 16, SOPInstanceUID=None, SOPClassUID=None))
    assert (found.sop_class, found.sop_instance, found.study) == (IDS[0], "1.2.3.4.3", "1.2.3.4.1")


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRLittleEndian])
def test_without_file_meta_information_the_encoding_is_seen(syntax: str) -> None:
    file = written(syntax, undefined=True)
    body = without_meta(file)
    assert identify(body) == identify(file[:132] + body) == identify(file)


def mangled(file: bytes, random: Random) -> bytes:
    """A file with some of: lengths out of all bounds, runs of bytes copied, lost or overwritten, a deep nest, a cut."""
    data = bytearray(file)
    for _ in range(random.randint(1, 6)):
        at = random.randrange(132, max(len(data), 133))
        match random.randrange(5):
            case 0:
                data[at : at + 4] = random.choice(
                    [b"\xff\xff\xff\xff", b"\xfe\xff\xff\xff", b"\xff\xff\xff\x7f", bytes(4)]
                )
            case 1:
                data[at:at] = random.choice([OPEN, ITEM, ITEM_END, END, OPEN + ITEM]) * random.choice(
                    [1, 2, 5000]
                )
            case 2:
                data[at : at + random.randrange(1, 9)] = random.randbytes(random.randrange(9))
            case 3:
                data[at:at] = data[132:at]
            case _:
                del data[at + random.randrange(64) :]
    return bytes(data)


@pytest.mark.slow
def test_ten_thousand_damaged_headers_take_no_time_and_end_in_an_answer() -> None:
    random, refused, slowest = Random(11), 0, 0.0
    files = [
        written(syntax, undefined=True)[:2048]
        for syntax in (
            ImplicitVRLittleEndian,
            ExplicitVRLittleEndian,
            ExplicitVRBigEndian,
            DeflatedExplicitVRLittleEndian,
        )
    ]
    for number in range(10_000):
        data = mangled(files[number % 4], random)
        began = thread_time()
        try:
            found = identify(data[:HEAD_BYTES])
            assert all(map(is_uid, (found.sop_class, found.sop_instance, found.study)))
        except CodedError:
            refused += 1
        slowest = max(slowest, thread_time() - began)
    assert 1000 < refused < 9000
    assert slowest < 0.5


@pytest.mark.parametrize("piece", [OPEN + ITEM, OPEN, ITEM_END, END, CODE, CODE[:4] + b"\0\0\0\0"])
def test_the_costliest_head_takes_little_time_and_memory(piece: bytes) -> None:
    file = chest_dicom(1, 16, SOPInstanceUID=None)
    meta = file.removesuffix(without_meta(file)).replace(struct.pack("<HH", 2, 3), struct.pack("<HH", 2, 4))
    head = meta + CODE + piece * (HEAD_BYTES // len(piece))
    began = thread_time()
    with pytest.raises(CodedError):
        identify(head[:HEAD_BYTES])
    assert thread_time() - began < 0.5
    tracemalloc.start()
    with pytest.raises(CodedError):
        identify(head[:HEAD_BYTES])
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 4_000_000


@settings(max_examples=300, deadline=None, derandomize=True)
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
