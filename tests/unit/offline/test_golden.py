"""A bundle is held against what it once said of its golden image."""

import re
from pathlib import Path

import pytest
from tests.factories.bundles import make_bundle, make_cascade

from thorax.bundle import GOLDEN
from thorax.errors import CodedError
from thorax_offline import golden

SAMPLE = Path(__file__).parents[3] / "samples/chest.png"


def test_a_bundle_still_gives_its_recorded_answers(tmp_path: Path) -> None:
    folder = make_bundle(tmp_path, 1).folder
    assert "is missing" in golden.check(folder)
    said = golden.write(folder, SAMPLE)
    assert golden.write(folder, folder / "golden.png") == said  # anew
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


def test_both_ways_of_a_cascade_are_held(tmp_path: Path) -> None:
    make_bundle(tmp_path, 3, cascade=make_cascade("tiny_0", "tiny_1", sure=True))
    said = golden.write(tmp_path, SAMPLE)
    assert said.first is not None
    assert said.first != said.probabilities
    assert "as expected" in golden.check(tmp_path)
    text, was = (tmp_path / GOLDEN).read_text(), said.first["edema"]
    head, first = text.split('"first"')
    (tmp_path / GOLDEN).write_text(head + '"first"' + first.replace(str(was), str(round(was / 2, 4))))
    with pytest.raises(CodedError, match=re.escape(f"edema is {was:.4f}, expected")):
        golden.check(tmp_path)
    (tmp_path / GOLDEN).write_text(head.rstrip().rstrip(",") + "}")
    with pytest.raises(CodedError, match="first networks"):
        golden.check(tmp_path)
