"""One version for the whole platform: packages, the page, images and the changelog agree with `shared/pyproject.toml`."""

import json
import re
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml

from thorax.version import VERSION

ROOT = Path(__file__).parents[3]
PACKAGES = sorted(path for path in ROOT.glob("*/pyproject.toml"))


@pytest.mark.parametrize("path", PACKAGES, ids=lambda path: path.parent.name)
def test_every_package_has_the_version(path: Path) -> None:
    assert tomllib.loads(path.read_text())["project"]["version"] == VERSION


def test_the_page_and_the_images_have_the_version() -> None:
    assert json.loads((ROOT / "web/package.json").read_text())["version"] == VERSION
    images = yaml.safe_load((ROOT / "k8s/values/values.yaml").read_text())["images"].values()
    tags = {image.partition(":")[2] for image in images if image.startswith("thorax/")}
    assert tags == {VERSION, f"{VERSION}-gpu"}
    migrate = yaml.safe_load((ROOT / "k8s/base/migrate.yaml").read_text())
    assert migrate["metadata"]["name"] == f"migrate-{VERSION.replace('.', '-')}"
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"].values()
    images = [s["image"] for s in services if s["image"].startswith("thorax/")]
    assert {image.partition(":")[2].removesuffix("-gpu") for image in images} == {VERSION}


def test_a_released_revision_of_the_schema_is_not_edited() -> None:
    """A database that was made with it counts as migrated: what changes needs a revision of its own."""
    described = ["git", "-C", ROOT, "describe", "--tags", "--abbrev=0", "--match", "v*"]
    try:
        tag = subprocess.run(described, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no release is tagged here")
    listed = ["git", "-C", ROOT, "diff", "--name-status", tag, "--", "shared/src/thorax/migrations"]
    changed = subprocess.run(listed, capture_output=True, text=True, check=True).stdout.splitlines()
    assert [line for line in changed if not line.startswith("A")] == []


def test_the_changelog_tells_of_it_under_the_headings_of_keep_a_changelog() -> None:
    text = (ROOT / "CHANGELOG.md").read_text()
    versions = re.findall(r"^## \[(.+?)\](?: - (\d{4}-\d\d-\d\d))?$", text, re.MULTILINE)
    assert versions[0] == ("Unreleased", "")
    assert versions[1][0] == VERSION
    assert all(date for _, date in versions[1:])
    allowed = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
    assert set(re.findall(r"^### (.+)$", text, re.MULTILINE)) <= allowed
    assert len(re.findall(r"^## ", text, re.MULTILINE)) == len(versions)
