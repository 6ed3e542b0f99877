"""Clients that openapi-python-client and openapi-typescript make of our own document run one job, from upload to findings."""

import importlib
import io
import json
import os
import shutil
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
MODULES = Path(__file__).parents[3] / "web/node_modules"
JOB = Path(__file__).with_name("generated_job.ts")
OPTIONS = "--strict --target es2022 --module esnext --moduleResolution bundler --skipLibCheck --types node"


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


@pytest.fixture
def compiled(platform: Platform, tmp_path: Path) -> Path:
    """`generated_job.ts`, compiled against the types that openapi-typescript makes."""
    if not shutil.which("node") or not (MODULES / ".bin/openapi-typescript").exists():
        pytest.skip("node or web/node_modules is missing (`make web`)")
    (tmp_path / "node_modules").symlink_to(MODULES)
    (tmp_path / "package.json").write_text('{"type": "module"}')
    (tmp_path / "openapi.json").write_text(httpx.get(f"{platform.base}/openapi.json").text)
    shutil.copy(JOB, tmp_path)
    for words in ("openapi-typescript openapi.json -o schema.d.ts", f"tsc {OPTIONS} {JOB.name}"):
        program, *rest = words.split()
        done = subprocess.run(
            [MODULES / ".bin" / program, *rest], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
    return tmp_path / "generated_job.js"


def test_typescript_runs_a_job(platform: Platform, compiled: Path) -> None:
    own = {"THORAX_URL": platform.base, "THORAX_TOKEN": platform.issuer.token(uuid4())}
    words = ["node", str(compiled)]
    done = subprocess.run(
        words, input=chest_png(), env={**os.environ, **own}, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
    told = json.loads(done.stdout)
    assert told["state"] == "succeeded"
    assert len(told["findings"]) == len(told["probabilities"]) == 5
    assert all(0 <= each <= 1 for each in told["probabilities"])
