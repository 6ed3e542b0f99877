"""Real radiographs, where they are at hand: `THORAX_TEST_DATA` names their folder (default: ../shared/data)."""

import os
from pathlib import Path

import httpx
import pytest

from tests.factories.platform import finished, post
from thorax.errors import Code

DATA = Path(os.environ.get("THORAX_TEST_DATA", Path(__file__).parents[4] / "shared" / "data"))
COUNT = 8


@pytest.mark.parametrize("endings", [(".png", ".jpg", ".jpeg"), (".dcm",)], ids=["pictures", "DICOM"])
def test_real_files_are_analysed_or_fail_with_a_reason(
    client: httpx.Client, endings: tuple[str, ...]
) -> None:
    files = sorted(path for ending in endings for path in DATA.rglob(f"*{ending}"))[:COUNT]
    if not files:
        pytest.skip(f"no real files {'/'.join(endings)}: set THORAX_TEST_DATA")
    jobs = {path.name: post(client, path.read_bytes(), name=path.name) for path in files}
    states = []
    for name, answer in jobs.items():
        if answer.status_code != 202:
            assert Code(answer.json()["code"]).status < 500, (name, answer.text)
            continue
        job = finished(client, answer.headers["location"])
        assert job["state"] == "succeeded" or Code(job["error"]["code"]).status < 500, (
            name,
            job["error"],
        )
        states.append(job["state"])
    assert "succeeded" in states
