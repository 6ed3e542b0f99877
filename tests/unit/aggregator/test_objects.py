"""SR, SC and GSPS: made of real DICOM headers, read back by highdicom, and judged by dcmtk and dicom3tools."""

import shutil
import subprocess
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any

import highdicom as hd
import numpy as np
import pytest
from highdicom._standard_utils import get_module_attribute_map
from pydicom import Dataset, config, dcmread
from pydicom.dataelem import DataElement
from tests.factories.hostile import dicom

from aggregator.objects import Unmade, objects
from aggregator.objects.answer import AnalysedImage, Answer, Predecessor, Said
from aggregator.objects.identity import Sealed
from aggregator.objects.regions import regions
from aggregator.objects.source import read_header
from model_worker.decoding.dicom import decode_dicom
from model_worker.decoding.orientation import upright
from thorax.findings import FINDINGS, Finding
from thorax.operating_points import Verdict

SAMPLE_DICOM = Path(__file__).parents[3] / "samples/chest.dcm"
READY = datetime(2026, 11, 27, 12, 30, tzinfo=UTC)


@cache
def study_and_patient() -> set[str]:
    """The keywords of their modules in PS3.3."""
    modules = get_module_attribute_map()
    attributes = (a for name in ("patient", "general-study", "patient-study") for a in modules[name])
    return {attribute["keyword"] for attribute in attributes if not attribute["path"]}


def source(**changed: object) -> Dataset:
    file = dcmread(SAMPLE_DICOM)
    for keyword, value in changed.items():
        setattr(file, keyword, value)
    buffer = BytesIO()
    file.save_as(buffer)
    return read_header(buffer.getvalue())


def analysed(header: Dataset, *likely: Finding, probability: float = 0.91234) -> AnalysedImage:
    said = tuple(
        Said(
            f,
            probability if f in likely else 0.04,
            0.4,
            f in likely,
            Verdict.LIKELY if f in likely else Verdict.UNLIKELY,
        )
        for f in FINDINGS
    )
    maps = np.zeros((5, 28, 28), np.float16)
    maps[:, 4:12, 16:24] = 1
    return AnalysedImage(header, said, maps, display=np.full((64, 48), 90, np.uint8))


def refused(header: Dataset) -> AnalysedImage:
    return AnalysedImage(header, refusal="not_a_frontal_view", reason="The image is a lateral view.")


def answer(*images: AnalysedImage, **more: object) -> Answer:
    return replace(Answer("chest5", "1.0", "ab" * 32, READY, images), **more)


ANSWERS = {
    "found": lambda: answer(analysed(source(), Finding.EDEMA, Finding.ATELECTASIS)),
    "nothing found": lambda: answer(analysed(source())),
    "maps erased": lambda: answer(replace(analysed(source(), Finding.EDEMA), maps=None)),
    "refused": lambda: answer(refused(source())),
    "new version": lambda: answer(
        analysed(source(), Finding.EDEMA), predecessor=Predecessor("2.25.7", "2.25.8")
    ),
}


@pytest.fixture(scope="module", params=ANSWERS)
def made(request: pytest.FixtureRequest) -> list[Sealed]:
    return list(objects(ANSWERS[request.param]()))


def read_back(item: Sealed) -> Dataset:
    return dcmread(BytesIO(item.file))


@pytest.mark.skipif(not shutil.which("dciodvfy"), reason="dicom3tools is not installed")
def test_they_conform(made: list[Sealed], tmp_path: Path) -> None:
    for number, item in enumerate(made):
        file = tmp_path / f"{number}.dcm"
        file.write_bytes(item.file)
        ran = subprocess.run(["dciodvfy", file], check=False, capture_output=True, text=True)
        assert "Error" not in ran.stderr and ran.returncode == 0, ran.stderr


@pytest.mark.skipif(not shutil.which("dsrdump"), reason="dcmtk is not installed")
def test_dcmtk_reads_the_report(made: list[Sealed], tmp_path: Path) -> None:
    file = tmp_path / "sr.dcm"
    file.write_bytes(made[0].file)
    ran = subprocess.run(["dsrdump", file], capture_output=True, text=True, check=True)
    assert "Status of the analysis" in ran.stdout and not ran.stderr


