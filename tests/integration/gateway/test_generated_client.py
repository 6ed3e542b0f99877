"""A client that openapi-python-client makes of our own document runs one job, from upload to findings."""

import importlib
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.factories.images import chest_png
from tests.factories.platform import Platform

pytestmark = pytest.mark.slow


@pytest.fixture
def generated(platform: Platform, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The generated package, importable as `thorax_generated`."""
    pytest.importorskip("openapi_python_client")
    document = tmp_path / "openapi.json"
    document.write_text(json.dumps(httpx.get(f"{platform.base}/openapi.json").json()))
    folder = tmp_path / "thorax_generated"
    command = Path(sys.executable).with_name("openapi-python-client")
    where = {**os.environ, "PATH": f"{command.parent}:{os.environ['PATH']}"}  # it formats with ruff
    words = ["generate", "--path", document, "--output-path", folder, "--meta", "none"]
    subprocess.run([command, *words], check=True, env=where, capture_output=True, text=True)
    monkeypatch.syspath_prepend(tmp_path)
    return folder


def operation(folder: Path, path: str, method: str) -> ModuleType:
    """The generated module of one operation, found by its own request, since names may change."""
    for file in folder.glob("api/*/*.py"):
        text = file.read_text()
        if f'"url": "{path}"' in text and f'"method": "{method}"' in text:
            return importlib.import_module(f"thorax_generated.api.{file.parent.name}.{file.stem}")
        if f'"{path}".format(' in text and f'"method": "{method}"' in text:
            return importlib.import_module(f"thorax_generated.api.{file.parent.name}.{file.stem}")
    raise AssertionError(f"no operation {method} {path}")


def test_it_runs_a_job(platform: Platform, generated: Path) -> None:
    package: Any = importlib.import_module("thorax_generated")
    types: Any = importlib.import_module("thorax_generated.types")
    token = platform.issuer.token(uuid4())
    client = package.AuthenticatedClient(base_url=platform.base, token=token, timeout=httpx.Timeout(70))
    post = operation(generated, "/v1/jobs", "post")
    body_type = post.__annotations__.get("body") or post._get_kwargs.__annotations__["body"]
    image = types.File(payload=io.BytesIO(chest_png()), file_name="a.png", mime_type="image/png")
    accepted = post.sync(client=client, body=body_type(files=[image]))
    assert type(accepted).__name__ == "Accepted", accepted
    get = operation(generated, "/v1/jobs/{job_id}", "get")
    job = get.sync(accepted.job_id, client=client, wait=60)
    assert job.state == "succeeded"
    assert len(job.study.findings) == 5
    assert 0 <= job.images[0].findings[0].probability <= 1
