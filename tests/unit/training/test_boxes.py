"""The pointing game against maps and boxes made by hand, and bad rows told by their line."""

import json
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from tests.factories.bundles import make_bundle

from thorax.findings import FINDINGS
from training import evaluate
from training.boxes import SIDE, measure_boxes, of_others, pointing, read_boxes
from training.datasets import DataError

HEADER = "image,finding,x,y,width,height,patient_id\n"


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    for name in ("a.png", "b.png"):
        image = np.full((64, 64), 20, np.uint8)
        image[:32, :32] = 230  # tiny networks see what is light
        cv2.imwrite(str(folder / name), image)
    return folder


def boxes(folder: Path, *rows: str) -> Path:
    path = folder.parent / "boxes.csv"
    path.write_text(HEADER + "\n".join(rows) + "\n")
    return path


def test_a_map_that_points_into_the_box_hits() -> None:
    inside = np.zeros((2, SIDE, SIDE), bool)
    inside[:, :56, :56] = True
    maps = np.zeros((2, SIDE, SIDE), np.float32)
    maps[0, 10, 10] = 1.0
    maps[1, 100, 100] = 1.0
    figures = pointing(maps, inside, np.array([0, 1]))
    assert figures["hits"] == 0.5
    assert figures["energy"] == pytest.approx(0.5)
    assert figures["hits_95"] == (0.0, 1.0)


def test_a_map_that_is_the_box_has_iou_one() -> None:
    inside = np.zeros((3, SIDE, SIDE), bool)
    inside[:, 20:60, 30:80] = True
    figures = pointing(inside.astype(np.float32), inside, np.array([0, 1, 1]))
    assert (figures["hits"], figures["iou"]) == (1.0, 1.0)


def test_a_flat_map_hits_by_chance() -> None:
    inside = np.zeros((1, SIDE, SIDE), bool)
    inside[:, :28] = True
    assert pointing(np.zeros((1, SIDE, SIDE), np.float32), inside, np.array([0]))["hits"] == 0.25


def test_the_maps_of_others_tell_what_the_finding_alone_would_hit(images: Path, tmp_path: Path) -> None:
    """Both images are light in one corner: what one patient's map says holds for the other, whose box may be elsewhere."""
    bundle = make_bundle(tmp_path / "bundle", 2)
    edema = ["a.png,edema,0,0,0.5,0.5,1", "b.png,edema,0.5,0.5,0.5,0.5,2"]
    report = measure_boxes(bundle, boxes(images, *edema, "a.png,atelectasis,0,0,0.5,0.5,1"), images)
    assert report["findings"]["edema"]["others"]["hits"] == 0.5
    assert "others" not in report["findings"]["atelectasis"]


def test_others_are_other_patients() -> None:
    maps = np.stack([np.full((SIDE, SIDE), value, np.float32) for value in (1, 2, 6)])
    assert [grid[0, 0] for grid in of_others(maps, np.array([0, 0, 1]))] == [6, 6, 1.5]


def test_bad_rows_are_named_counted_and_skipped(images: Path) -> None:
    path = boxes(
        images,
        "a.png,atelectasis,0.1,0.1,0.2,0.2,1",
        "a.png,pneumothorax,0.1,0.1,0.2,0.2,1",
        "a.png,edema,0.9,0.1,0.2,0.2,1",
        "gone.png,edema,0.1,0.1,0.2,0.2,2",
        "a.png,edema,x,0.1,0.2,0.2,1",
    )
    cases, skipped = read_boxes(path, images)
    assert [case.finding for case in cases] == ["atelectasis"]
    assert list(skipped) == [f"boxes.csv, line {line}" for line in (3, 4, 5, 6)]
    said = list(skipped.values())
    assert "unknown finding" in said[0]
    assert "not inside the image" in said[1]
    assert "gone.png is missing" in said[2]
    assert "numbers" in said[3]


def test_no_usable_box_is_reported_in_one_sentence(images: Path) -> None:
    with pytest.raises(DataError, match="no usable box"):
        read_boxes(boxes(images, "a.png,edema,0.9,0.1,0.2,0.2,1"), images)


def test_several_boxes_of_a_finding_are_one_case(images: Path) -> None:
    cases, _ = read_boxes(boxes(images, "a.png,edema,0,0,0.5,0.5,1", "a.png,edema,0.5,0.5,0.5,0.5,1"), images)
    assert len(cases) == 1
    assert cases[0].inside.mean() == pytest.approx(0.5)


def test_a_bundle_that_sees_the_light_corner_points_at_it(images: Path, tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "bundle", 2)
    report = measure_boxes(
        bundle, boxes(images, "a.png,edema,0,0,0.5,0.5,1", "b.png,edema,0,0,0.5,0.5,2"), images
    )
    edema = report["findings"]["edema"]
    assert edema["n"] == 2
    assert edema["chance"] == pytest.approx(0.25)
    assert edema["ensemble"]["hits"] == 1.0


def test_evaluate_puts_the_pointing_into_its_report(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    make_bundle(tmp_path / "bundle", 1)
    labels = [f"{n}.png,{i},{i},{i},{i},{i}" for i, n in enumerate("ab")]
    (tmp_path / "labels.csv").write_text("image," + ",".join(FINDINGS) + "\n" + "\n".join(labels) + "\n")
    path = boxes(images, "a.png,edema,0,0,0.5,0.5,1", "a.png,edema,2,0,0.5,0.5,1")
    arguments = {"data": tmp_path / "labels.csv", "images": images, "out": tmp_path / "out.json"}
    line = [word for name, value in arguments.items() for word in (f"--{name}", str(value))]
    monkeypatch.setattr(
        sys, "argv", ["evaluate", *line, "--bundle", str(tmp_path / "bundle"), "--boxes", str(path)]
    )
    assert evaluate.main() == 0
    report = json.loads((tmp_path / "out.json").read_text())
    assert report["pointing"]["findings"]["edema"]["n"] == 1
    assert "boxes.csv, line 3" in capsys.readouterr().out
