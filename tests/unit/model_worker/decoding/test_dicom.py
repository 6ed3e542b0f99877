"""A wrong polarity is impossible: every way in which DICOM can store the same picture gives the same display."""

import os
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom.uid import ExplicitVRBigEndian, JPEG2000Lossless, JPEGLSLossless, RLELossless
from tests.factories.hostile import dicom

from model_worker.decoding.dicom import decode_dicom
from model_worker.decoding.greyscale import window
from thorax.errors import Code, CodedError

TOP = 4095
RAMP = np.tile(np.linspace(0, TOP, 256).round().astype(np.uint16), (64, 1))
"""A 12-bit picture, black at the left, white at the right."""
GREY = np.tile(np.arange(256, dtype=np.uint8), (64, 1))
"""How it must look."""


def shown(words: np.ndarray, **elements: object) -> np.ndarray:
    """The display of an image with these stored words, 12 of 16 bits unless said otherwise."""
    layout = {
        "BitsAllocated": 16,
        "BitsStored": 12,
        "HighBit": 11,
        "Rows": words.shape[0],
        "Columns": words.shape[1],
    }
    return decode_dicom(dicom(words.tobytes(), **{**layout, **elements})).grey


def lut(entries: np.ndarray, first: int = 0, bits: int = 16) -> list[Dataset]:
    """A Modality or VOI LUT sequence of one item."""
    item = Dataset()
    item.add_new("LUTDescriptor", "US", [len(entries) % 65536, first, bits])
    item.add_new("LUTData", "US", [int(v) for v in entries])
    item.add_new("ModalityLUTType", "LO", "US")
    return [item]


def the_same(image: np.ndarray) -> bool:
    return bool(np.abs(image.astype(int) - GREY).max() <= 1)


MONO1 = {"PhotometricInterpretation": "MONOCHROME1"}
WINDOW = {"WindowCenter": TOP / 2, "WindowWidth": TOP, "VOILUTFunction": "LINEAR_EXACT"}
LINEAR = {"WindowCenter": 2048, "WindowWidth": 4096}
UP, DOWN = np.arange(4096) * 16, np.arange(4096)[::-1] * 16
INVERSE = {"PresentationLUTShape": "INVERSE"}
SIGNED = {"PixelRepresentation": 1}


