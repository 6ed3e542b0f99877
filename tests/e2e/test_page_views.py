"""Every view of the page, in both themes and at two widths: axe finds nothing, nothing is cut off, and screenshots are kept.

The screenshots lie in build/screenshots; `make screenshots` takes all of them, of the bundle that is shipped.
"""

import os
from typing import Any

import pytest
from tests.e2e.conftest import Reader
from tests.e2e.person import AXE, ROOT, SAMPLES, Account, Person, until
from tests.e2e.test_make_run import Run

SHOTS = ROOT / "build/screenshots"
ALL = [("dark", 1280), ("light", 1280), ("dark", 390), ("light", 390)]
CHOSEN = ALL if os.environ.get("THORAX_PAGE_SCREENSHOTS") == "all" else [ALL[0], ALL[3]]

pytestmark = [
    pytest.mark.skipif(not AXE.is_file(), reason="needs web/node_modules (make web)"),
    pytest.mark.slow,
    pytest.mark.timeout(600),
]


LOADED = """[...document.images]
  .filter((image) => image.getBoundingClientRect().top < innerHeight)
  .every((image) => image.complete && image.naturalWidth)"""


class Gallery:
    """Looks at views one after the other."""

    def __init__(self, person: Person, theme: str, width: int) -> None:
        self.person, self.page = person, person.page
        self.suffix = f"{theme}-{width}"
        self.found: dict[str, list[str]] = {}
        self.page.add_init_script(f"localStorage.setItem('thorax.theme', '{theme}')")
        SHOTS.mkdir(parents=True, exist_ok=True)

    def open(self, name: str, address: str, canvases: int = 0) -> None:
        """Go there, wait until everything is loaded, and check."""
        self.page.goto(address)
        self.page.get_by_role("heading").first.wait_for()
        until(lambda: self.page.locator("canvas[data-ready]").count() >= canvases)
        self.look(name)

    def look(self, name: str) -> None:
        """Keep what is on the screen, and what is wrong with it."""
        self.page.wait_for_load_state("networkidle")
        until(lambda: not self.page.locator(".loading").count())
        until(lambda: self.page.evaluate(LOADED), "a picture does not come")
        self.page.evaluate("Promise.all([...document.images].map((one) => one.naturalWidth && one.decode()))")
        self.page.screenshot(path=SHOTS / f"{name}-{self.suffix}.png")
        wide = self.page.evaluate("document.documentElement.scrollWidth - innerWidth")
        problems = self.person.axe() + ([f"{wide} px too wide"] if wide > 0 else [])
        if problems:
            self.found[name] = problems


@pytest.mark.parametrize(("theme", "width"), CHOSEN)
def test_every_view(browser: Any, stack: Run, reader: Reader, theme: str, width: int) -> None:
    person = Person(browser, stack, width, 800 if width > 800 else 844)
    gallery, page = Gallery(person, theme, width), person.page
    gallery.open("home-open", "/")
    gallery.open("log-in", "/log-in")
    gallery.open("sign-up", "/sign-up")
    gallery.open("model", "/model")
    gallery.open("nowhere", "/studies/nowhere/at/all")
    person.enter(Account(stack))
    gallery.open("studies-empty", "/studies")
    gallery.open("study-missing", f"/studies/{reader.current}")
    person.context.clear_cookies()
    person.enter(reader.account)
    gallery.open("studies", "/studies")
    page.locator(".study-row").nth(1).locator("label").click()
    gallery.look("studies-picked")
    page.get_by_text("More filters").click()
    gallery.look("studies-filters")
    gallery.open("study", f"/studies/{reader.current}", 1)
    page.get_by_text("Each network's own probability").click()
    page.get_by_text("Small figures are weights").scroll_into_view_if_needed()
    gallery.look("study-backbones")
    page.get_by_role("button", name="DICOM header").click()
    page.get_by_role("dialog").wait_for()
    gallery.look("study-header")
    gallery.open("study-pair", f"/studies/{reader.pair}", 1)
    page.keyboard.press("h")
    gallery.look("study-heatmap")
    page.keyboard.press("s")
    page.keyboard.press("c")
    gallery.look("study-contours")
    page.get_by_role("button", name="Ruler").click()
    gallery.look("study-ruler")
    page.get_by_role("button", name="Cardiothoracic ratio").click()
    gallery.look("study-ratio")
    gallery.open("study-failed", f"/studies/{reader.broken}")
    gallery.open("report", f"/studies/{reader.pair}/report")
    gallery.open("compare", f"/compare/{reader.current}/{reader.prior}", 2)
    page.keyboard.press("h")
    page.keyboard.press("s")
    gallery.look("compare-swipe")
    gallery.open("compare-choose", f"/compare/{reader.deep}")
    gallery.open("account", "/account")
    person.choose(SAMPLES / "chest.png", SAMPLES / "make_samples.py", SAMPLES / "chest.jpg")
    page.get_by_role("alert").wait_for()
    until(lambda: page.get_by_role("link", name="Open").count() == 2)
    until(lambda: not page.locator(".uploads progress").count())
    gallery.look("home-uploads")
    person.context.clear_cookies()
    about = stack.about()
    person.enter(Account(stack, about["user"], about["password"]))
    gallery.open("admin", "/admin")
    page.get_by_role("region", name="Reading").scroll_into_view_if_needed()
    gallery.look("admin-reading")
    person.context.close()
    assert not gallery.found, gallery.found


def test_reduced_motion_is_respected(person: Person) -> None:
    person.page.goto("/")
    spinner = (
        "document.body.appendChild(Object.assign(document.createElement('i'), { className: 'spinner' }))"
    )
    moving = person.page.evaluate(f"getComputedStyle({spinner}).animationDuration")
    assert float(moving.removesuffix("s")) < 0.001
