"""Takes the README's picture from a running platform: the sample's result, with the contour of its finding.

`python web/screenshots.py http://127.0.0.1:8080`; needs chromium.
"""

import argparse
import shutil
from pathlib import Path

import cv2
import numpy as np
from playwright.sync_api import sync_playwright

PICTURE = Path(__file__).parents[1] / "docs" / "images" / "result.webp"
FLAGS = ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]


def main(base: str) -> None:
    """Analyse the sample without an account and keep what is on the screen."""
    with sync_playwright() as program:
        browser = program.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        page = browser.new_page(viewport={"width": 1180, "height": 700}, base_url=base)
        page.goto("/")
        page.get_by_role("button", name="Try the sample").click()
        page.get_by_role("radio").nth(4).wait_for(state="attached", timeout=60_000)
        page.locator("canvas[data-ready]").wait_for()
        page.keyboard.press("c")
        page.locator(".contour-name").wait_for()
        page.get_by_role("slider", name="Opacity").press("End")
        page.get_by_role("heading").first.hover()
        page.wait_for_timeout(800)
        shot = cv2.imdecode(np.frombuffer(page.screenshot(), np.uint8), cv2.IMREAD_COLOR)
        cv2.imwrite(str(PICTURE), shot, [cv2.IMWRITE_WEBP_QUALITY, 85])
        print(f"{PICTURE.name}: {PICTURE.stat().st_size // 1000} kB")
        browser.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url", nargs="?", default="http://127.0.0.1:8080", help="of a running platform")
    main(parser.parse_args().url)
