"""The last release's gateway and worker do a job on the migrated database, as they do in the middle of an upgrade.

`THORAX_TEST_RELEASE=commit` names another commit than the last tag `v…`.
"""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.factories.bundles import make_bundle
from tests.factories.images import chest_png
from tests.factories.platform import Platform, finished, post

ROOT = Path(__file__).parents[2]
PACKAGES = ("shared", "gateway", "model-worker")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def git(*arguments: str) -> bytes | None:
    """What git says; None where it fails or is not installed."""
    try:
        return subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return None


@pytest.fixture
def released(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The sources of the last release."""
    tag = (
        os.environ.get("THORAX_TEST_RELEASE")
        or (git("describe", "--tags", "--abbrev=0", "--match", "v*") or b"").decode()
    )
    if not tag:
        pytest.skip("no release is tagged here")
    archive = git("archive", tag.strip(), *(f"{package}/src" for package in PACKAGES))
    if archive is None:
        pytest.skip(f"{tag.strip()} is not in this clone")
    monkeypatch.delenv("THORAX_TEST_RELEASE", raising=False)  # an older release does not know it
    folder = tmp_path / "released"
    folder.mkdir()
    subprocess.run(["tar", "-x", "-C", str(folder)], input=archive, check=True)
    return folder


def test_the_last_release_works_on_the_new_schema(
    released: Path, tmp_path: Path, url_as: Callable[[str], str], database_url: str, clean_redis_url: str
) -> None:
    bundle = make_bundle(tmp_path / "models" / "tiny", 2)
    old = {"PYTHONPATH": os.pathsep.join(str(released / package / "src") for package in PACKAGES)}
    imported = [sys.executable, "-c", "import thorax, gateway, model_worker as w; print(thorax, gateway, w)"]
    found = subprocess.run(imported, env=os.environ | old, capture_output=True, text=True, check=True).stdout
    assert found.count(str(released)) == len(PACKAGES), found
    platform = Platform(
        tmp_path,
        bundle,
        url_as,
        database_url,
        clean_redis_url,
        workers=1,
        own_settings={"gateway": old, "worker-0": old},
        forked=False,
    )
    with platform, platform.client() as client:
        receipt = post(client, chest_png(1, 900), chest_png(2, 900))
        assert finished(client, receipt.headers["location"])["state"] == "succeeded"
        for name in ("gateway", "worker-0"):
            process = Path(f"/proc/{platform.processes[name].pid}/environ").read_bytes()
            assert str(released).encode() in process
