"""Real radiographs, where somebody has them: `THORAX_TEST_DATA` names their folder (default: ../shared/data).

Each file's outcome is named: it is analysed, or its job fails with this code.
"""

import os
from pathlib import Path

import httpx
import pytest

from tests.factories.platform import finished, post
from thorax.errors import Code

DATA = Path(os.environ.get("THORAX_TEST_DATA", Path(__file__).parents[4] / "shared" / "data"))
ANALYSED = None
# Of the knee in six transfer syntaxes one is enough here; decoding/test_dicom.py reads them all.
OUTCOMES: dict[str, Code | None] = {
    "dicom/RG1_J2KI.dcm": ANALYSED,
    "dicom/RG1_JLSN.dcm": ANALYSED,
    "dicom/gdcm-CR-MONO1-10-chest.dcm": ANALYSED,
    "dicom/mlmed_chest_pa.dcm": ANALYSED,
    "dicom/RG3_JPLL.dcm": Code.NOT_A_CHEST,
    "full_size/00000118_015.png": ANALYSED,
    "full_size/00001864_003.png": ANALYSED,
    "full_size/00004218_000.png": ANALYSED,
    "full_size/00004738_000.png": ANALYSED,
}


@pytest.mark.parametrize(("name", "failure"), OUTCOMES.items(), ids=OUTCOMES)
def test_a_real_file_has_its_known_outcome(client: httpx.Client, name: str, failure: Code | None) -> None:
    path = DATA / name
    if not path.is_file():
        pytest.skip(f"{path} is missing: set THORAX_TEST_DATA")
    receipt = post(client, path.read_bytes(), name=path.name)
    assert receipt.status_code == 202, receipt.text
    job = finished(client, receipt.headers["location"])
    assert (job["error"] and job["error"]["code"]) == failure
    assert job["state"] == ("failed" if failure else "succeeded")
