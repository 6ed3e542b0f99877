"""Measures the page in headless Chromium, which draws in software: start, sizes, and frames of a 3000×2500 image.

`python web/figures.py http://127.0.0.1:8080` on a running platform with the built page; needs chromium.
"""

import argparse
import gzip
import re
import shutil
import statistics
import tempfile
from pathlib import Path

import cv2
import numpy as np
from playwright.sync_api import Page, sync_playwright

DIST = Path(__file__).parent / "dist"
FLAGS = ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
SAMPLE = Path(__file__).parents[1] / "samples" / "chest.png"
READY = """() => new Promise((done) => {
  const look = () => document.querySelector(".drop-zone button")
    ? done(performance.now())
    : requestAnimationFrame(look);
  look();
})"""
# Presses a key at each frame, and tells how long each frame took.
FRAMES = """async ([key, count]) => {
  const frame = () => new Promise((done) => requestAnimationFrame(done));
  const times = [];
  let last = await frame();
  for (let i = 0; i < count; i++) {
    window.dispatchEvent(new KeyboardEvent("keydown", { key: Array.isArray(key) ? key[i % key.length] : key }));
    const now = await frame();
    times.push(now - last);
    last = now;
  }
  return times;
}"""


def sizes() -> None:
    """What the first view loads, gzipped."""
    html = (DIST / "index.html").read_text()
    for kind in ("js", "css"):
        names = re.findall(rf"assets/[^\"]+\.{kind}", html)
        packed = sum(len(gzip.compress((DIST / name).read_bytes(), 9)) for name in names)
        print(f"initial {kind}: {packed / 1000:.0f} kB gzipped in {len(names)} files")


def start(page: Page) -> None:
    """Five first visits, each with an empty cache."""
    ready = []
    for _ in range(5):
        context = page.context.browser.new_context()  # type: ignore[union-attr]
        fresh = context.new_page()
        fresh.goto(page.url)
        ready.append(fresh.evaluate(READY))
        context.close()
    print(f"first view usable: median {statistics.median(ready):.0f} ms, best {min(ready):.0f} ms")


def frames(page: Page) -> None:
    """Heatmap on and off, and opacity, one change a frame."""
    with tempfile.TemporaryDirectory() as folder:
        large = Path(folder) / "large.png"
        cv2.imwrite(str(large), cv2.resize(cv2.imread(str(SAMPLE), cv2.IMREAD_GRAYSCALE), (3000, 2500)))
        with page.expect_file_chooser() as chooser:
            page.get_by_role("button", name="Choose files").click()
        chooser.value.set_files(large)
        page.locator("canvas[data-ready]").wait_for()
        page.get_by_role("radio").nth(4).wait_for(state="attached")
    for what, key in (("heatmap on and off", ["h"]), ("opacity", [*"]]]", *"[[["]), ("window", ["i"])):
        times = np.array(page.evaluate(FRAMES, [key, 120])[20:])
        late = 100 * float((times > 25).mean())
        print(
            f"{what}: median {np.median(times):.1f} ms, 95 % {np.percentile(times, 95):.1f} ms, late {late:.0f} %"
        )


def main(base: str) -> None:
    """All figures."""
    sizes()
    with sync_playwright() as program:
        browser = program.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        page = browser.new_context(viewport={"width": 1600, "height": 1000}, base_url=base).new_page()
        page.set_default_timeout(120_000)
        page.goto("/")
        start(page)
        frames(page)
        browser.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url", nargs="?", default="http://127.0.0.1:8080", help="of a running platform")
    main(parser.parse_args().url)
