"""What DICOM headers of real archives say wrongly, and what is made of it. Each file stands for its kind."""

import csv
import os
import zlib
from collections.abc import Callable
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from pydicom import Dataset, dcmread, dcmwrite
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import (
    UID,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLSLossless,
    RLELossless,
)
from tests.factories.hostile import dicom

from aggregator.objects.source import read_header
from gateway.studies.header import identify
from model_worker.decoding.decoded import DecodedImage
from model_worker.decoding.dicom import decode_dicom, pixel_digest
from model_worker.decoding.images import read_image
from thorax.errors import Code, CodedError
from thorax.image_warnings import WarningCode

DATA = (
    Path(os.environ.get("THORAX_TEST_DATA", Path(__file__).parents[5] / "shared" / "data")) / "dicom_intake"
)
ROWS = list(csv.DictReader((DATA / "expected.csv").open())) if DATA.is_dir() else []
NAMES_OF_CODES = {"not_frontal": Code.NOT_FRONTAL}


@pytest.mark.skipif(not ROWS, reason=f"no files made after public reports: {DATA} is missing")
@pytest.mark.parametrize("row", ROWS, ids=lambda row: str(row["file"]))
def test_files_made_after_public_reports(row: dict[str, str]) -> None:
    kind, _, what = row["expected"].partition(":")
    data = (DATA / row["file"]).read_bytes()
    if kind == "refused":
        with pytest.raises(CodedError) as caught:
            read_image(data, "application/dicom")
        assert not what or caught.value.code == NAMES_OF_CODES.get(what, what)
        return
    image = read_image(data, "application/dicom")
    if kind == "same_as":
        name, _, tolerance = what.partition(":")
        twin = read_image((DATA / name).read_bytes(), "application/dicom").grey.astype(int)
        assert image.grey.shape == twin.shape
        assert np.abs(image.grey - twin).max() <= int(tolerance or 1)
    assert (image.grey > 250).mean() < 0.5


def exact(file: str) -> np.ndarray:
    """The grey values that a file's own LUT makes, by the standard's words alone (PS3.3 C.11.2.1.1, C.7.6.3.1.5, C.7.6.3.1.6)."""
    ds = dcmread(DATA / file)
    pixels = ds.pixel_array.astype(int)
    if "VOILUTSequence" in ds:
        first, lut = ds.VOILUTSequence[0].LUTDescriptor[1], ds.VOILUTSequence[0].LUTData
        entries = np.asarray(lut)[pixels - first]
    else:
        entries = np.frombuffer(ds.RedPaletteColorLookupTableData, "<u2")[pixels]
    return np.floor(entries / 65535 * 255 + 0.5)


@pytest.mark.skipif(not ROWS, reason=f"no files made after public reports: {DATA} is missing")
@pytest.mark.parametrize("file", ["voi_signed_first_ss.dcm", "palette_says8_is16.dcm"])
def test_coarser_tables_are_shown_exactly_as_they_are(file: str) -> None:
    """They differ from the reference by a grey level: the VOI LUT ends at 65520 of 65535, the palette has 8-bit indexes."""
    assert (read_image((DATA / file).read_bytes(), "application/dicom").grey == exact(file)).all()


TOP = 4095
RAMP = np.tile(np.linspace(0, TOP, 256).round().astype(np.uint16), (64, 1))
GREY = np.tile(np.arange(256, dtype=np.uint8), (64, 1))
TWELVE = {"BitsAllocated": 16, "BitsStored": 12, "HighBit": 11, "Rows": 64, "Columns": 256}
EIGHT = {"Rows": 64, "Columns": 256}


def file_of(words: np.ndarray = RAMP, **elements: Any) -> bytes:
    return dicom(words.astype("<u2").tobytes(), **{**TWELVE, **elements})


def the_same(image: DecodedImage, tolerance: int = 1) -> bool:
    return bool(np.abs(image.grey.astype(int) - GREY).max() <= tolerance)


def codes(image: DecodedImage) -> list[WarningCode]:
    return [warning.code for warning in image.warnings]


def item(**elements: Any) -> Dataset:
    ds = Dataset()
    for keyword, value in elements.items():
        setattr(ds, keyword, value)
    return ds


def coded(value: str, scheme: str = "SCT") -> list[Dataset]:
    return [item(CodeValue=value, CodingSchemeDesignator=scheme)]


