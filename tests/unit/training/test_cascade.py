"""A fitted cascade asks the rest for the share of images that it was told, and is measured as it is served."""

from pathlib import Path

import numpy as np
from tests.factories.bundles import make_bundle

from training.cascade import ASKED, NEAR, fit_cascade, would_run
from training.metrics import auc

rng = np.random.default_rng(5)
LABELS = (rng.random((600, 5)) < 0.25).astype(float)
GOOD = 1 / (1 + np.exp(-(2.0 * LABELS - 1 + rng.normal(0, 1.0, (3, *LABELS.shape)))))


def test_the_rest_are_asked_for_the_share_that_was_wanted(tmp_path: Path) -> None:
    manifest = make_bundle(tmp_path, 3).manifest
    cascade = fit_cascade(manifest, LABELS, GOOD, np.arange(600) // 2, ["tiny_0", "tiny_2"])
    served = manifest.model_copy(update={"cascade": cascade})
    rows = [{f"tiny_{m}": GOOD[m, i] for m in range(3)} for i in range(600)]
    asked = [would_run(served, row) for row in rows]
    assert {len(names) for names in asked} == {2, 3}
    assert np.mean([len(names) == 3 for names in asked]) + 1 / 600 >= NEAR
    assert np.mean([len(names) == 3 for names in asked]) <= ASKED + 1 / 600
    assert all(low < high for low, high in cascade.bands)
    mean = 0.5 * (GOOD[0] + GOOD[2])
    scaled = [cascade.calibration[0](p) for p in mean[:, 0]]
    assert auc(LABELS[:, 0], np.array(scaled)) > 0.8
