"""`thorax predict` and `load_bundle`: files in, the serving code's answers out, without a service."""

import csv
import os
import runpy
import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from tests.factories.bundles import finding_points, make_bundle, make_cascade
from tests.factories.images import chest_jpeg, chest_png

from thorax.commands.cli import cli
from thorax.errors import Code, CodedError
from thorax.findings import FINDINGS
from thorax_client.commands import files
from thorax_offline import load_bundle
from thorax_offline.command import COLUMNS, found

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_bundle(tmp_path_factory.mktemp("models") / "tiny", 2).folder


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """A tree as a CD has it: a picture, a DICOM file without an extension deep below, and what is not an image."""
    folder = tmp_path / "images"
    (folder / "DICOM" / "0001").mkdir(parents=True)
    (folder / "b.png").write_bytes(chest_png())
    shutil.copy(ROOT / "samples/chest.dcm", folder / "DICOM" / "0001" / "IM1")
    (folder / "labels.csv").write_text("image\n")
    (folder / "DICOM" / "DICOMDIR").write_bytes(b"\0" * 128 + b"DICM" + b"\0" * 40)
    return folder


def test_the_client_sends_what_predict_reads(images: Path) -> None:
    """The client has the rule a second time, since it stands alone."""
    (images / "c.jpg").write_bytes(chest_jpeg())
    (images / "empty.png").touch()
    (images / "cut.png").write_bytes(chest_png()[:20])
    (images / "unreadable.png").symlink_to("/proc/self/mem")
    expected = ["DICOM/0001/IM1", "b.png", "c.jpg", "cut.png", "unreadable.png"]
    for find in (found, files.found):
        assert sorted(str(file.relative_to(images)) for file in find([images])) == expected


def test_names_that_are_not_utf8_stay_what_they_are(bundle: Path, tmp_path: Path) -> None:
    image, table = Path(os.fsdecode(bytes(tmp_path) + b"/caf\xe9.png")), tmp_path / "out.csv"
    image.write_bytes(chest_png()[:400])
    assert run(tmp_path, "--bundle", bundle, "--out", table)[0] == 1
    for written in (table.read_bytes(), CliRunner().invoke(cli, ["predict", str(image)]).stdout_bytes):
        assert bytes(image) + b"," in written


def run(*words: object) -> tuple[int, list[dict[str, str]], str]:
    answer = CliRunner().invoke(cli, ["predict", *map(str, words)])
    return answer.exit_code, list(csv.DictReader(answer.stdout.splitlines())), answer.stderr


def test_a_folder_becomes_a_table(bundle: Path, images: Path) -> None:
    code, rows, said = run(images, "--bundle", bundle)
    assert code == 0
    assert [Path(row["image"]).name for row in rows] == ["b.png", "IM1"]
    assert "2 of 2 images" in said
    for row in rows:
        assert tuple(row) == COLUMNS
        reading = load_bundle(bundle).predict(row["image"])
        assert [float(row[f]) for f in FINDINGS] == pytest.approx(reading.probabilities, abs=1e-6)
        assert [row[f"{f}_verdict"] for f in FINDINGS] == [f.verdict for f in reading.findings]
    assert rows[1]["view"] == "PA"


@pytest.mark.parametrize(("words", "networks"), [((), "2"), (("--full",), "3")])
def test_a_cascade_asks_all_only_when_told_to(tmp_path: Path, words: tuple[str, ...], networks: str) -> None:
    folder = make_bundle(tmp_path, 3, cascade=make_cascade("tiny_0", "tiny_2", sure=True)).folder
    _, rows, _ = run(ROOT / "samples/chest.dcm", "--bundle", folder, *words)
    assert rows[0]["networks"] == networks


@pytest.mark.parametrize(("good", "code"), [(1, 3), (0, 1)])
def test_a_refusal_has_a_row_and_an_exit_code(bundle: Path, tmp_path: Path, good: int, code: int) -> None:
    (tmp_path / "broken.png").write_bytes(chest_png()[:400])
    named = [tmp_path / "broken.png", *[ROOT / "samples/chest.dcm"] * good]
    ended, rows, _ = run(*named, "--bundle", bundle)
    assert ended == code
    assert rows[0]["error"] == Code.UNREADABLE_IMAGE
    assert rows[0]["detail"]
    assert not rows[0]["edema"]


def test_a_missing_file_or_bundle_is_reported(bundle: Path, tmp_path: Path, images: Path) -> None:
    assert (
        run(tmp_path / "images" / "labels.csv", "--bundle", bundle)[1][0]["error"] == Code.UNSUPPORTED_MEDIA
    )
    (tmp_path / "empty").mkdir()
    code, _, said = run(tmp_path / "empty", "--bundle", bundle)
    assert (code, "No DICOM, PNG or JPEG file" in said) == (1, True)
    answer = CliRunner().invoke(cli, ["predict", str(images), "--bundle", str(tmp_path)])
    assert isinstance(answer.exception, CodedError)
    assert answer.exception.code is Code.BUNDLE_MISSING


def test_a_file_that_may_not_be_opened_is_found(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(chest_png())
    (tmp_path / "gone.png").symlink_to(tmp_path / "nowhere")
    assert [path.name for path in found([tmp_path])] == ["a.png"]


def test_a_reading_has_what_the_api_shows(tmp_path: Path) -> None:
    points = [finding_points(0.01, 0.99, prevalence=0.25)] * 5
    scale = {"unit": "logit", "full": [2.0] * 5, "cuts": [0.5] * 5}
    folder = make_bundle(tmp_path / "two", 2, format=2, maps=scale, operating_points=points).folder
    reading = load_bundle(folder).predict(ROOT / "samples/chest.dcm")
    assert reading.maps.shape == (5, 28, 28)
    assert reading.maps.dtype == np.float16
    assert reading.image.dtype == np.uint8
    assert max(reading.image.shape) <= 1024
    assert [f.verdict for f in reading.findings] == ["uncertain"] * 5
    assert reading.findings[0].times_the_average == pytest.approx(reading.probabilities[0] / 0.25)
    assert list(reading.backbones) == ["tiny_0", "tiny_1"]


def test_the_example_notebook_runs(
    tmp_path: Path, bundle: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models/default").symlink_to(bundle)
    for name in ("samples", "README.md"):
        (tmp_path / name).symlink_to(ROOT / name)
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(ROOT / "docs/examples/read_an_image.py"))
    said = capsys.readouterr().out
    assert "Pleural Effusion" in said
    assert "unsupported_media_type" in said