# --- what it shows ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "elements",
    [
        {"ViewCodeSequence": coded("399173006")},
        {"ViewCodeSequence": coded("R-10232", "SRT")},
        {"ViewCodeSequence": coded("399067008")},
        {"ViewCodeSequence": coded("399135007")},  # left anterior oblique
        {"ViewCodeSequence": coded("R-10236", "SRT"), "ViewPosition": "PA"},  # the code decides
        {"ViewPosition": "LL"},
        {"ViewPosition": "RL"},
        {"ViewPosition": "LLAT"},
        {"ViewPosition": "LEFT LATERAL"},
        {"ViewPosition": "Lateral"},
        {"ViewPosition": "LAT_R"},
        {"ViewPosition": "RAO"},
        {"PatientOrientation": ["A", "F"]},
        {"PatientOrientation": ["P", "F"]},
        {"PatientOrientation": ["PL", "F"]},
        {"ImageOrientationPatient": [0, 1, 0, 0, 0, -1]},
        {"SeriesDescription": "Thorax 2. Ebene"},
        {"SeriesDescription": "Klatka piersiowa boczne"},
        {"AcquisitionDeviceProcessingDescription": "CHEST,LATERAL"},  # where Fuji says it
        {"SeriesDescription": "Chest Lat"},
        {"SeriesDescription": "RX Torace LL"},
        *(
            {"SeriesDescription": said, "SpecificCharacterSet": "ISO_IR 192"}
            for said in ("Боковая", "胸部侧位", "側面", "측면")
        ),
    ],
)
def test_lateral_views_are_refused_by_any_of_their_attributes(elements: dict[str, Any]) -> None:
    with pytest.raises(CodedError) as caught:
        decode_dicom(file_of(**elements))
    assert caught.value.code is Code.NOT_FRONTAL
    forced = decode_dicom(file_of(**elements), force=True)
    assert forced.warnings[0] == (WarningCode.OVERRULED, caught.value.detail)


@pytest.mark.parametrize(
    "elements",
    [
        {"ViewPosition": "PA"},
        {"ViewPosition": "AP"},
        {"ViewPosition": "LLD"},
        {"ViewPosition": "LEFT LATERAL DECUB"},
        {"ViewCodeSequence": coded("272479007"), "ViewPosition": "LL"},
        {"ViewCodeSequence": coded("R-10206", "SRT")},
        {"ViewCodeSequence": []},
        {"ViewPosition": "PA", "SeriesDescription": "Chest lateral"},
        {"SeriesDescription": "Chest PA and lateral"},
        {"SeriesDescription": "Thorax p.a. und seitlich"},
        {"SeriesDescription": "THORAX FACE ET PROFIL"},
        {"SeriesDescription": "Torax frente y perfil"},
        {"SeriesDescription": "Thorax 1. und 2. Ebene"},
        {"SeriesDescription": "Thorax in 2 Ebenen"},
        {"ViewPosition": "PA", "ImageOrientationPatient": [0, 1, 0, 0, 0, -1]},
        {"SeriesDescription": "bilateral shoulders"},
        {"SeriesDescription": "胸部正侧位", "SpecificCharacterSet": "ISO_IR 192"},
        {"SeriesDescription": "Torace AP + LL"},
        {"SeriesDescription": "LL and UL, both sides"},
        {"BodyPartExamined": "TÓRAX Y ABDOMEN", "SpecificCharacterSet": "ISO_IR 192"},
        {"SeriesDescription": "Chest, both sides, left side up"},
        {"ViewPosition": "PA", "SeriesDescription": "Thorax seitlich"},
        {"ViewPosition": "INSIDE"},
        {"PatientOrientation": ["L", "F"], "SeriesDescription": "Chest Lat"},
        {"PatientOrientation": ["", ""]},
        {"PatientOrientation": ["LEFT", "DOWN"]},
        {"BodyPartExamined": "CHEST ABDOMEN"},
        {"BodyPartExamined": "RIBS"},
        {"BodyPartExamined": "CHEST", "AnatomicRegionSequence": coded("72696002")},
        {"AnatomicRegionSequence": coded("51185008")},
        {"AnatomicRegionSequence": coded("T-D3000", "SRT")},
        {"AnatomicRegionSequence": coded("416775004")},  # chest, abdomen and pelvis
        {"ImageType": ["DERIVED", "PRIMARY"], "Manufacturer": "Philips"},
        {"ImageType": ["DERIVED", "SECONDARY"]},
        {"Manufacturer": "Thorax samples"},
    ],
)
def test_frontal_chests_are_not_refused(elements: dict[str, Any]) -> None:
    assert the_same(decode_dicom(file_of(**elements)))


