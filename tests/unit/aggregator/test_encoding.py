"""Explicit VR Little Endian is written byte for byte as pydicom writes it."""

from collections.abc import Callable
from io import BytesIO

import pytest
from pydicom import Dataset, dcmread
from pydicom.uid import ExplicitVRLittleEndian
from tests.unit.aggregator.test_objects import ANSWERS

from aggregator.objects import objects
from aggregator.objects.answer import Answer
from aggregator.objects.encoding import encode
from aggregator.objects.identity import Sealed


def by_pydicom(dataset: Dataset) -> bytes:
    buffer = BytesIO()
    dataset.save_as(buffer, implicit_vr=False, little_endian=True)
    return buffer.getvalue()


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
def test_an_object_of_ours(answer: Callable[[], Answer]) -> None:
    for made in objects(answer()):
        assert isinstance(made, Sealed)
        buffer = BytesIO()
        made.dataset.save_as(buffer, enforce_file_format=True)
        assert made.file == buffer.getvalue()


def odd() -> Dataset:
    """What a header from elsewhere may have."""
    made, item = Dataset(), Dataset()
    made.SpecificCharacterSet = ["", "ISO 2022 IR 87"]
    made.PatientName = "Yamada^Tarou=山田^太郎=やまだ^たろう"
    made.PatientID, made.AccessionNumber, made.StudyDescription = "odd", "", "Brust §"
    made.OtherPatientNames, made.PatientAge, made.PatientWeight = ["A^B", "C^D"], "042Y", "70.5"
    made.StudyDate, made.StudyTime, made.ReferringPhysicianName = "20261127", None, ""
    made.ImageComments, made.AdditionalPatientHistory = (
        "x" * 70_001,
        "y" * 66_000,
    )  # LT: longer than a length of 16 bits
    made.PixelRepresentation, made.SmallestImagePixelValue, made.BitsAllocated = 0, 7, 16
    made.add_new(0x00091001, "UN", b"abc")
    made.add_new(0x00091002, "OB", b"abc")
    item.SpecificCharacterSet, item.PatientID = "ISO_IR 100", "Müller"
    item.is_undefined_length_sequence_item = True
    made.OtherPatientIDsSequence = [item, Dataset()]
    made.ReferencedStudySequence = []
    return made


@pytest.mark.filterwarnings("ignore")  # pydicom changes the VR of a text that is too long
def test_a_header_from_elsewhere() -> None:
    made = odd()
    assert encode(made) == by_pydicom(odd())
    undefined = odd()
    undefined["OtherPatientIDsSequence"].is_undefined_length = True
    assert encode(undefined) == by_pydicom(undefined) != encode(made)


def test_what_is_read_is_written_as_it_was() -> None:
    made = odd()
    made.ImageComments = made.AdditionalPatientHistory = "short"
    read = dcmread(BytesIO(by_pydicom(made)), force=True)
    read.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    assert encode(read) == by_pydicom(made)
