"""What `thorax_offline` reads of a file is what the platform answers for it, up to the six digits that are stored."""

import io
from pathlib import Path

import httpx
import numpy as np
import pytest

from tests.factories.platform import Platform, finished, post
from thorax_offline import load_bundle

SAMPLE = Path(__file__).parents[3] / "samples/chest.dcm"


def test_offline_and_served_answers_are_the_same(platform: Platform, client: httpx.Client) -> None:
    job = finished(client, post(client, SAMPLE.read_bytes()).headers["Location"])
    reading = load_bundle(platform.bundle.folder).predict(SAMPLE)
    image = job["images"][0]
    for told, read in zip(image["findings"], reading.findings, strict=True):
        for name in ("probability", "threshold", "disagreement"):
            assert told[name] == pytest.approx(getattr(read, name), abs=1e-6), name
        assert (told["finding"], told["verdict"]) == (read.finding, read.verdict)
    archive = np.load(io.BytesIO(client.get(image["links"]["heatmaps"]).content))
    assert np.array_equal(archive["ensemble"], reading.maps)
    assert [warning["code"] for warning in image["warnings"]] == [w.code for w in reading.warnings]
