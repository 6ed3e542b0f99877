"""Takes the README's two pictures from a running platform: the sample's result, and the same beside its contours.

`python web/screenshots.py http://127.0.0.1:8080`; needs chromium.
"""

import shutil
import sys
from pathlib import Path

import cv2
from playwright.sync_api import Page, sync_playwright

IMAGES = Path(__file__).parents[1] / "docs" / "images"
FLAGS = ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]


def take(page: Page, name: str) -> None:
    """A screenshot in few colours, so that it stays small."""
    path = IMAGES / name
    page.wait_for_timeout(800)
    page.screenshot(path=path)
    cv2.imwrite(str(path), cv2.imread(str(path)), [cv2.IMWRITE_PNG_COMPRESSION, 9])
    print(f"{path.name}: {path.stat().st_size // 1000} kB")


def main(base: str) -> None:
    """Analyse the sample without an account and look at it twice."""
    with sync_playwright() as program:
        browser = program.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        page = browser.new_page(viewport={"width": 1180, "height": 700}, base_url=base)
        page.goto("/")
        page.get_by_role("button", name="Try the sample").click()
        page.get_by_role("radio").nth(4).wait_for(state="attached", timeout=60_000)
        page.locator("canvas[data-ready]").wait_for()
        page.get_by_role("heading").first.hover()
        take(page, "result.png")
        page.keyboard.press("s")
        page.keyboard.press("c")
        page.get_by_role("button", name="Light colours").click()
        page.get_by_role("heading").first.hover()
        take(page, "contours.png")
        browser.close()


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8080")
