"""`evaluate` scores a bundle on files through the serving code, and tells bad input in one sentence."""

import csv
import json
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from tests.factories.bundles import make_bundle

from thorax.bundle import Engine, load_bundle
from thorax.findings import FINDINGS
from training import engines, evaluate
from training.datasets import DataError, Table

pytestmark = pytest.mark.slow

N = 24


@pytest.fixture
def labelled(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    lines = ["image," + ",".join(FINDINGS) + ",patient_id,view"]
    for i in range(N):
        name = f"{i}.{'png' if i % 2 else 'webp'}"
        cv2.imwrite(str(tmp_path / name), rng.integers(0, 256, (80, 70), dtype=np.uint8))
        lines.append(
            f"{name},{i % 2},{i % 3 // 2},{i % 2},{i % 3 // 2},{i % 2},{i // 2},{'AP' if i % 2 else 'PA'}"
        )
    (tmp_path / "labels.csv").write_text("\n".join(lines) + "\n")
    return tmp_path


def run(monkeypatch: pytest.MonkeyPatch, folder: Path, *more: str) -> int:
    make_bundle(folder / "bundle", 2)
    arguments = ["--data", folder / "labels.csv", "--images", folder, "--out", folder / "report.json"]
    monkeypatch.setattr(
        sys, "argv", ["evaluate", *map(str, arguments), "--bundle", str(folder / "bundle"), *more]
    )
    return evaluate.main()


def test_the_report_has_the_promised_shape(labelled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(monkeypatch, labelled, "--plots", str(labelled / "plots")) == 0
    report = json.loads((labelled / "report.json").read_text())
    assert report["n"] == N
    assert report["patients"] == N // 2
    assert set(report["ensemble"]["auc"]) == set(FINDINGS)
    assert 0 <= report["ensemble"]["mean_auc"] <= 1
    assert report["ensemble"]["ece"] >= 0
    assert set(report["backbones"]) == {"tiny_0", "tiny_1"}
    assert cv2.imread(str(labelled / "plots" / "roc.png")) is not None


def test_broken_images_are_named_and_skipped(
    labelled: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (labelled / "3.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    (labelled / "5.png").unlink()
    other = labelled / "other" / "5.png"  # a name that another folder has too, as CheXpert's views
    labels = labelled / "labels.csv"
    labels.write_text(labels.read_text() + "other/5.png,1,0,1,0,1,99,AP\n")
    assert run(monkeypatch, labelled) == 0
    report = json.loads((labelled / "report.json").read_text())
    assert report["n"] == N - 2
    assert set(report["skipped"]) == {str(path) for path in (labelled / "3.png", labelled / "5.png", other)}
    assert "3 skipped" in capsys.readouterr().out


def test_bad_input_is_one_sentence(
    labelled: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (labelled / "labels.csv").write_text("image,pneumonia\n1.png,1\n")
    assert run(monkeypatch, labelled) == 2
    said = capsys.readouterr().err.strip()
    assert "expected the columns image, atelectasis" in said
    assert "\n" not in said


def test_a_metric_that_cannot_be_measured_is_null_with_a_reason(
    labelled: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [f"{i}.{'png' if i % 2 else 'webp'},{i % 2},0" for i in range(8)]
    (labelled / "labels.csv").write_text("\n".join(["image,atelectasis,edema", *rows]) + "\n")
    out = labelled / "predictions.csv"
    assert run(monkeypatch, labelled, "--plots", str(labelled), "--predictions", str(out)) == 0
    text = (labelled / "report.json").read_text()
    assert "NaN" not in text
    report = json.loads(text)["ensemble"]
    assert report["auc"]["atelectasis"] == report["mean_auc"]
    assert (report["auc"]["edema"], report["auc_95"]["edema"], report["sensitivity"]["edema"]) == (None,) * 3
    assert report["specificity"]["edema"] is not None
    assert report["ece_by_finding"]["consolidation"] is None
    said = capsys.readouterr().err
    assert "edema has one class only" in said
    assert "consolidation has no label" in said
    table = list(csv.DictReader(out.open()))
    assert [row["image"] for row in table] == [row.split(",")[0] for row in rows]
    assert table[1]["atelectasis_label"] == "1"
    assert table[1]["consolidation_label"] == ""
    assert 0 < float(table[1]["consolidation"]) < 1


def test_it_needs_no_torch() -> None:
    import subprocess

    code = "import sys; sys.modules['torch'] = None; sys.path[:0] = sys.argv[1:]; import training.evaluate"
    source = str(Path(evaluate.__file__).parents[1])
    assert subprocess.run([sys.executable, "-c", code, source], check=False).returncode == 0


def test_what_other_engines_change_stands_in_a_new_version(
    labelled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("openvino", reason="needs OpenVINO (make openvino)")
    make_bundle(labelled / "bundle", 2)
    place = ["--data", labelled / "labels.csv", "--images", labelled, "--out", labelled / "next"]
    words = [labelled / "bundle", *place, "--version", "2.0", "--part", "all"]
    monkeypatch.setattr(sys, "argv", ["engines", *map(str, words)])
    engines.main()
    written = load_bundle(labelled / "next")
    assert written.manifest.version == "2.0"
    assert "| openvino |" in written.card
    figures = written.manifest.engines[Engine.OPENVINO]
    assert figures.images == N
    assert figures.maps > 0.05  # OpenVINO passes over the antialiasing of the tiny graph's Resize, so
    assert not figures.serves


def test_an_engine_has_no_figures_where_no_auc_can_be_measured(labelled: Path) -> None:
    labels = np.stack([np.ones(5), np.zeros(5)]).astype(np.float32)
    table = Table(labelled / "labels.csv", ("missing.png", "1.png"), ("1", "2"), labels, {})
    with pytest.raises(DataError, match="one class only"):
        engines.compare(make_bundle(labelled / "bundle", 1), table, labelled, [Engine.ONNXRUNTIME])
