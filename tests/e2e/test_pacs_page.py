"""docs/how-to/send-from-a-pacs.md, command by command: from a fresh Orthanc in an empty folder to a result."""

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.e2e.test_make_run import Run
from tests.factories.patience import PATIENCE_S

from local_stack.server import free_port

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
TOOLS = ("Orthanc", "dcmsend", "storescu", "echoscu", "curl")


@pytest.fixture
def clone(tmp_path: Path) -> Iterator[Path]:
    """What looks like a clone in which `make run` runs."""
    if not PLUGIN.exists() or not all(map(shutil.which, TOOLS)):
        pytest.skip("needs orthanc, orthanc-dicomweb, dcmtk and curl")
    run = Run(tmp_path, THORAX_DICOM_PORT=str(free_port()))
    try:
        run.until_ready()
        clone = tmp_path / "clone"
        clone.mkdir()
        (clone / "samples").symlink_to(ROOT / "samples")
        (clone / ".thorax").symlink_to(run.state)
        (clone / "port").write_text(str(run.about()["ports"]["dimse"]))
        yield clone
    finally:
        run.process.send_signal(signal.SIGINT)
        run.process.wait(PATIENCE_S)


def test_each_command_of_the_page_does_what_it_says(clone: Path, tmp_path: Path) -> None:
    page = (ROOT / "docs/how-to/send-from-a-pacs.md").read_text()
    script = "set -eu -o pipefail\n" + "\n".join(re.findall(r"```sh\n(.*?)```", page, re.DOTALL))
    ports = {"4242": str(free_port()), "8042": str(free_port()), "11112": (clone / "port").read_text()}
    script = re.sub(
        "|".join(ports), lambda found: ports[found[0]], script
    )  # at once: one may contain another
    empty = tmp_path / "empty"
    empty.mkdir()
    process = subprocess.Popen(
        ["bash", "-c", script],
        cwd=empty,
        env={**os.environ, "THORAX": str(clone)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        # Orthanc, in the background, logs to a file of its own, so that the output ends with the script.
        said, _ = process.communicate(timeout=600)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 0, said
    assert "succeeded by C-STORE from ORTHANC" in said
    assert said.count("cardiomegaly") == 1
    assert '"FailedInstancesCount" : 0' in said
    assert '"state":"delivered"' in said
    assert all(f"{kind} Thorax {kind} - not for diagnostic use" in said for kind in ("SR", "OT", "PR"))