@pytest.mark.parametrize(
    "elements",
    [
        {"BodyPartExamined": "KNEES"},
        {"BodyPartExamined": "LEFT KNEE, AP"},
        {"BodyPartExamined": "CERVICAL SPINE"},
        {"AnatomicRegionSequence": coded("72696002")},
        {"AnatomicRegionSequence": coded("T-D9200", "SRT")},
        {"AnatomicRegionSequence": coded("85562004")},
        {"AnatomicRegionSequence": coded("818981001")},
        {"Modality": "MR"},
        {"Modality": "SR"},
        {"Modality": "MG"},
        {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.104.1"},  # Encapsulated PDF
        {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.11.1"},  # Grayscale Softcopy Presentation State
        {"AnatomicalOrientationType": "QUADRUPED"},
        {"ImageType": ["DERIVED", "SECONDARY", "OTHER"], "Manufacturer": "Thorax"},
        {
            "SOPClassUID": "1.2.840.10008.5.1.4.1.1.7",
            "ImageType": ["DERIVED", "SECONDARY"],
            "BurnedInAnnotation": "YES",
            "ConversionType": "WSD",
        },
    ],
)
def test_other_objects_and_body_parts_are_refused(elements: dict[str, Any]) -> None:
    with pytest.raises(CodedError) as caught:
        decode_dicom(file_of(**elements))
    assert caught.value.code is Code.NOT_A_CHEST
    assert WarningCode.OVERRULED in codes(decode_dicom(file_of(**elements), force=True))


@pytest.mark.parametrize(
    ("elements", "code"),
    [
        (
            {
                "ViewCodeSequence": [
                    item(CodeMeaning="Left lateral", CodeValue="V7", CodingSchemeDesignator="99X")
                ]
            },
            "lateral",
        ),
        ({"ViewCodeSequence": [item(CodeMeaning="x", LongCodeValue="399067008")]}, "lateral"),
        ({"ViewCodeSequence": [item(CodeMeaning="x", URNCodeValue="399067008")]}, "lateral"),
        ({"ViewPosition": "LATERAL ERECT"}, "lateral"),
        ({"ViewPosition": "LL SUPINE"}, "lateral"),
        ({"ViewPosition": "LATEROLATERAL"}, "lateral"),
        ({"ViewPosition": "X-LAT"}, "lateral"),
        ({"ViewPosition": "XLAT"}, "lateral"),
        ({"SeriesDescription": "Thorax seitl."}, "lateral"),
        ({"ViewPosition": "LEFT LATERAL DECUBITUS"}, None),
        ({"ViewPosition": "SUPINE"}, None),
        ({"ViewCodeSequence": [item(CodeMeaning="PA chest, lateral is apart", CodeValue="V8")]}, None),
        (
            {
                "AnatomicRegionSequence": [
                    item(CodeMeaning="Left knee", CodeValue="K1", CodingSchemeDesignator="99X")
                ]
            },
            "part",
        ),
        ({"AnatomicRegionSequence": [item(CodeMeaning="Chest and abdomen", CodeValue="K2")]}, None),
        ({"BodyPartExamined": "T-D9200"}, "part"),
        ({"BodyPartExamined": "ABD"}, "part"),
        ({"Manufacturer": "THORAX", "ImageType": ["DERIVED", "PRIMARY"]}, "part"),
        ({"Manufacturer": "Thorax"}, "part"),
    ],
)
def test_what_modalities_write_instead_of_the_terms(elements: dict[str, Any], code: str | None) -> None:
    refusals = {"lateral": Code.NOT_FRONTAL, "part": Code.NOT_A_CHEST}
    try:
        decode_dicom(file_of(**elements))
    except CodedError as error:
        assert error.code is refusals.get(code or "")
    else:
        assert code is None


def test_a_refusal_quotes_nothing_that_could_name_a_patient() -> None:
    with pytest.raises(CodedError) as caught:
        decode_dicom(file_of(BodyPartExamined="KNEE OF DOE"))
    assert "DOE" not in caught.value.detail


MARK = np.zeros((64, 64), np.uint8)
MARK[4:20, 4:44] = np.arange(60, 100)  # more to the right than down, in the top left corner


@pytest.mark.parametrize(
    ("directions", "stored"),
    [
        (["L", "F"], MARK),
        (["R", "F"], MARK[:, ::-1]),
        (["L", "H"], MARK[::-1]),
        (["R", "H"], MARK[::-1, ::-1]),
        (["F", "L"], MARK.T),
        (["F", "R"], np.rot90(MARK)),
        (["H", "L"], np.rot90(MARK, -1)),
        (["H", "R"], np.rot90(MARK.T, 2)),
        (["LF", "FR"], MARK),  # the principal letters come first
    ],
)
def test_patient_orientation_is_turned_upright(directions: list[str], stored: np.ndarray) -> None:
    image = decode_dicom(dicom(np.ascontiguousarray(stored).tobytes(), PatientOrientation=directions))
    assert (image.grey == MARK).all()
    assert (WarningCode.TURNED in codes(image)) == (image.orientation != 1)


@pytest.mark.parametrize(
    ("cosines", "stored"),
    [
        ([1, 0, 0, 0, 0, -1], MARK),
        ([-1, 0, 0, 0, 0, -1], MARK[:, ::-1]),
        ([0, 0, -1, -1, 0.1, 0], np.rot90(MARK)),
        ([1, 0, 0, 0, 1, 0], MARK),  # axial: a converter's default
        ([0, 0, 0, 0, 0, 0], MARK),
        ([0.6, 0.6, 0, 0, 0, -1], MARK),  # oblique
        ([0, 1, 0], MARK),
    ],
)
def test_an_image_orientation_stands_in_for_patient_orientation(
    cosines: list[float], stored: np.ndarray
) -> None:
    file = dicom(np.ascontiguousarray(stored).tobytes(), ImageOrientationPatient=cosines)
    assert (decode_dicom(file).grey == MARK).all()


# --- the grayscale pipeline ------------------------------------------------------------------------------------


def with_commas(**texts: str) -> bytes:
    """DS elements that hold a decimal comma, which pydicom would not write."""
    ds = dcmread(BytesIO(file_of(**dict.fromkeys(texts, "1.0"))))
    file = BytesIO()
    ds.save_as(file)
    data = file.getvalue()
    for name, text in texts.items():
        tag = ds[name].tag
        head = tag.group.to_bytes(2, "little") + tag.element.to_bytes(2, "little") + b"DS"
        even = (text + " " * (len(text) % 2)).encode()
        data = data.replace(head + b"\x04\0" + b"1.0 ", head + len(even).to_bytes(2, "little") + even)
    return data


@pytest.mark.parametrize(
    "texts",
    [
        {"WindowCenter": "2047,5", "WindowWidth": "4096,0"},
        {"WindowCenter": "2.048,0", "WindowWidth": "4.096,0"},
        {"RescaleSlope": "1,0", "RescaleIntercept": "0,0"},
        {"RescaleSlope": "", "RescaleIntercept": "none"},
        {"WindowCenter": "wide", "WindowWidth": "4096"},
        {"PixelSpacing": "0,143\\0,143"},
    ],
)
def test_decimal_commas(texts: dict[str, str]) -> None:
    assert the_same(decode_dicom(with_commas(**texts)))


def lut(entries: Any, descriptor: list[int], **more: Any) -> Dataset:
    made = Dataset()
    made.add_new("LUTDescriptor", "US", descriptor)
    if entries is not None:
        made.add_new("LUTData", *(("OW", entries) if isinstance(entries, bytes) else ("US", list(entries))))
    return made


GOOD = lut(np.arange(4096) * 16, [4096, 0, 16])
PACKED = (np.arange(4096) // 16).astype(np.uint8).tobytes()


@pytest.mark.parametrize(
    ("items", "warned"),
    [
        ([lut(np.arange(4096), [4096, 0, 8])], False),  # says 8 bits, holds 12
        ([lut(np.arange(4096), [4096, 0, 16])], False),  # says 16 bits, holds 12
        ([lut(PACKED, [4096, 0, 8])], False),
        ([lut(np.frombuffer(PACKED, "<u2"), [4096, 0, 8])], False),  # two entries in a word
        ([Dataset(), GOOD], False),
        ([Dataset()], True),
        ([lut(None, [4096, 0, 16])], True),
        ([lut(np.arange(4096), [4096, 0])], True),
        ([lut([7], [1, 0, 16])], True),
        ([lut(np.full(4096, 9), [4096, 0, 12])], True),
    ],
)
def test_voi_luts_that_are_not_as_they_say(items: list[Dataset], warned: bool) -> None:
    image = decode_dicom(file_of(VOILUTSequence=items))
    assert the_same(image)
    assert (WarningCode.WINDOW in codes(image)) == warned
    with_window = decode_dicom(file_of(VOILUTSequence=items, WindowCenter=2048, WindowWidth=4096))
    assert the_same(with_window)


def test_entries_over_32767_may_be_written_as_negative_ones() -> None:
    table, signed = lut(None, [4096, 0, 16]), (np.arange(4096) * 16).astype("<u2").astype("<i2")
    table.add_new("LUTData", "SS", signed.tolist())
    assert the_same(decode_dicom(file_of(ModalityLUTSequence=[table], WindowCenter=32768, WindowWidth=65536)))


def test_a_window_for_8_bits_that_leaves_12_almost_white_is_passed_over() -> None:
    image = decode_dicom(file_of(WindowCenter=64, WindowWidth=128))
    assert the_same(image)
    assert codes(image) == [WarningCode.WINDOW]


def test_a_modality_lut_that_is_not_usable_is_passed_over() -> None:
    image = decode_dicom(file_of(ModalityLUTSequence=[Dataset()], WindowCenter=2048, WindowWidth=4096))
    assert the_same(image)
    assert codes(image) == [WarningCode.WINDOW]


def test_the_first_window_that_shows_something_is_used() -> None:
    image = decode_dicom(file_of(WindowCenter=[90000, 2048], WindowWidth=[10, 4096]))
    assert the_same(image)
    assert codes(decode_dicom(file_of(WindowCenter=90000, WindowWidth=10))) == [WarningCode.WINDOW]
    # a window for 12 bits on an image of 8: nearly black is not a picture either
    assert the_same(decode_dicom(dicom(GREY.tobytes(), WindowCenter=20480, WindowWidth=40960, **EIGHT)))


@pytest.mark.parametrize(
    ("words", "elements"),
    [
        (TOP - RAMP, {"PixelIntensityRelationship": "LIN", "PixelIntensityRelationshipSign": 1}),
        (RAMP, {"PhotometricInterpretation": "MONOCHROME1", "PixelIntensityRelationshipSign": -1}),
    ],
)
def test_a_contradicting_polarity_is_reported(words: np.ndarray, elements: dict[str, Any]) -> None:
    image = decode_dicom(file_of(words, **elements))
    assert the_same(image)
    assert codes(image) == [WarningCode.POLARITY]
    # where they agree, there is nothing to tell
    agree = {"PhotometricInterpretation": "MONOCHROME1", "PixelIntensityRelationshipSign": 1}
    assert codes(decode_dicom(file_of(TOP - RAMP, **agree))) == []


# --- codestreams ---------------------------------------------------------------------------------------------


def compressed(syntax: str, words: np.ndarray = RAMP, **elements: Any) -> Dataset:
    ds = dcmread(BytesIO(file_of(words, **elements)))
    ds.compress(syntax, generate_instance_uid=False)
    return ds


def saved(ds: Dataset) -> bytes:
    file = BytesIO()
    ds.save_as(file)
    return file.getvalue()


def jpeg_of(image: np.ndarray, quality: int = 100) -> bytes:
    return bytes(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes())


def in_jpeg(frame: bytes = b"", **elements: Any) -> bytes:
    return dicom(encapsulate([frame or jpeg_of(GREY)]), JPEGBaseline8Bit, **{**EIGHT, **elements})


@pytest.mark.parametrize(
    "elements",
    [{}, {"BitsAllocated": 16}, {"BitsAllocated": 16, "BitsStored": 12, "HighBit": 11}, {"HighBit": 15}],
)
def test_an_8_bit_jpeg_is_read_as_8_bits_despite_its_header(elements: dict[str, int]) -> None:
    assert the_same(decode_dicom(in_jpeg(**elements)), 3)


@pytest.mark.parametrize(
    ("frame", "elements", "said"),
    [
        (jpeg_of(np.dstack([GREY] * 3)), {}, "3 components"),
        (jpeg_of(GREY), {"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB"}, "1 components"),
        (jpeg_of(GREY[:40]), {}, "256×40"),
        (jpeg_of(GREY)[:400], {}, "truncated"),
        (b"neither this nor that", {}, "neither"),
    ],
)
def test_a_frame_that_the_header_contradicts_is_refused_by_name(
    frame: bytes, elements: dict[str, Any], said: str
) -> None:
    with pytest.raises(CodedError) as caught:
        decode_dicom(in_jpeg(frame, **elements))
    assert caught.value.code is Code.UNREADABLE_IMAGE
    assert said in caught.value.detail


@pytest.mark.parametrize("syntax", [JPEG2000Lossless, JPEGLSLossless])
@pytest.mark.parametrize(
    ("words", "elements", "lie"),
    [
        (RAMP, {}, {"BitsStored": 10, "HighBit": 9}),  # fewer bits than the codestream has
        (RAMP, {}, {"BitsStored": 16, "HighBit": 15}),
        ((RAMP.astype(np.int16) - 2048), {"PixelRepresentation": 1}, {}),
        ((RAMP.astype(np.int16) - 2048) & 0xFFF, {"PixelRepresentation": 1}, {}),
    ],
)
def test_precision_is_the_codestreams(
    syntax: str, words: np.ndarray, elements: dict[str, Any], lie: dict[str, int]
) -> None:
    ds = compressed(syntax, words, **elements)
    for keyword, value in lie.items():
        setattr(ds, keyword, value)
    assert the_same(decode_dicom(saved(ds)))


@pytest.mark.parametrize(("words", "sign"), [(RAMP, 0), (RAMP.astype(np.int16) - 2048, 1)])
def test_a_wrong_sign_makes_no_cliffs(words: np.ndarray, sign: int) -> None:
    ds = compressed(JPEG2000Lossless, words, PixelRepresentation=sign)
    ds.PixelRepresentation = 1 - sign
    image = decode_dicom(saved(ds))
    assert the_same(image)
    assert codes(image) == [WarningCode.HEADER]


@pytest.mark.parametrize("syntax", [JPEG2000Lossless, JPEGLSLossless, RLELossless])
@pytest.mark.parametrize(
    ("words", "elements"), [(RAMP, {}), ((RAMP.astype(np.int16) - 2048), {"PixelRepresentation": 1})]
)
def test_an_encoding_without_loss_keeps_the_digest(
    syntax: str, words: np.ndarray, elements: dict[str, Any]
) -> None:
    native = pixel_digest(file_of(words, **elements))
    assert pixel_digest(saved(compressed(syntax, words, **elements))) == native
    assert pixel_digest(file_of(words, ViewPosition="LL", WindowCenter=1, **elements)) == native
    assert pixel_digest(file_of(words + 1, **elements)) != native


def test_a_jpeg_2000_without_its_end_is_rescued_a_cut_one_is_not() -> None:
    ds = compressed(JPEG2000Lossless, np.random.default_rng(0).integers(0, 4096, (64, 256)))
    frame = next(generate_frames(ds.PixelData, number_of_frames=1)).rstrip(b"\0")
    whole = decode_dicom(saved(ds)).grey
    ds.PixelData = encapsulate([frame.removesuffix(b"\xff\xd9")])
    image = decode_dicom(saved(ds))
    assert (image.grey == whole).all()
    assert codes(image) == [WarningCode.RESCUED]
    ds.PixelData = encapsulate([frame[: len(frame) // 2]])
    with pytest.raises(CodedError, match="truncated"):
        decode_dicom(saved(ds))


def test_a_jpeg_ls_without_its_end_is_rescued_a_cut_one_is_not() -> None:
    ds = compressed(JPEGLSLossless, np.random.default_rng(0).integers(0, 4096, (64, 256)))
    frame = next(generate_frames(ds.PixelData, number_of_frames=1)).rstrip(b"\0").removesuffix(b"\xff\xd9")
    whole = decode_dicom(saved(ds)).grey
    ds.PixelData = encapsulate([frame])
    image = decode_dicom(saved(ds))
    assert (image.grey == whole).all()
    assert codes(image) == [WarningCode.RESCUED]
    ds.PixelData = encapsulate([frame[: len(frame) // 2]])
    with pytest.raises(CodedError, match="damaged"):
        decode_dicom(saved(ds))


@pytest.mark.parametrize(
    "position",
    [
        *("LATERALES", "PERFIL", "TRANSLATERAL", "Latéral / LATERALIS", "SIDE", "SIDE VIEW", "ZIJDELINGS"),
        *("L LATERAL", "LATLL", "CHESTLAT", "XTABLE"),
        *("SEITLICH", "Thorax seitl.", "PROFIL", "DE PROFIL G", "PROFILO", "SIDEBILDE"),
    ],
)
def test_a_lateral_view_in_other_words(position: str) -> None:
    with pytest.raises(CodedError) as caught:
        decode_dicom(file_of(ViewPosition=position, SpecificCharacterSet="ISO_IR 192"))
    assert caught.value.code is Code.NOT_FRONTAL


@pytest.mark.parametrize(
    "part",
    [
        *(
            "UP_EXM",
            "LOW_EXM",
            "LWS",
            "GENOU",
            "KNIE LINKS",
            "LEFTKNEE",
            "RTKNEE",
            "HÜFTE",
            "Schädel",
            "Épaule",
            "Mittelhand",
            "Lendenwirbelsäule",
        ),
        *("MUÑECA", "GINOCCHIO", "JOELHO", "VOET", "ARMBÅGE", "COLUMNA LUMBAR"),
    ],
)
def test_another_body_part_in_other_words(part: str) -> None:
    with pytest.raises(CodedError) as caught:
        decode_dicom(file_of(BodyPartExamined=part, SpecificCharacterSet="ISO_IR 192"))
    assert caught.value.code is Code.NOT_A_CHEST


def test_a_body_part_in_utf_8_is_read() -> None:
    data = file_of(BodyPartExamined="EPAULE").replace(b"CS\6\0EPAULE", b"CS\x08\0" + "ÉPAULE".encode() + b" ")
    with pytest.raises(CodedError, match="EPAULE"):
        decode_dicom(data)


def without_delimiter(data: Dataset, *items: Dataset, undefined: bool, syntax: str) -> bytes:
    """The data set with a sequence of undefined length that has these items and no delimiter."""
    data.ProcedureCodeSequence = list(items)
    data["ProcedureCodeSequence"].is_undefined_length = True
    for one in data.ProcedureCodeSequence:
        one.is_undefined_length_sequence_item = undefined
    data.file_meta.TransferSyntaxUID, file = syntax, BytesIO()
    data.save_as(file, implicit_vr=syntax == ImplicitVRLittleEndian)
    return file.getvalue().replace(b"\xfe\xff\xdd\xe0\0\0\0\0", b"")


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
@pytest.mark.parametrize("undefined", [True, False])
@pytest.mark.parametrize("count", [0, 1, 2])
def test_a_sequence_without_its_delimiter_ends_where_no_item_follows(
    syntax: str, undefined: bool, count: int
) -> None:
    items = (item(CodeValue=str(n)) for n in range(count))
    data = without_delimiter(dcmread(BytesIO(file_of())), *items, undefined=undefined, syntax=syntax)
    image = decode_dicom(data)
    assert the_same(image)
    assert codes(image) == [WarningCode.RESCUED]
    assert image.dicom_attributes
    assert (
        identify(data).study == image.dicom_attributes.study_instance_uid
    )  # the door reads it as the worker does


@pytest.mark.parametrize("elements", [{"Rows": 63}, {"Rows": 32}, {"Rows": 65}, {"Columns": 255}])
def test_an_rle_frame_of_another_size_is_refused_by_name(elements: dict[str, int]) -> None:
    ds = compressed(RLELossless)
    for keyword, value in elements.items():
        setattr(ds, keyword, value)
    with pytest.raises(CodedError, match="The RLE frame has 16384 pixels") as caught:
        decode_dicom(saved(ds))
    assert caught.value.code is Code.UNREADABLE_IMAGE


def test_padding_of_an_rle_segment_is_passed_over() -> None:
    ds = compressed(RLELossless)
    frame = next(generate_frames(ds.PixelData, number_of_frames=1))
    ds.PixelData = encapsulate([frame + b"\0\0\0\0"])
    assert the_same(decode_dicom(saved(ds)))


def test_a_space_in_the_photometric_interpretation_is_passed_over() -> None:
    assert the_same(decode_dicom(file_of(PhotometricInterpretation="MONOCHROME 2")))


def without_end(data: bytes) -> bytes:
    return data[:-8] if data.endswith(b"\xfe\xff\xdd\xe0\0\0\0\0") else data


def in_two_fragments_without_a_table(data: bytes) -> bytes:
    frame = jpeg_of(GREY)
    half = len(frame) // 2 & ~1
    pieces = [frame[:half], frame[half:] + b"\0" * (len(frame) % 2)]
    encoded = b"".join(b"\xfe\xff\0\xe0" + len(p).to_bytes(4, "little") + p for p in pieces)
    return data[: data.index(b"\xe0\x7f\x10\0") + 12] + encoded + b"\xfe\xff\xdd\xe0\0\0\0\0"


PIXELS = b"\xe0\x7f\x10\0OB\0\0\xff\xff\xff\xff"


def as_unknown(data: bytes) -> bytes:
    return data.replace(PIXELS, PIXELS.replace(b"OB", b"UN"))


def behind_a_short_icon(data: bytes) -> bytes:
    """An icon in a JPEG, in an item that is 24 bytes shorter than it is (pydicom issue 2324)."""
    icon = PIXELS + encapsulate([jpeg_of(GREY[:, :64])]) + b"\xfe\xff\xdd\xe0\0\0\0\0"
    said = len(icon) - 24
    items = b"\xfe\xff\0\xe0" + said.to_bytes(4, "little") + icon
    sequence = b"\x88\0\0\x02SQ\0\0" + (said + 8).to_bytes(4, "little") + items
    return data.replace(PIXELS, sequence + PIXELS)


@pytest.mark.parametrize(
    "mangle", [without_end, in_two_fragments_without_a_table, as_unknown, behind_a_short_icon]
)
def test_encapsulation_that_lacks_a_part(mangle: Callable[[bytes], bytes]) -> None:
    assert the_same(decode_dicom(mangle(in_jpeg())), 3)


def test_an_rle_frame_without_an_offset_table() -> None:
    ds, file = dcmread(BytesIO(file_of())), BytesIO()
    ds.compress(RLELossless, generate_instance_uid=False)
    ds.save_as(file)
    data = file.getvalue()
    table = data.index(b"\xfe\xff\0\xe0", data.index(PIXELS))
    empty = 8 + int.from_bytes(data[table + 4 : table + 8], "little")
    image = decode_dicom(data[:table] + data[table + empty :])
    assert the_same(image)
    assert codes(image) == [WarningCode.RESCUED]


def deflated(how: str) -> bytes:
    """A deflated file, with a wrong group length, in zlib's format, or not deflated at all."""
    data = file_of()
    start = 144 + int.from_bytes(data[140:144], "little")
    plain = data[start:]
    packed = {"raw": zlib.compress(plain, wbits=-15), "zlib": zlib.compress(plain), "plain": plain}[how]
    meta = data[144:start].replace(b"\x14\x001.2.840.10008.1.2.1\0", b"\x16\x001.2.840.10008.1.2.1.99")
    return data[:140] + b"\x07\0\0\0" + meta + packed


@pytest.mark.parametrize("how", ["raw", "zlib", "plain"])
def test_a_deflated_file_is_read_however_it_was_packed(how: str) -> None:
    data = deflated(how)
    image = decode_dicom(data)
    assert the_same(image)
    assert codes(image) == [] if how == "raw" else [WarningCode.RESCUED]
    assert identify(data) == replace(identify(file_of()), transfer_syntax="1.2.840.10008.1.2.1.99")
    assert read_header(data).Rows == 64  # for the objects that are sent back


def test_a_big_endian_file_that_says_little_endian() -> None:
    ds, file = dcmread(BytesIO(file_of(RAMP.byteswap()))), BytesIO()
    ds.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
    dcmwrite(file, ds, implicit_vr=False, little_endian=False)
    data = file.getvalue().replace(b"1.2.840.10008.1.2.2\0", b"1.2.840.10008.1.2.1\0", 1)
    assert the_same(decode_dicom(data))
    assert identify(data).study == identify(file_of()).study
    assert read_header(data).Rows == 64


def test_pixel_data_is_read_by_its_bytes_not_by_its_transfer_syntax() -> None:
    native, said = file_of(), RLELossless.encode()
    image = decode_dicom(native.replace(ExplicitVRLittleEndian.encode(), said, 1))
    assert the_same(image)
    assert codes(image) == [WarningCode.HEADER]
    ds = compressed(JPEGLSLossless)
    ds.file_meta.TransferSyntaxUID = JPEG2000Lossless
    assert the_same(decode_dicom(saved(ds)))


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, JPEG2000Lossless, JPEGLSLossless, RLELossless])
@pytest.mark.parametrize("overlay", [0x1000, 0x8000])
def test_an_overlay_in_the_unused_bits_is_not_part_of_the_picture(syntax: str, overlay: int) -> None:
    """PS3.5, 8.1.1 once allowed it; pydicom 3.0.2 compresses such words as they are (its issue 2260)."""
    words = RAMP.copy()
    words[10:30, 20:90] |= overlay
    ds = dcmread(BytesIO(file_of(words, BitsStored=16, HighBit=15)))
    if syntax != ExplicitVRLittleEndian:
        ds.compress(syntax, generate_instance_uid=False)
    ds.BitsStored, ds.HighBit = 12, 11
    assert the_same(decode_dicom(saved(ds)))


@pytest.mark.parametrize(
    ("words", "elements"),
    [
        (RAMP, {"BitsStored": 10, "HighBit": 9}),
        (RAMP, {"PixelRepresentation": 1}),
        ((RAMP.astype(np.int16) - 2048) & 0xFFF, {"PixelRepresentation": 0}),
    ],
)
def test_native_words_are_believed_where_the_header_would_make_cliffs(
    words: np.ndarray, elements: dict[str, Any]
) -> None:
    image = decode_dicom(file_of(words, **elements))
    assert the_same(image)
    assert WarningCode.HEADER in codes(image)


def test_a_jpeg_ls_of_another_sign_than_the_header_says() -> None:
    ds = compressed(JPEGLSLossless)
    ds.PixelRepresentation = 1
    assert the_same(decode_dicom(saved(ds)))


@pytest.mark.parametrize(
    ("vr", "value", "signed"), [("US", 35536, True), ("SS", -30000, True), ("US", 65535, False)]
)
def test_padding_that_bits_stored_or_its_vr_can_not_hold(vr: str, value: int, signed: bool) -> None:
    words = RAMP.astype(np.int32) - 2048 * signed
    words[:, 200:] = value
    bits = {"BitsStored": 16, "HighBit": 15} if signed else {}
    ds = dcmread(BytesIO(file_of(words & 0xFFFF, PixelRepresentation=int(signed), **bits)))
    ds.add_new("PixelPaddingValue", vr, value)
    grey = decode_dicom(saved(ds)).grey
    assert (grey[:, 200:] == 0).all()
    assert grey[:, 199].min() > 250  # what is padded does not take part in the range


def test_a_lut_that_lacks_entries_is_passed_over() -> None:
    short = lut(np.arange(3000) * 16, [4096, 0, 16])
    assert the_same(decode_dicom(file_of(VOILUTSequence=[short], WindowCenter=2048, WindowWidth=4096)))


def test_a_dark_jpeg_without_its_end_is_whole() -> None:
    dark = np.vstack([GREY, np.zeros_like(GREY)])
    image = decode_dicom(in_jpeg(jpeg_of(dark).removesuffix(b"\xff\xd9"), Rows=128))
    assert (image.grey[64:] == 0).all()
    assert codes(image) == [WarningCode.RESCUED]


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2.4.55", "1.2.840.10008.1.2.4.92"])
def test_a_frame_that_can_be_decoded_is_whatever_its_transfer_syntax(syntax: str) -> None:
    assert the_same(decode_dicom(dicom(encapsulate([jpeg_of(GREY)]), UID(syntax), **EIGHT)), 3)


def test_native_pixels_in_fragments() -> None:
    data = encapsulate([RAMP.astype("<u2").tobytes()])
    assert the_same(decode_dicom(dicom(data, UID("1.2.840.10008.1.2.1.98"), **TWELVE)))


def test_an_unknown_transfer_syntax_is_guessed() -> None:
    data = file_of().replace(b"1.2.840.10008.1.2.1\0", b"1.2.752.24.3.7.8.1\0\0", 1)
    image = decode_dicom(data)
    assert the_same(image)
    assert codes(image) == [WarningCode.RESCUED]


def test_empty_pixel_data_is_refused_by_name() -> None:
    with pytest.raises(CodedError, match="no pixel data"):
        decode_dicom(dicom(b"", **TWELVE))


# --- files and headers --------------------------------------------------------------------------------------


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRLittleEndian])
@pytest.mark.parametrize("preamble", [True, False])
def test_without_file_meta_information(syntax: str, preamble: bool) -> None:
    data = dicom(RAMP.astype("<u2").tobytes(), syntax, **TWELVE)
    body = data[144 + int.from_bytes(data[140:144], "little") :]
    image = decode_dicom((data[:132] if preamble else b"") + body)
    assert the_same(image)
    assert codes(image) == [WarningCode.RESCUED]


@pytest.mark.parametrize("keyword", ["PixelRepresentation", "HighBit", "SamplesPerPixel", "BitsAllocated"])
def test_missing_attributes_get_the_defaults_of_other_readers(keyword: str) -> None:
    ds = dcmread(BytesIO(file_of()))
    delattr(ds, keyword)
    image = decode_dicom(saved(ds))
    assert the_same(image)
    assert codes(image) == [WarningCode.HEADER]


@pytest.mark.parametrize(
    ("elements", "said"),
    [
        ({"Rows": None}, "(0028,0010)"),
        ({"Columns": None}, "(0028,0011)"),
        ({"PhotometricInterpretation": None}, "(0028,0004)"),
        ({"PhotometricInterpretation": "MONOCHROME3"}, "(0028,0004)"),
        ({"BitsAllocated": 12}, "(0028,0100)"),
        ({"BitsAllocated": 32, "BitsStored": 32}, "(0028,0100)"),
        ({"BitsStored": 17}, "(0028,0101)"),
        ({"Rows": 65}, "33280"),
        ({"Rows": 32}, "16384"),
        ({"NumberOfFrames": 2}, "frames"),
        ({"PresentationIntentType": "FOR PROCESSING"}, "detector"),
    ],
)
def test_unreadable_files_are_named(elements: dict[str, Any], said: str) -> None:
    with pytest.raises(CodedError) as caught:
        decode_dicom(file_of(**elements))
    assert caught.value.code is Code.UNREADABLE_IMAGE
    assert said in caught.value.detail
