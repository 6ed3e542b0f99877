"""Imported bundles become one ensemble, fitted to labelled images; needs no torch."""

import sys
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from tests.factories.bundles import finding_points, make_bundle

from thorax.bundle import load_bundle
from thorax.findings import FINDINGS
from training import assemble
from training.bundles import Member
from training.datasets import DataError, Table
from training.images import load_images

N = 60


@pytest.fixture
def data(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    lines = ["image,patient_id," + ",".join(FINDINGS)]
    for i in range(N):
        cv2.imwrite(str(tmp_path / f"{i}.png"), rng.integers(0, 156, (48, 48), np.uint8) + 90 * (i % 2))
        lines.append(f"{i}.png,{i}," + ",".join(str((i + (i % 7 == f)) % 2) for f in range(5)))
    (tmp_path / "labels.csv").write_text("\n".join(lines) + "\n")
    return tmp_path


def run(monkeypatch: pytest.MonkeyPatch, data: Path, *members: Path | str) -> None:
    words = [*members, "--data", data / "labels.csv", "--images", data, "--out", data / "ours"]
    words += ["--cache", data / "cache", "--licence", "MIT"]
    monkeypatch.setattr(sys, "argv", ["assemble", *map(str, words)])
    assemble.main()


@pytest.mark.slow
def test_two_imports_of_one_name_become_one_fitted_bundle(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = (make_bundle(data / name, ["resnet"], size=size) for name, size in (("a", 64), ("b", 48)))
    monkeypatch.setitem(sys.modules, "torch", None)
    run(monkeypatch, data, first.folder, second.folder)
    ours = load_bundle(data / "ours")
    assert ours.names == ("resnet", "resnet_2")
    assert [b.input.size for b in ours.manifest.backbones] == [64, 48]
    assert (ours.manifest.format, ours.manifest.licence) == (2, "MIT")
    points = ours.manifest.operating_points
    assert points is not None
    assert 45 < points[0].images < N  # all but the test part
    assert 0 < ours.manifest.metrics["n"] < 15
    assert "Figures on the test part" in ours.card
    assert "Figures on the set without its test part" in ours.card and "--part all-but-test" in ours.card


@pytest.mark.slow
def test_a_later_member_takes_the_place_of_its_name_and_maps_that_were_not_fused_are_not(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scale = {"unit": "probability", "full": [1.0] * 5, "cuts": [0.5] * 5}
    points = [finding_points(0.1, 0.9)] * 5
    keep = {"format": 2, "operating_points": points}
    old = make_bundle(data / "a", ["one", "two"], maps={**scale, "members": ["two"]}, **keep)
    new = make_bundle(data / "b", ["two"], size=48, maps=scale, **keep)
    run(monkeypatch, data, old.folder, new.folder, "--replace", "--cascade", "two")
    ours = load_bundle(data / "ours")
    assert [(b.name, b.input.size) for b in ours.manifest.backbones] == [("one", 64), ("two", 48)]
    assert ours.manifest.drawn == ("two",)
    assert ours.manifest.cascade is not None


def test_settings_that_contradict_each_other_are_reported_in_one_sentence(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scale = {"unit": "probability", "full": [1.0] * 5, "cuts": [0.5] * 5}
    points = [finding_points(0.1, 0.9)] * 5
    logits = make_bundle(data / "a", 1).folder
    shares = make_bundle(data / "b", 1, format=2, maps=scale, operating_points=points).folder
    with pytest.raises(SystemExit, match="can't be added up"):
        run(monkeypatch, data, logits, shares)
    with pytest.raises(SystemExit, match="expected another folder in --out"):
        run(monkeypatch, data, data / "ours", logits)
    monkeypatch.setitem(sys.modules, "training.members", None)
    with pytest.raises(SystemExit, match="make training-env"):
        run(monkeypatch, data, data / "x.ckpt")


def test_names_stay_apart_also_from_those_that_were_numbered_before() -> None:
    members = [Member(name, onnx.ModelProto(), "", 0) for name in ("x", "x_2", "x", "y", "x")]
    assert [m.name for m in assemble.named_apart(members)] == ["x", "x_2", "x_3", "y", "x_4"]


def test_the_licences_are_those_of_the_members(tmp_path: Path) -> None:
    folders = [tmp_path / "a", tmp_path / "b", tmp_path / "x.ckpt", tmp_path / "c"]
    told = {"a": "CC-BY-NC-4.0", "b": "MIT", "c": "MIT"}
    bundles = {tmp_path / name: make_bundle(tmp_path / name, 1, licence=of) for name, of in told.items()}
    assert assemble.licence_of(folders, bundles) == "CC-BY-NC-4.0; MIT; Apache-2.0"


def test_an_image_that_was_missing_is_read_once_it_is_there(tmp_path: Path) -> None:
    labels = np.zeros((2, 5), np.float32)
    table = Table(tmp_path / "labels.csv", ("a.png", "b.png"), ("1", "2"), labels, {})
    with pytest.raises(DataError, match="none of the 2 images"):
        load_images(table, tmp_path, 32, tmp_path / "cache")
    for name, images in (("a.png", ("a.png",)), ("b.png", ("a.png", "b.png"))):
        cv2.imwrite(str(tmp_path / name), np.tile(np.arange(70, dtype=np.uint8), (70, 1)))
        read, pixels = load_images(table, tmp_path, 32, tmp_path / "cache")
        assert (read.images, pixels.shape) == (images, (len(images), 32, 32))
    (tmp_path / "a.png").unlink()  # kept
    assert load_images(table, tmp_path, 32, tmp_path / "cache")[0].images == table.images


def test_answers_are_kept_for_the_images_of_their_folder(tmp_path: Path) -> None:
    bundle, labels = make_bundle(tmp_path / "bundle", 1).folder, np.zeros((1, 5), np.float32)
    table = Table(tmp_path / "labels.csv", ("a.png",), ("1",), labels, {})
    said = []
    for shade in (1, 3):
        (images := tmp_path / str(shade)).mkdir()
        cv2.imwrite(str(images / "a.png"), np.tile(np.arange(70, dtype=np.uint8) * shade, (70, 1)))
        said.append(assemble.predictions(bundle, table, images, tmp_path / "cache").by_backbone["tiny_0"])
    assert not np.allclose(said[0], said[1])
