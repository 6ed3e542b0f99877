"""A bundle of format 1 becomes one of format 2 on labelled images, its graphs untouched."""

import shutil
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner
from tests.factories.bundles import finding_points, make_bundle

from thorax.bundle import load_bundle
from thorax.cascade import asked_first
from thorax.commands.cli import cli
from thorax.findings import FINDINGS
from thorax.heatmaps import fuse
from training import refit
from training.cascade import would_run
from training.datasets import Table
from training.predict import Predictions, each_image


@pytest.mark.slow
def test_refit_writes_a_bundle_of_format_2(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = {"data": "theirs", "backbones": {}, "ensemble": {"mean_auc": 0.9}, "pointing": {}}
    before = make_bundle(tmp_path / "before", 2, metrics=told)
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
    assert after.manifest.metrics == {
        "data": "theirs",
        "backbones": {},
    }  # the graphs', no more the ensemble's
    assert [b.sha256 for b in after.manifest.backbones] == [b.sha256 for b in before.manifest.backbones]
    points, maps = after.manifest.operating_points, after.manifest.maps
    assert points is not None and maps is not None
    assert after.manifest.thresholds[0] == points[0].likely.threshold
    assert "## Likely, uncertain, unlikely" in after.card
    assert after.manifest.cascade is None
    assert asked_again(monkeypatch, tmp_path, words, "--cascade", "tiny_1") == ("tiny_1",)
    assert asked_again(monkeypatch, tmp_path, words) == ("tiny_1",)
    assert asked_again(monkeypatch, tmp_path, words, "--no-cascade") is None
    # the same evidence is drawn the same, whatever else the image shows
    grids = {name: np.full((5, 7, 7), 0.001, np.float16) for name in after.names}
    assert 0 < fuse(after.manifest, grids)[0].max() < 1
    assert fuse(before.manifest, grids)[0].max() == 1


def test_the_command_lists_the_options(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(refit.__file__).parents[1]))
    assert CliRunner().invoke(cli, ["bundle", "recalibrate", "--help"]).exit_code == 0
    assert "--keep-weights" in capfd.readouterr().out


def test_what_can_not_be_fitted_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scale = {"unit": "probability", "full": [1.0] * 5, "cuts": [0.5] * 5, "members": ["tiny_1"]}
    make_bundle(tmp_path / "b", 3, format=2, maps=scale, operating_points=[finding_points(0.1, 0.9)] * 5)
    rows = [f"{i}.png," + ",".join([str(int(i == 0))] * 5) for i in range(4)]
    (tmp_path / "labels.csv").write_text("\n".join(["image," + ",".join(FINDINGS), *rows]) + "\n")
    for i in range(1, 4):  # of the only image with the findings there is none
        cv2.imwrite(str(tmp_path / f"{i}.png"), np.tile(np.arange(70, dtype=np.uint8) + i, (70, 1)))
    words = ["refit", tmp_path / "b", "--data", tmp_path / "labels.csv", "--images", tmp_path, "--out", tmp_path / "o", "--version", "2"]  # fmt: skip

    def refused(*more: str) -> str:
        monkeypatch.setattr(sys, "argv", [str(word) for word in (*words, *more)])
        with pytest.raises(SystemExit) as stopped:
            refit.main()
        return str(stopped.value)

    assert "atelectasis has one class only" in refused()
    assert "no member is called resnet; there are tiny_0, tiny_1, tiny_2" in refused("--cascade", "resnet")
    assert "names all members" in refused("--cascade", "tiny_0", "tiny_1", "tiny_2")
    assert "whose maps are shown too: tiny_1" in refused("--cascade", "tiny_0")
    assert not (tmp_path / "o").exists()


def asked_again(
    monkeypatch: pytest.MonkeyPatch, folder: Path, words: list[str | Path], *more: str
) -> tuple[str, ...] | None:
    """Who answers first in the bundle of `after`, fitted again and again."""
    (folder / "after").rename(folder / "again")
    again = [folder / "again" if word == folder / "before" else word for word in words]
    monkeypatch.setattr(sys, "argv", [str(word) for word in (*again, *more)])
    refit.main()
    shutil.rmtree(folder / "again")
    cascade = load_bundle(folder / "after").manifest.cascade
    return cascade and cascade.first


@pytest.mark.slow
def test_a_cascade_is_fitted_and_the_points_are_those_of_what_it_serves(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path, 3)
    rng, n = np.random.default_rng(3), 300
    labels = (rng.random((n, 5)) < 0.3).astype(np.float32)
    seen = Predictions(
        {
            name: (1 / (1 + np.exp(-(2 * labels - 1 + rng.normal(0, 1, labels.shape))))).astype(np.float32)
            for name in bundle.names
        },
        np.arange(n),
        {},
        {name: rng.normal(0, 1, (n, 5, 7, 7)).astype(np.float16) for name in bundle.names},
    )
    table = Table(tmp_path, ("x.png",) * n, tuple(str(i // 2) for i in range(n)), labels, {})
    whole = refit.refit(bundle.manifest, table, seen, "logit")
    manifest = refit.refit(bundle.manifest, table, seen, "logit", first=("tiny_0", "tiny_2"))
    assert manifest.cascade is not None
    assert asked_first(manifest, full=False) == ("tiny_0", "tiny_2")
    ran = [len(would_run(manifest, one)) for one in each_image(seen)]
    assert 0 < ran.count(3) < n / 10
    assert ran.count(2) + ran.count(3) == n
    assert manifest.weights == whole.weights  # of all three, for the images that ask the rest
    assert manifest.thresholds != whole.thresholds
    assert manifest.maps != whole.maps
    # weights that are to stay stay, also those of the first ones
    own = {"tiny_0": (3.0,) * 5, "tiny_2": (1.0,) * 5}
    told = bundle.manifest.model_copy(
        update={"cascade": manifest.cascade.model_copy(update={"weights": own})}
    )
    kept = refit.refit(told, table, seen, "logit", keep_weights=True, first=("tiny_0", "tiny_2")).cascade
    assert kept is not None
    assert kept.weights == {"tiny_0": (0.75,) * 5, "tiny_2": (0.25,) * 5}
    # the cheapest that do are some whose maps are shown
    for drawn in bundle.names:
        assert drawn in (refit.enough(bundle, table, seen, [drawn]) or bundle.names)


def test_maps_stay_those_of_the_same_members(tmp_path: Path) -> None:
    scale = {"unit": "probability", "full": [1.0] * 5, "cuts": [0.5] * 5, "members": ["tiny_1"]}
    bundle = make_bundle(tmp_path, 2, format=2, maps=scale, operating_points=[finding_points(0.1, 0.9)] * 5)
    rng, n = np.random.default_rng(4), 60
    labels = (rng.random((n, 5)) < 0.4).astype(np.float32)
    answers = {name: rng.random((n, 5), np.float32) for name in bundle.names}
    maps = {
        "tiny_0": np.full((n, 5, 7, 7), 99, np.float16),
        "tiny_1": np.full((n, 5, 7, 7), 0.25, np.float16),
    }
    table = Table(tmp_path, ("x.png",) * n, tuple(map(str, range(n))), labels, {})
    found = refit.refit(bundle.manifest, table, Predictions(answers, np.arange(n), {}, maps), "probability")
    assert found.maps is not None
    assert found.maps.members == ("tiny_1",)
    assert found.maps.full == (0.5,) * 5  # twice what nine in ten stay below
