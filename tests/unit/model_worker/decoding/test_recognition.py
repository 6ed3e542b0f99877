"""A picture says itself whether it is a chest, upright and light where X-rays were stopped."""

import csv
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from tests.factories.images import grey

from model_worker.decoding.decoded import DecodedImage
from model_worker.decoding.images import read_image, set_right
from model_worker.decoding.orientation import UNDO, composed, upright
from model_worker.decoding.recognition import Shown, recognise
from thorax.errors import Code, CodedError
from thorax.image_warnings import WarningCode

DATA = Path(os.environ.get("THORAX_TEST_DATA", Path(__file__).parents[5] / "shared" / "data"))
needs_data = pytest.mark.skipif(
    not (DATA / "nih_cxr").is_dir(), reason=f"no real radiographs: {DATA} is missing"
)
CHEST = grey(3, 400)


def wave(edge: int = 300) -> np.ndarray:
    return (np.sin(np.arange(edge) / 9) * 100 + 128)[None].repeat(edge, 0).astype(np.uint8)


def as_sent(picture: np.ndarray) -> DecodedImage:
    return DecodedImage(picture, *picture.shape, 1, ())


@pytest.mark.parametrize("turns", range(4))
@pytest.mark.parametrize("inverted", [False, True])
def test_a_turned_or_inverted_chest_is_set_right(turns: int, inverted: bool) -> None:
    sent = np.ascontiguousarray(np.rot90(255 - CHEST if inverted else CHEST, turns))
    image = set_right(as_sent(sent))
    assert (image.grey == CHEST).all()
    assert {warning.code for warning in image.warnings} == ({WarningCode.POLARITY} if inverted else set()) | (
        {WarningCode.TURNED} if turns else set()
    )
    assert (upright(image.grey, UNDO[image.orientation]) == (255 - sent if inverted else sent)).all()


@pytest.mark.parametrize(
    "picture",
    [
        np.random.default_rng(0).integers(0, 255, (300, 300), np.uint8),
        np.tile(np.arange(256, dtype=np.uint8), (256, 1)),
        wave(),
        CHEST[100:240, 100:180],
        np.hstack([CHEST, CHEST]),
    ],
    ids=["noise", "ramp", "wave", "detail", "two chests"],
)
def test_an_image_that_is_not_a_chest_is_refused_unless_forced(picture: np.ndarray) -> None:
    with pytest.raises(CodedError) as caught:
        set_right(as_sent(picture))
    assert caught.value.code is Code.NOT_A_CHEST
    forced = set_right(as_sent(picture), force=True)
    assert (forced.grey == picture).all()
    assert [warning.code for warning in forced.warnings] == [WarningCode.OVERRULED]


def test_orientations_compose() -> None:
    marks = np.arange(6).reshape(2, 3)
    for first in range(1, 9):
        assert composed(first, UNDO[first]) == 1
        for second in range(1, 9):
            both = upright(upright(marks, first), second)
            assert (upright(marks, composed(first, second)) == both).all()


@needs_data
@pytest.mark.slow
def test_real_radiographs_are_taken_as_they_are_and_set_right_when_turned() -> None:
    rows = list(csv.DictReader((DATA / "nih_boxes" / "boxes.csv").open()))  # none of them was trained with
    wrong, missed = 0, 0
    names = sorted({row["image"] for row in rows})
    for name in names:
        chest = cv2.imread(str(DATA / "nih_boxes" / "images" / name), cv2.IMREAD_GRAYSCALE)
        wrong += recognise(chest) != Shown(chest=True)
        for turns, inverted in ((1, False), (3, False), (0, True)):
            sent = np.ascontiguousarray(np.rot90(255 - chest if inverted else chest, turns))
            missed += recognise(sent) != Shown(chest=True, turns=turns, inverted=inverted)
    assert wrong <= 1
    assert missed <= 0.04 * 3 * len(names)


@needs_data
@pytest.mark.parametrize("name", ["RG1_J2KI", "RG1_JLSN", "gdcm-CR-MONO1-10-chest", "mlmed_chest_pa"])
def test_real_chests_of_other_sources_are_taken(name: str) -> None:
    assert not read_image((DATA / "dicom" / f"{name}.dcm").read_bytes(), "application/dicom").warnings


@needs_data
def test_a_real_knee_is_refused_without_its_header() -> None:
    from model_worker.decoding.dicom import decode_dicom

    knee = decode_dicom((DATA / "dicom" / "RG3_J2KR.dcm").read_bytes(), force=True).grey
    turnings: list[Callable[[np.ndarray], np.ndarray]] = [lambda a: a, lambda a: 255 - a, np.rot90]
    for turned in turnings:
        assert not recognise(np.ascontiguousarray(turned(knee))).chest


def test_nothing_is_read_or_parsed_by_the_first_picture() -> None:
    """Threads may recognise their first pictures at once, and a decoding child can open no file."""
    script = """
import sys
import numpy as np
from model_worker.decoding.recognition import recognise
seen = []
sys.addaudithook(lambda event, _: event in ("open", "compile") and seen.append(event))
recognise(np.zeros((300, 300), np.uint8))
print(seen)
"""
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert done.stdout == "[]\n"