def test_not_run_negative_and_refused_differ_in_the_report() -> None:
    said = {}
    for name, make in ANSWERS.items():
        groups = hd.sr.ComprehensiveSR.from_dataset(read_back(next(objects(make())))).content
        status = groups.get_image_measurement_groups(tracking_uid=None)[0].get_qualitative_evaluations()[0]
        said[name] = status.value.value
    assert said == {
        "found": "found", "nothing found": "nothing_found", "refused": "not_a_frontal_view", "maps erased": "found", "new version": "found"
    }  # fmt: skip


def test_the_report_tells_probability_threshold_and_region_in_stored_pixels() -> None:
    header = source()
    report = hd.sr.ComprehensiveSR.from_dataset(
        read_back(next(objects(answer(analysed(header, Finding.EDEMA)))))
    )
    (group,) = report.content.get_planar_roi_measurement_groups()
    assert (group.finding_type.meaning, group.finding_type.scheme_designator) == ("Pulmonary edema", "SCT")
    assert [m.value for m in group.get_measurements()] == [0.9123, 0.4]
    points = group.roi.value
    assert points.min(axis=0) == pytest.approx([16 / 28 * header.Columns, 4 / 28 * header.Rows], rel=0.03)
    assert points.max(axis=0) == pytest.approx([24 / 28 * header.Columns, 12 / 28 * header.Rows], rel=0.03)


def test_a_report_names_the_one_before() -> None:
    report = next(objects(ANSWERS["new version"]())).dataset
    (study,) = report.PredecessorDocumentsSequence
    (series,) = study.ReferencedSeriesSequence
    assert (series.SeriesInstanceUID, series.ReferencedSOPSequence[0].ReferencedSOPInstanceUID) == (
        "2.25.7",
        "2.25.8",
    )


def test_the_same_content_has_the_same_uid_and_bytes_and_other_content_another() -> None:
    first, again = ([o.file for o in objects(ANSWERS["found"]())] for _ in range(2))
    assert first == again
    header = source()
    uids = [
        {o.dataset.SOPInstanceUID for o in objects(answer(analysed(header, Finding.EDEMA, probability=p)))}
        for p in (0.91, 0.92)
    ]
    assert len(uids[0] | uids[1]) == 6


@pytest.mark.parametrize(
    "changed",
    [
        {
            "SpecificCharacterSet": ["", "ISO 2022 IR 87"], "PatientName": "Yamada^Tarou=山田^太郎=やまだ^たろう",
            "IssuerOfPatientID": "HOSPITAL A", "TimezoneOffsetFromUTC": "+0900", "StudyTime": "235959.123",
        },
        {
            "SpecificCharacterSet": "ISO_IR 100", "PatientName": "Müller^Jörg", "AccessionNumber": "", "PatientID": "",
            "PatientSex": "", "OtherPatientIDsSequence": [], "PatientComments": "nüchtern", "PatientAge": "",
        },
        {"SpecificCharacterSet": "ISO_IR 192", "PatientSex": "W", "StudyDate": "2026.01.02", "PatientName": "Þóra"},
    ],
    ids=["japanese", "german, no patient id", "values that the standard does not know"],
)  # fmt: skip
def test_patient_and_study_are_the_sources_and_nothing_else(changed: dict[str, object]) -> None:
    header = source(**changed)
    required = {
        "PatientName",
        "PatientID",
        "PatientBirthDate",
        "PatientSex",
        "StudyDate",
        "StudyTime",
        "StudyID",
    }
    required |= {"ReferringPhysicianName", "AccessionNumber"}  # type 2: may be empty, may not be absent
    for item in map(read_back, objects(answer(analysed(header, Finding.EDEMA)))):
        for keyword in study_and_patient() | {"SpecificCharacterSet", "TimezoneOffsetFromUTC"}:
            if keyword in header:
                assert item[keyword].value == header[keyword].value, keyword
            elif keyword in required:
                assert item[keyword].is_empty, keyword
            else:
                assert keyword not in item


