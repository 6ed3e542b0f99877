"""The figures on the page about figures are those of the default bundle, and its arithmetic is right."""

import runpy
from pathlib import Path

import pytest

from thorax.bundle import load_bundle
from thorax.findings import FINDINGS, Finding

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs/reference/what-the-numbers-mean.md").read_text()


def test_the_table_is_what_the_command_prints(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr("sys.argv", ["operating_points.py"])
    runpy.run_path("docs/examples/operating_points.py", run_name="__main__")
    rows = capsys.readouterr().out
    assert len(rows.splitlines()) == len(FINDINGS)
    assert rows in PAGE


def test_the_example_is_right() -> None:
    manifest = load_bundle(ROOT / "models/default").manifest
    assert manifest.operating_points
    points = manifest.operating_points[FINDINGS.index(Finding.CARDIOMEGALY)]
    assert f"likelihood ratio of {points.likelihood_ratio(0.19):.1f}" in PAGE
    assert f"the probability is {points.at_prevalence(0.19, 0.20):.2f}" in PAGE.replace("\n", " ")
    assert f"{points.images:,} images" in PAGE
    assert f"mean AUC {manifest.metrics['ensemble']['mean_auc']:.3f}" in PAGE
