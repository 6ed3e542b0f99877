"""A real Orthanc with its DICOMweb plugin."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.factories.patience import answers, until

from local_stack.server import free_port

BASIC = "Basic dGhvcmF4OnNlY3JldA=="  # thorax:secret
PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")


@contextmanager
def run_orthanc(folder: Path, **settings: Any) -> Iterator[httpx.Client]:
    """A client of its REST API while it runs; it knows one user. `settings` are its configuration's."""
    if not shutil.which("Orthanc") or not PLUGIN.exists():
        pytest.skip("Orthanc with its DICOMweb plugin is not installed")
    port = free_port()
    configuration = {
        "StorageDirectory": str(folder / "db"), "IndexDirectory": str(folder / "db"), "HttpPort": port,
        "DicomPort": free_port(), "RemoteAccessAllowed": False, "AuthenticationEnabled": True,
        "RegisteredUsers": {"thorax": "secret"}, "Plugins": [str(PLUGIN)], "DicomWeb": {"Enable": True}, **settings,
    }  # fmt: skip
    (folder / "orthanc.json").write_text(json.dumps(configuration))
    with (folder / "orthanc.log").open("wb") as log:
        process = subprocess.Popen(["Orthanc", str(folder / "orthanc.json")], stdout=log, stderr=log)
    try:
        until(lambda: answers(port), (folder / "orthanc.log").read_text)
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", auth=("thorax", "secret")) as client:
            yield client
    finally:
        process.kill()
        process.wait()
