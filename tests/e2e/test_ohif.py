"""OHIF's built app, as npm has it, on Thorax alone: the image is drawn, and Thorax' own report and capture are listed."""

import shutil
import subprocess
import tarfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

import cv2
import httpx
import numpy as np
import pytest
from playwright.sync_api import Page, TimeoutError, expect, sync_playwright
from tests.e2e.conftest import CHROMIUM, FLAGS
from tests.e2e.ohif import ohif
from tests.factories.images import chest_dicom
from tests.factories.patience import until
from tests.factories.platform import Platform, finished, post
from tests.integration.gateway.conftest import authority, collected, platform, stage  # noqa: F401 - fixtures

pytestmark = pytest.mark.slow
PACKAGE = "@ohif/app@3.13.2"
SIZE = {"width": 1400, "height": 900}
PATIENCE_MS = 240_000  # OHIF compiles some megabytes of JavaScript first


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """OHIF's files, unmodified."""
    if CHROMIUM is None or not shutil.which("npm"):
        pytest.skip("needs Debian's chromium, and npm")
    folder = tmp_path_factory.mktemp("ohif")
    got = subprocess.run(
        ["npm", "pack", "--silent", PACKAGE], cwd=folder, check=False, capture_output=True, timeout=300
    )
    if got.returncode:
        pytest.skip(f"npm can't fetch {PACKAGE}")
    with tarfile.open(next(folder.glob("*.tgz"))) as package:
        package.extractall(folder, filter="data")
    return folder / "package" / "dist"


def made_of(client: httpx.Client, study: str) -> set[str]:
    """The modalities of a study's series, those that Thorax made included."""
    series = client.get(f"/dicomweb/studies/{study}/series").raise_for_status().json()
    return {one["00080060"]["Value"][0] for one in series}


@pytest.fixture(scope="module")
def study(platform: Platform) -> tuple[str, Callable[[], str]]:  # noqa: F811
    """An analysed study's UID, and what makes a token that may read it."""
    tenant, uid = uuid4(), f"2.25.{uuid4().int}"
    image = chest_dicom(
        31, 512, StudyInstanceUID=uid, SeriesInstanceUID=f"{uid}.1", SOPInstanceUID=f"{uid}.2"
    )
    with platform.client(tenant) as client:
        job = finished(client, post(client, image, name="chest.dcm").headers["location"])
        assert job["state"] == "succeeded", job
        until(lambda: made_of(client, uid) >= {"SR", "OT", "PR"}, "the report is not made")
    return uid, lambda: platform.issuer.token(tenant)


def until_drawn(page: Page, path: Path, *, coloured: float = 0) -> None:
    """Returns once the viewport shows an image, of whose pixels more than a share of `coloured` have a colour; its picture is at `path`."""

    def drawn() -> bool:
        page.locator("[data-cy=viewport-pane]").first.screenshot(path=path)
        pixels = cv2.imread(str(path)).astype(int)
        return bool((pixels.min(2) > 60).mean() > 0.2 and (np.ptp(pixels, 2) > 60).mean() > coloured)

    until(drawn, f"{path.stem} is not drawn")


def labelled(page: Page) -> bool:
    """Whether a finding's region has its label. OHIF draws the regions together with the image: if it has read the report
    only after the image was drawn, they come the next time that it draws, as it does for another size."""
    label = page.locator("svg.svg-layer").get_by_text("Probability: ").first
    with suppress(TimeoutError):
        label.wait_for(state="attached", timeout=5_000)
        return True
    page.set_viewport_size({"width": 1400, "height": 890 if page.viewport_size == SIZE else 900})
    return False


def test_ohif_draws_the_image_and_what_thorax_made(
    dist: Path,
    platform: Platform,  # noqa: F811 - the fixture
    study: tuple[str, Callable[[], str]],
    tmp_path: Path,
) -> None:
    uid, token = study
    errors: list[str] = []
    with ohif(dist, platform.base, token) as (url, refused), sync_playwright() as program:
        browser = program.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_page(viewport=SIZE)
        page.set_default_timeout(PATIENCE_MS)
        page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(f"{url}/viewer?StudyInstanceUIDs={uid}", wait_until="commit")
        for kind in ("OT", "PR", "SR"):
            expect(page.get_by_text(f"Thorax {kind} - not for").first).to_be_visible(timeout=PATIENCE_MS)
        expect(page.get_by_text("W:").first).to_be_visible(timeout=PATIENCE_MS)
        page.get_by_text("Skip all").click()
        page.get_by_text("Confirm and hide").click()
        until_drawn(page, tmp_path / "image.png")
        page.get_by_text("Thorax OT - not for").first.dblclick()
        until_drawn(page, tmp_path / "capture.png", coloured=0.02)  # its heatmap
        page.get_by_text("Thorax SR - not for").first.dblclick()
        until(lambda: labelled(page), "the finding's region has no label")
        until_drawn(page, tmp_path / "report.png")
        page.screenshot(path=tmp_path / "page.png")
        browser.close()
    assert (errors, refused) == ([], [])
