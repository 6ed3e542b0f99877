"""What DICOMweb serves of a file besides the file: encodings, what is said of loss, and files made to do harm."""

from io import BytesIO
from typing import Any

import numpy as np
import orjson
import pytest
from pydicom import Dataset, dcmread
from pydicom.encaps import encapsulate
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    JPEGBaseline8Bit,
    RLELossless,
)
from tests.factories.hostile import bomb_deflated, bomb_nested, bomb_rle, dicom
from tests.factories.images import chest_dicom, chest_jpeg, without_loss

from model_worker.decoding.forms import Made, make_forms
from thorax.errors import CodedError


def explicit(made: Made) -> Any:
    return dcmread(BytesIO(b"".join(made.explicit)))


def test_lossy_compression_is_told_of_what_was_decoded() -> None:
    jpeg = encapsulate([chest_jpeg(1, 64)])
    got = explicit(make_forms(dicom(jpeg, JPEGBaseline8Bit)))
    assert (got.LossyImageCompression, got.LossyImageCompressionMethod) == ("01", "ISO_10918_1")
    assert float(got.LossyImageCompressionRatio) > 1
    assert "LossyImageCompression" not in explicit(make_forms(without_loss(chest_dicom(1, 64))))


def test_big_endian_words_are_turned() -> None:
    words = np.arange(4096, dtype=">u2")
    data = dicom(words.tobytes(), ExplicitVRBigEndian, BitsAllocated=16, BitsStored=12, HighBit=11)
    assert np.array_equal(explicit(make_forms(data)).pixel_array.ravel(), words)


def test_a_deflated_file_is_inflated() -> None:
    file, ds = BytesIO(), dcmread(BytesIO(chest_dicom(2, 64)))
    ds.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    ds.save_as(file)
    made = make_forms(file.getvalue())
    [(start, end)] = made.forms.frames
    assert b"".join(made.explicit)[start:end] == ds.PixelData


def test_each_of_several_compressed_frames_is_found_and_decoded() -> None:
    frames = np.arange(3, dtype=np.uint8)[:, None, None] * np.ones((64, 64), np.uint8)
    ds, file = dcmread(BytesIO(dicom(frames.tobytes(), NumberOfFrames=3))), BytesIO()
    ds.compress(RLELossless, generate_instance_uid=False)
    ds.save_as(file)
    made = make_forms(file.getvalue())
    assert np.array_equal(explicit(made).pixel_array, frames)
    assert len(made.forms.stored_frames) == len(made.forms.frames) == 3


def test_an_object_without_pixels_has_metadata_only() -> None:
    ds, file = dcmread(BytesIO(chest_dicom(1, 64))), BytesIO()
    del ds.PixelData
    ds.save_as(file)
    made = make_forms(file.getvalue())
    assert (made.forms.frames, made.forms.pictures, made.forms.undecodable) == ((), (), None)
    assert Dataset.from_json(made.metadata.decode()).Modality == "CR"


def test_an_invalid_value_costs_its_element_only() -> None:
    file = chest_dicom(1, 64, WindowCenter="128 ")
    found = orjson.loads(make_forms(file.replace(b"128 ", b"1-8 ")).metadata)
    assert "00281050" not in found
    assert found["00280010"]["Value"] == [64]


@pytest.mark.parametrize("bomb", [bomb_deflated, bomb_nested])
def test_a_bomb_is_refused(bomb: Any) -> None:
    with pytest.raises(CodedError):
        make_forms(bomb())


def test_pixels_that_would_fill_the_memory_are_not_decoded() -> None:
    assert make_forms(bomb_rle()).forms.undecodable


def test_the_stored_file_is_the_form_where_it_is_explicit_little_endian() -> None:
    data = chest_dicom(1, 64)
    made = make_forms(data)
    [(start, end)] = made.forms.frames
    ds = dcmread(BytesIO(data))
    assert ds.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
    assert (made.explicit, data[start:end]) == ([], ds.PixelData)
