"""A bundle of format 1 becomes one of format 2 on labelled images, its graphs untouched."""

import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from tests.factories.bundles import make_bundle

from thorax.bundle import load_bundle
from thorax.findings import FINDINGS
from thorax.heatmaps import fuse
from training import refit


@pytest.mark.slow
def test_refit_writes_a_bundle_of_format_2(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = make_bundle(tmp_path / "before", 2)
    rng = np.random.default_rng(0)
    lines = ["image," + ",".join(FINDINGS) + ",patient_id"]
    for i in range(40):
        cv2.imwrite(
            str(tmp_path / f"{i}.png"),
            np.clip(rng.normal(60 + 60 * (i % 2), 30, (70, 70)), 0, 255).astype(np.uint8),
        )
        lines.append(f"{i}.png," + ",".join(str(int(i % 2 and i % 10 != f)) for f in range(5)) + f",{i // 2}")
    (tmp_path / "labels.csv").write_text("\n".join(lines) + "\n")
    words = ["refit", tmp_path / "before", "--data", tmp_path / "labels.csv", "--images", tmp_path, "--out", tmp_path / "after", "--version", "2.0"]  # fmt: skip
    monkeypatch.setattr(sys, "argv", [str(word) for word in words])
    refit.main()
    after = load_bundle(tmp_path / "after")
    assert (after.manifest.format, after.manifest.version) == (2, "2.0")
    assert [b.sha256 for b in after.manifest.backbones] == [b.sha256 for b in before.manifest.backbones]
    points, maps = after.manifest.operating_points, after.manifest.maps
    assert points is not None and maps is not None
    assert after.manifest.thresholds[0] == points[0].likely.threshold
    assert "## Likely, uncertain, unlikely" in after.card
    assert after.manifest.cascade is None
    # the same evidence is drawn the same, whatever else the image shows
    grids = {name: np.full((5, 7, 7), 0.001, np.float16) for name in after.names}
    assert 0 < fuse(after.manifest, grids)[0].max() < 1
    assert fuse(before.manifest, grids)[0].max() == 1