def test_our_times_are_at_the_sources_offset() -> None:
    header = source(TimezoneOffsetFromUTC="-0330")
    for item in map(read_back, objects(answer(analysed(header)))):
        assert (item.InstanceCreationDate, item.InstanceCreationTime) == ("20261127", "090000.000000")


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.91"])
def test_what_derives_from_a_lossy_image_says_so(syntax: str) -> None:
    file = dcmread(SAMPLE_DICOM)
    file.file_meta.TransferSyntaxUID = syntax  # the pixels are not looked at
    file["PixelData"] = DataElement(
        "PixelData",
        "OB",
        b"\xfe\xff\x00\xe0\0\0\0\0\xfe\xff\x00\xe0\x02\0\0\0\xff\xd8\xfe\xff\xdd\xe0\0\0\0\0",
        is_undefined_length=True,
    )
    buffer = BytesIO()
    file.save_as(buffer)
    _, capture, _ = map(read_back, objects(answer(analysed(read_header(buffer.getvalue())))))
    assert capture.LossyImageCompression == "01"
    assert capture.LossyImageCompressionMethod == ("ISO_10918_1" if syntax.endswith("50") else "ISO_15444_1")
    assert float(capture.LossyImageCompressionRatio) > 1


def test_the_capture_says_what_it_is_and_shows_a_panel_per_likely_finding() -> None:
    header = source()
    _, capture, _ = map(read_back, objects(ANSWERS["found"]()))
    assert list(capture.ImageType[:2]) == ["DERIVED", "SECONDARY"] and capture.BurnedInAnnotation == "YES"
    assert capture.Manufacturer == "THORAX" and capture.LossyImageCompression == "00"
    assert capture.SourceImageSequence[0].ReferencedSOPInstanceUID == header.SOPInstanceUID
    pixels = capture.pixel_array
    panels = [pixels[40:512, n * 384 : (n + 1) * 384].astype(int) for n in range(3)]
    coloured = [bool((panel.max(axis=2) - panel.min(axis=2)).max() > 30) for panel in panels]
    assert coloured == [False, True, True]


def test_the_presentation_state_has_the_contours_and_keeps_the_window() -> None:
    header = source(WindowCenter=100, WindowWidth=200)
    *_, state = map(read_back, objects(answer(analysed(header, Finding.EDEMA))))
    (annotation,) = state.GraphicAnnotationSequence
    assert len(annotation.GraphicObjectSequence) == 1
    assert "NOT FOR DIAGNOSTIC USE" in annotation.TextObjectSequence[0].UnformattedTextValue
    assert state.SoftcopyVOILUTSequence[0].WindowCenter == 100
    image = state.ReferencedSeriesSequence[0].ReferencedImageSequence[0]
    assert image.ReferencedSOPInstanceUID == header.SOPInstanceUID


@pytest.mark.parametrize("orientation", range(1, 9))
def test_contours_lie_on_the_stored_image_however_it_is_turned(orientation: int) -> None:
    stored = np.zeros((28, 28), np.float32)
    stored[2:9, 15:26] = 1
    header = Dataset()
    header.Rows, header.Columns = 280, 560
    maps = np.repeat(upright(stored, orientation)[None], 5, axis=0)
    (contour,) = regions(AnalysedImage(header, maps=maps, orientation=orientation), Finding.EDEMA)
    assert contour.min(axis=0) == pytest.approx([300, 20], abs=6)
    assert contour.max(axis=0) == pytest.approx([520, 90], abs=6)
    assert (contour[0] == contour[-1]).all()


def lut(descriptor: list[int], data: object, vr: str = "US") -> Dataset:
    item = Dataset()
    item.add_new("LUTDescriptor", "SS" if descriptor[1] < 0 else "US", descriptor)
    item.add_new("LUTData", vr, data)
    return item