@pytest.mark.parametrize(
    ("words", "elements"),
    [
        # neither, a window, a LUT; and the same picture stored inverted
        (RAMP, {}),
        (TOP - RAMP, MONO1),
        (RAMP, WINDOW),
        (TOP - RAMP, MONO1 | WINDOW),
        (RAMP, LINEAR),
        (TOP - RAMP, MONO1 | LINEAR),
        (RAMP, {"VOILUTSequence": lut(UP)}),
        (TOP - RAMP, MONO1 | {"VOILUTSequence": lut(UP)}),
        # a VOI LUT that itself inverts the picture: polarity is applied after it (C.7.6.3.1.2)
        (TOP - RAMP, {"VOILUTSequence": lut(DOWN)}),
        (RAMP, MONO1 | {"VOILUTSequence": lut(DOWN)}),
        (RAMP, {"VOILUTSequence": lut(UP)} | {"WindowCenter": 9, "WindowWidth": 9}),
        (RAMP, {"VOILUTSequence": lut(np.arange(4096) // 16, bits=8)}),
        # Presentation LUT Shape: with MONOCHROME1 it means the same inversion, not a second one
        (RAMP, {"PresentationLUTShape": "IDENTITY"}),
        (TOP - RAMP, MONO1 | INVERSE),
        (TOP - RAMP, INVERSE),
        (TOP - RAMP, MONO1 | {"PresentationLUTShape": "IDENTITY"}),
        (TOP - RAMP, MONO1 | INVERSE | WINDOW),
        # rescale, also with a negative slope, which turns the values over before the window sees them
        (
            RAMP,
            {"RescaleSlope": 2, "RescaleIntercept": -100, "WindowCenter": TOP - 100, "WindowWidth": 2 * TOP},
        ),
        (TOP - RAMP, {"RescaleSlope": -1, "RescaleIntercept": TOP} | WINDOW),
        (RAMP, MONO1 | {"RescaleSlope": -1, "RescaleIntercept": TOP} | WINDOW),
        (TOP - RAMP, {"RescaleSlope": -1, "RescaleIntercept": 0}),
        (TOP - RAMP, {"ModalityLUTSequence": lut(np.arange(4096)[::-1])} | WINDOW),
        (RAMP, MONO1 | {"ModalityLUTSequence": lut(np.arange(4096)[::-1])} | WINDOW),
        # signed words, full and of 12 bits, with a LUT that starts below 0
        ((RAMP.astype(np.int16) - 2048), SIGNED | {"WindowCenter": -0.5, "WindowWidth": TOP}),
        ((RAMP.astype(np.int16) - 2048), SIGNED),
        ((2047 - RAMP.astype(np.int16)), MONO1 | SIGNED),
        ((RAMP.astype(np.int16) - 2048) & 0xFFF, SIGNED),
        (RAMP, {"RescaleIntercept": -2048, "VOILUTSequence": lut(UP, first=65536 - 2048)}),
        # old overlays above High Bit, and words that do not start at bit 0
        (RAMP | 0xA000, {}),
        (RAMP << 4 | 0x3, {"HighBit": 15}),
        (RAMP << 4 | 0x3, {"HighBit": 15} | WINDOW),
        # windows that would show nothing are ignored
        (RAMP, {"WindowCenter": 50000, "WindowWidth": 10}),
        (TOP - RAMP, MONO1 | {"WindowCenter": -50000, "WindowWidth": 10}),
        (RAMP, {"WindowCenter": 2048, "WindowWidth": 0}),
        (RAMP, {"WindowCenter": [2048, 1], "WindowWidth": [4096, 2]}),
    ],
)
def test_every_encoding_of_a_picture_looks_alike(words: np.ndarray, elements: dict[str, object]) -> None:
    assert the_same(shown(words.astype(np.uint16), **elements))


def test_eight_bits() -> None:
    layout = {"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7}
    assert the_same(shown(GREY, **layout))
    assert the_same(shown(255 - GREY, **layout, **MONO1))
    # a picture that uses little of its range is not stretched: it is meant to look so
    dark = GREY // 4
    assert (shown(dark, **layout) == dark).all()


def test_padding_is_black_either_way_and_does_not_count() -> None:
    padded = RAMP.copy()
    padded[:20] = 4000
    for words, elements in ((padded, {}), (TOP - padded, MONO1)):
        image = shown(words, **elements, PixelPaddingValue=int(words[0, 0]))
        assert not image[:20].any()
        assert np.abs(image[20:, :240].astype(int) - GREY[20:, :240]).max() <= 1


@pytest.mark.parametrize("syntax", [RLELossless, JPEGLSLossless, JPEG2000Lossless])
@pytest.mark.parametrize("inverted", [False, True])
def test_compressed_is_as_raw(syntax: str, inverted: bool) -> None:
    words = TOP - RAMP if inverted else RAMP
    layout = {"BitsAllocated": 16, "BitsStored": 12, "HighBit": 11, "Rows": 64, "Columns": 256}
    ds = dcmread(BytesIO(dicom(words.tobytes(), **layout, **(MONO1 if inverted else {}))))
    ds.compress(syntax, generate_instance_uid=False)
    file = BytesIO()
    ds.save_as(file)
    assert the_same(decode_dicom(file.getvalue()).grey)


def test_colour_photographs_are_refused_grey_ones_are_not() -> None:
    layout = {
        "Columns": 256,
        "SamplesPerPixel": 3,
        "PlanarConfiguration": 0,
        "PhotometricInterpretation": "RGB",
    }
    grey = np.dstack([GREY] * 3)
    assert the_same(decode_dicom(dicom(grey.tobytes(), **layout)).grey)
    with pytest.raises(CodedError) as caught:
        decode_dicom(dicom((grey * [1, 0, 0]).astype(np.uint8).tobytes(), **layout))
    assert caught.value.code is Code.NOT_A_CHEST


def test_linear_window_as_the_standard_says() -> None:
    # PS3.3 C.11.2.1.2.1, note 4: for centre 2048 and width 4096 the range 0..4095 is mapped exactly
    np.testing.assert_allclose(window(np.array([-9.0, 0, 4095, 9999]), 2048, 4096, "LINEAR"), [0, 0, 1, 1])
    # and a width of 1 is a step at centre - 0.5
    assert window(np.array([99.5, 99.6]), 100, 1, "LINEAR").tolist() == [0, 1]
    np.testing.assert_allclose(window(np.array([50.0, 75]), 50, 100, "SIGMOID"), [0.5, 1 / (1 + np.exp(-1))])
    np.testing.assert_allclose(window(np.array([0.0, 50, 100]), 50, 100, "LINEAR_EXACT"), [0, 0.5, 1])


DATA = Path(os.environ.get("THORAX_TEST_DATA", Path(__file__).parents[5] / "shared" / "data")) / "dicom"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason=f"no real DICOM files: {DATA} is missing")


@needs_data
@pytest.mark.parametrize("name", ["RG1_J2KI", "RG1_JLSN", "gdcm-CR-MONO1-10-chest", "mlmed_chest_pa"])
def test_real_chests_are_the_right_way_round(name: str) -> None:
    decoded = decode_dicom((DATA / f"{name}.dcm").read_bytes())
    assert decoded.dicom_attributes.body_part == "CHEST"
    image = decoded.grey
    rows, columns = image.shape
    lung = image[rows // 3 : rows // 2, columns // 4 : columns * 2 // 5].mean()
    spine = image[rows // 3 : rows // 2, columns * 9 // 20 : columns * 11 // 20].mean()
    assert lung < spine - 30


@needs_data
@pytest.mark.parametrize("syntax", ["J2KI", "J2KR", "JLSL", "JPLL", "JPLY", "RLE"])
def test_a_real_knee_is_refused(syntax: str) -> None:
    with pytest.raises(CodedError) as caught:
        decode_dicom((DATA / f"RG3_{syntax}.dcm").read_bytes())
    assert caught.value.code is Code.NOT_A_CHEST


@needs_data
def test_six_transfer_syntaxes_of_one_real_image_agree() -> None:
    images = []
    for syntax in ("J2KR", "JLSL", "JPLL", "RLE", "J2KI", "JPLY"):
        ds = dcmread(DATA / f"RG3_{syntax}.dcm")
        ds.BodyPartExamined = ""
        file = BytesIO()
        ds.save_as(file)
        images.append(decode_dicom(file.getvalue()).grey.astype(int))
    for lossless in images[1:4]:
        assert (lossless == images[0]).all()
    for lossy in images[4:]:
        assert np.abs(lossy - images[0]).mean() < 3


def test_a_big_endian_file_looks_the_same() -> None:
    layout = {"BitsAllocated": 16, "BitsStored": 12, "HighBit": 11, "Rows": 64, "Columns": 256}
    assert the_same(
        decode_dicom(dicom(RAMP.astype(">u2").tobytes(), ExplicitVRBigEndian, **layout, **WINDOW)).grey
    )


def test_rle_keeps_the_bits_above_high_bit_that_it_packed() -> None:
    """Signed numbers of 12 bits whose sign is not extended: the upper four bits are 0."""
    layout = {"BitsAllocated": 16, "BitsStored": 12, "HighBit": 11, "Rows": 64, "Columns": 256}
    data = dicom(((RAMP - 2048) & 0xFFF).astype("<u2").tobytes(), **layout, **SIGNED)
    ds = dcmread(BytesIO(data))
    ds.compress(RLELossless)
    packed = BytesIO()
    ds.save_as(packed)
    assert the_same(decode_dicom(packed.getvalue()).grey)


def test_a_lut_shorter_than_declared_does_not_give_black() -> None:
    assert the_same(shown(RAMP, VOILUTSequence=lut(np.arange(4096), bits=16)))
