"""The shipped samples read as they are drawn: an enlarged heart and nothing else, and a chest without a likely finding."""

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from model_worker.backbone import Backbone
from model_worker.decoding.images import DICOM, canonical, read_image
from thorax.bundle import load_bundle
from thorax.cascade import answering, asked_first, still_to_ask
from thorax.ensemble import combine
from thorax.findings import FINDINGS, Finding
from thorax.operating_points import Verdict
from thorax_offline import golden

ROOT = Path(__file__).parents[2]
BUNDLE = ROOT / "models/default"
HEART = {Finding.CARDIOMEGALY}


@pytest.mark.slow
@pytest.mark.skipif(not (BUNDLE / "xception.onnx").is_file(), reason="needs the default bundle's graphs")
@pytest.mark.parametrize(
    ("name", "media_type", "likely"),
    [
        ("chest.png", "image/png", HEART),
        ("chest.jpg", "image/jpeg", HEART),
        ("chest.dcm", DICOM, HEART),
        ("normal.png", "image/png", set()),
    ],
)
def test_the_default_bundle_reads_a_sample_as_it_is_drawn(
    name: str, media_type: str, likely: set[Finding]
) -> None:
    manifest = load_bundle(BUNDLE).manifest
    grey = read_image((ROOT / "samples" / name).read_bytes(), media_type).grey
    single: dict[str, np.ndarray] = {}
    for spec in manifest.backbones:
        backbone = Backbone(load_bundle(BUNDLE), spec)
        single[spec.name] = backbone.predict(canonical(grey, spec.input)[None]).probabilities[0]
    names = asked_first(manifest, full=False)
    names += still_to_ask(manifest, names, {name: single[name] for name in names})
    probabilities = combine(answering(manifest, names), {n: single[n] for n in names}).probabilities
    verdicts = {f: manifest.verdict(f, float(p)) for f, p in zip(FINDINGS, probabilities, strict=True)}
    assert {finding for finding, verdict in verdicts.items() if verdict is Verdict.LIKELY} == likely


@pytest.mark.slow
@pytest.mark.skipif(not (BUNDLE / "xception.onnx").is_file(), reason="needs the default bundle's graphs")
@pytest.mark.parametrize("name", ["default", "fast"])
def test_a_bundle_still_gives_its_golden_answer(name: str) -> None:
    assert "as expected" in golden.check(BUNDLE.with_name(name))


@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="needs dicom3tools")
def test_the_dicom_sample_is_valid() -> None:
    found = subprocess.run(
        ["dciodvfy", ROOT / "samples/chest.dcm"], check=False, capture_output=True, text=True
    )
    assert "Error" not in found.stdout + found.stderr