SLOPE = list(range(0, 4096, 16))
TWO_WINDOWS = {"WindowCenter": [128, 60], "WindowWidth": [200, 90]}
SHADES: dict[str, dict[str, Any]] = {
    "a window": {"WindowCenter": 100, "WindowWidth": 150},
    "two windows": TWO_WINDOWS,
    "empty window": {"WindowCenter": None, "WindowWidth": None},
    "centre without width": {"WindowCenter": 100},
    "window with commas": {"WindowCenter": "100.5", "WindowWidth": "150.25"},
    "rescale with commas": {"RescaleSlope": "1.75", "RescaleIntercept": "-10.5", "WindowCenter": 100, "WindowWidth": 250},
    "slope without intercept": {"RescaleSlope": "2", "WindowCenter": 200, "WindowWidth": 250},
    "exact": {**TWO_WINDOWS, "VOILUTFunction": "LINEAR_EXACT"},
    "sigmoid": {**TWO_WINDOWS, "VOILUTFunction": "SIGMOID"},
    "function that is unknown": {**TWO_WINDOWS, "VOILUTFunction": "S-SHAPED"},
    "words": {"VOILUTSequence": [lut([256, 0, 12], SLOPE)]},
    "LUT and window": {"VOILUTSequence": [lut([256, 0, 12], SLOPE)], **TWO_WINDOWS},
    "8 bits said": {"VOILUTSequence": [lut([256, 0, 8], SLOPE)], **TWO_WINDOWS},
    "bytes": {"VOILUTSequence": [lut([256, 0, 8], bytes(range(256)), "OW")]},
    "few bits": {"VOILUTSequence": [lut([64, 40, 16], list(range(64)))]},
    "signed": {"VOILUTSequence": [lut([356, -100, 12], list(range(0, 3560, 10)))], "RescaleSlope": 1, "RescaleIntercept": -100},
    "empty LUT item": {"VOILUTSequence": [Dataset()], **TWO_WINDOWS},
    "two values": {"VOILUTSequence": [lut([256, 0], SLOPE)], **TWO_WINDOWS},
    "Modality LUT": {"ModalityLUTSequence": [lut([256, 0, 16], [16 * v for v in SLOPE])], "WindowCenter": 32000, "WindowWidth": 48000},
    "shows nothing": {"WindowCenter": 30000, "WindowWidth": 10},
    "LUT shows nothing": {"VOILUTSequence": [lut([2, 0, 16], [0, 60000])], **TWO_WINDOWS},
    "MONOCHROME1": {"PhotometricInterpretation": "MONOCHROME1", **TWO_WINDOWS},
    "INVERSE": {"PresentationLUTShape": "INVERSE", **TWO_WINDOWS},
    "nothing": {},
}  # fmt: skip


@pytest.mark.parametrize("kind", SHADES)
def test_the_presentation_state_shows_the_picture_that_was_analysed(kind: str, tmp_path: Path) -> None:
    """An image that has the state's grey values in place of its own is decoded to the same picture."""
    pixels = np.tile(np.arange(256, dtype=np.uint8), (64, 1))
    shape = {"Rows": 64, "Columns": 256, "BitsAllocated": 8, "BitsStored": 8, "HighBit": 7}
    taken_over = {"StudyInstanceUID": "2.25.1", "SeriesInstanceUID": "2.25.2", "SOPInstanceUID": "2.25.3"}
    with config.disable_value_validation():
        file = dicom(pixels.tobytes(), **shape, **taken_over, **SHADES[kind])
        if "commas" in kind:
            for number in (b"100.5", b"150.25", b"1.75", b"-10.5"):
                file = file.replace(number, number.replace(b".", b","))
        image = decode_dicom(file)
        details = frozenset(warning.detail for warning in image.warnings)
        analysis = replace(analysed(read_header(file), Finding.EDEMA), warnings=details)
        *_, made = objects(answer(analysis))
        assert isinstance(made, Sealed), made
        state = read_back(made)
        assert state.Modality == "PR"
        shades: dict[str, Any] = {"PresentationLUTShape": state.PresentationLUTShape}
        for item in (state, *state.get("SoftcopyVOILUTSequence", ())):
            for keyword in ("ModalityLUTSequence", "RescaleSlope", "RescaleIntercept", "VOILUTSequence", "WindowCenter", "WindowWidth", "VOILUTFunction"):  # fmt: skip
                if keyword in item:
                    shades[keyword] = item[keyword].value
        shown = decode_dicom(dicom(pixels.tobytes(), **shape, **shades))
    assert not shown.warnings
    assert np.abs(shown.grey.astype(int) - image.grey).max() <= 1
    if shutil.which("dciodvfy"):
        (tmp_path / "pr.dcm").write_bytes(made.file)
        ran = subprocess.run(["dciodvfy", tmp_path / "pr.dcm"], check=False, capture_output=True, text=True)
        assert "Error" not in ran.stderr, ran.stderr


def test_a_colour_image_has_no_presentation_state_of_grey_values() -> None:
    made = objects(answer(analysed(source(PhotometricInterpretation="PALETTE COLOR"), Finding.EDEMA)))
    assert [read_back(one).Modality for one in made] == ["SR", "OT"]


def test_what_can_not_be_made_withholds_nothing_else() -> None:
    image = replace(analysed(source(), Finding.EDEMA), display=np.zeros((0, 0), np.uint8))
    report, capture, state = objects(answer(image))
    assert isinstance(capture, Unmade) and capture.name == "SC 1"
    assert (read_back(report).Modality, read_back(state).Modality) == ("SR", "PR")
