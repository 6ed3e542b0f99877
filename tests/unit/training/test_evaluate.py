"""`evaluate` scores a bundle on files through the serving code, and tells bad input in one sentence."""

import json
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from tests.factories.bundles import make_bundle

from thorax.findings import FINDINGS
from training import evaluate

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
    assert run(monkeypatch, labelled) == 0
    report = json.loads((labelled / "report.json").read_text())
    assert report["n"] == N - 2
    assert set(report["skipped"]) == {"3.png", "5.png"}
    assert "2 skipped" in capsys.readouterr().out


def test_bad_input_is_one_sentence(
    labelled: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = (labelled / "labels.csv").read_text().splitlines()
    (labelled / "labels.csv").write_text("\n".join(lines[:3]) + "\n")
    assert run(monkeypatch, labelled) == 2
    said = capsys.readouterr().err.strip()
    assert "one class only" in said
    assert "\n" not in said


def test_it_needs_no_torch() -> None:
    import subprocess

    code = "import sys; sys.modules['torch'] = None; sys.path[:0] = sys.argv[1:]; import training.evaluate"
    source = str(Path(evaluate.__file__).parents[1])
    assert subprocess.run([sys.executable, "-c", code, source], check=False).returncode == 0
