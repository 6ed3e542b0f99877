"""A bundle is held against what it once said of its golden image."""

import re
from pathlib import Path

import pytest
from tests.factories.bundles import make_bundle

from thorax.bundle import GOLDEN
from thorax.errors import CodedError
from thorax_offline import golden

SAMPLE = Path(__file__).parents[3] / "samples/chest.png"


def test_a_bundle_still_gives_its_recorded_answers(tmp_path: Path) -> None:
    folder = make_bundle(tmp_path, 1).folder
    assert "is missing" in golden.check(folder)
    said = golden.write(folder, SAMPLE)
    assert len(said.probabilities) == 5
    assert "as expected" in golden.check(folder)


def test_another_answer_and_another_bundle_are_told(tmp_path: Path) -> None:
    folder = make_bundle(tmp_path, 1).folder
    said = golden.write(folder, SAMPLE)
    was = said.probabilities["edema"]
    (folder / GOLDEN).write_text((folder / GOLDEN).read_text().replace(str(was), str(round(was - 0.1, 4))))
    with pytest.raises(CodedError, match=re.escape(f"edema is {was:.4f}, expected")):
        golden.check(folder)
    make_bundle(folder, 1, version="2.0")
    with pytest.raises(CodedError, match="Write it anew"):
        golden.check(folder)
