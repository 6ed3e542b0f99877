"""The secondary capture: the image with the heatmap of each likely finding, a legend, and what it must not be used for."""

from functools import cache

import cv2
import numpy as np
from highdicom.sc import SCImage
from numpy.typing import NDArray
from pydicom import Dataset

from aggregator.objects.answer import AnalysedImage, Answer
from aggregator.objects.identity import MODEL_NAME, NOT_FOR_DIAGNOSIS, UNSEALED, Sealed, seal, series_uid
from aggregator.objects.presentation import caption
from aggregator.objects.source import evidence, reference
from thorax.findings import FINDINGS
from thorax.pacs import OWN_MANUFACTURER

SERIES_NUMBER = 9902
PANEL = 512
LINE = 24
_WHITE, _GREY = (255, 255, 255), (170, 170, 170)
Picture = NDArray[np.uint8]


def capture(answer: Answer, image: AnalysedImage, number: int) -> Sealed:
    """The SC of one image: a panel per likely finding beside the image itself, unless the maps are erased; of a refused image the
    reason only."""
    source = evidence(image.source)
    made = SCImage(
        pixel_array=page(answer, image),
        photometric_interpretation="RGB",
        bits_allocated=8,
        coordinate_system="PATIENT",
        study_instance_uid=source.StudyInstanceUID,
        series_instance_uid=series_uid(answer, "SC"),
        series_number=SERIES_NUMBER,
        sop_instance_uid=UNSEALED,
        instance_number=number,
        manufacturer=OWN_MANUFACTURER,
        patient_orientation=("L", "F"),
    )
    made.ImageType = ["DERIVED", "SECONDARY"]
    made.PatientOrientation = []  # a page of panels and text has none, which the library does not allow for
    made.Modality, made.ConversionType, made.BurnedInAnnotation = "OT", "WSD", "YES"
    made.DerivationDescription = f"{caption(image) if image.said else image.reason}. {NOT_FOR_DIAGNOSIS}"
    made.DerivationCodeSequence = [_code("113085", "DCM", "Spatial resampling")]
    origin = reference(image.source)
    origin.PurposeOfReferenceCodeSequence = [
        _code("121322", "DCM", "Source image for image processing operation")
    ]
    made.SourceImageSequence = [origin]
    _say_lossy(made, image.source)
    return seal(made, answer, image.source)


def page(answer: Answer, image: AnalysedImage) -> Picture:
    """The picture, RGB `[h, w, 3]`. No patient's name is in it."""
    foot = [
        f"{MODEL_NAME}: {answer.model} {answer.version}, bundle {answer.digest[:12]}, {answer.ready_at:%Y-%m-%d %H:%M} UTC",
        NOT_FOR_DIAGNOSIS,
    ]
    if not image.said or image.display is None:
        return _with_legend(
            np.zeros((PANEL // 4, PANEL * 3 // 2, 3), np.uint8), ["NOT ANALYSED", image.reason, *foot]
        )
    panels = [_titled(_fitted(image.display), "Image")]
    shown = image.likely if image.maps is not None else ()
    for said in shown:
        panels.append(_titled(_heated(image, FINDINGS.index(said.finding)), f"{said.finding.label}"))
    if not shown:
        foot.insert(0, caption(image))
    lines = [
        f"{s.finding.label}: {s.probability:.2f} (threshold {s.threshold:.2f}), {s.verdict}"
        for s in image.said
    ]
    return _with_legend(np.concatenate(panels, axis=1), [*lines, *foot])


def _fitted(display: Picture) -> Picture:
    scale = PANEL / max(display.shape)
    size = (max(1, round(display.shape[1] * scale)), max(1, round(display.shape[0] * scale)))
    return np.asarray(
        cv2.cvtColor(cv2.resize(display, size, interpolation=cv2.INTER_AREA), cv2.COLOR_GRAY2RGB)
    )


def _heated(image: AnalysedImage, place: int) -> Picture:
    """The map over the image: a pixel is half its heat of colour, so that cold places show the image untouched."""
    assert image.display is not None and image.maps is not None
    base = _fitted(image.display)
    heat = cv2.resize(
        np.asarray(image.maps[place], np.float32), base.shape[1::-1], interpolation=cv2.INTER_CUBIC
    )
    level = (np.clip(heat, 0, 1) * 255).astype(np.uint8)
    return _heat_over_grey().take(level * np.uint16(256) + base[..., 0], axis=0)


@cache
def _heat_over_grey() -> Picture:
    """`[65536, 3]`: the colour of each heat, times 256, plus each grey value."""
    level, grey = np.indices((256, 256), np.uint8).reshape(2, -1, 1)
    colour = cv2.applyColorMap(level, cv2.COLORMAP_INFERNO)[:, 0, ::-1]
    share = level.astype(np.float32) / 510
    return np.asarray(grey * (1 - share) + colour * share, np.uint8)


def _titled(panel: Picture, title: str) -> Picture:
    cv2.putText(panel, title, (8, LINE), cv2.FONT_HERSHEY_SIMPLEX, 0.6, _WHITE, 1, cv2.LINE_AA)
    return panel


def _with_legend(picture: Picture, lines: list[str]) -> Picture:
    """Lines of text below a picture, in a strip as wide as the longest needs."""
    width = max([picture.shape[1], *(_width(line) + 16 for line in lines)])
    page = np.zeros((picture.shape[0] + LINE * (len(lines) + 1), width, 3), np.uint8)
    page[: picture.shape[0], : picture.shape[1]] = picture
    for number, line in enumerate(lines, 1):
        at = (8, picture.shape[0] + LINE * number)
        colour = _WHITE if line == NOT_FOR_DIAGNOSIS else _GREY
        cv2.putText(page, line, at, cv2.FONT_HERSHEY_SIMPLEX, 0.5, colour, 1, cv2.LINE_AA)
    return page


def _width(line: str) -> int:
    return int(cv2.getTextSize(line, cv2.FONT_HERSHEY_SIMPLEX, 0.5, 1)[0][0])


def _say_lossy(made: Dataset, source: Dataset) -> None:
    """What derives from a lossy image is lossy (PS3.3 C.7.6.1.1.5)."""
    made.LossyImageCompression = "01" if source.get("LossyImageCompression") == "01" else "00"
    if made.LossyImageCompression == "01":
        for keyword in ("LossyImageCompressionRatio", "LossyImageCompressionMethod"):
            if keyword in source:
                made.add(source[keyword])


def _code(value: str, scheme: str, meaning: str) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item
