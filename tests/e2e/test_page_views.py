"""Every view of the page, in both themes and at two widths: axe finds nothing, nothing is cut off, and screenshots are kept.

The screenshots lie in build/screenshots; `make screenshots` takes them of the bundle that is shipped.
"""

from typing import Any

import pytest
from tests.e2e.conftest import Reader
from tests.e2e.person import AXE, ROOT, SAMPLES, Account, Person
from tests.e2e.test_make_run import Run
from tests.factories.patience import until

SHOTS = ROOT / "build/screenshots"
THEMES = ("dark", "light")
WEAR = "(theme) => { document.documentElement.dataset.theme = theme; }"
OF_COLOUR = ("color-contrast", "link-in-text-block")  # the rules whose answer depends on the theme
SIZES = {1280: 800, 390: 844}  # heights by width

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not AXE.is_file(), reason="needs web/node_modules (make web)"),
    pytest.mark.timeout(900),
]


LOADED = """[...document.images]
  .filter((image) => image.getBoundingClientRect().top < innerHeight)
  .every((image) => image.complete && image.naturalWidth)"""


class Gallery:
    """Looks at views one after the other, each in both themes."""

    def __init__(self, person: Person, width: int) -> None:
        self.person, self.page, self.width = person, person.page, width
        self.found: dict[str, list[str]] = {}
        SHOTS.mkdir(parents=True, exist_ok=True)

    def open(self, name: str, address: str, canvases: int = 0) -> None:
        """Go there, wait until everything is loaded, and check."""
        self.page.goto(address)
        self.page.get_by_role("heading").first.wait_for()
        until(lambda: self.page.locator("canvas[data-ready]").count() >= canvases)
        self.look(name)

    def look(self, name: str) -> None:
        """Keep what is on the screen, and what is wrong with it."""
        until(lambda: not self.page.locator(".loading").count())
        until(lambda: self.page.evaluate(LOADED), "a picture does not come")
        self.page.evaluate("Promise.all([...document.images].map((one) => one.naturalWidth && one.decode()))")
        wide = self.page.evaluate("document.documentElement.scrollWidth - innerWidth")
        problems = [f"{wide} px too wide"] if wide > 0 else []
        for theme in THEMES:
            self.page.evaluate(WEAR, theme)
            self.page.screenshot(path=SHOTS / f"{name}-{theme}-{self.width}.png")
            problems += [f"{theme}: {one}" for one in self.person.axe(OF_COLOUR if theme == "light" else ())]
        if problems:
            self.found[name] = problems

    def ask(self, name: str, button: str) -> None:
        """Open a dialog, check it, and close it; on the wide screen only."""
        if self.width == 390:
            return
        self.page.get_by_role("button", name=button, exact=True).first.click()
        dialog = self.page.get_by_role("dialog").or_(self.page.get_by_role("alertdialog"))
        dialog.wait_for()
        self.look(name)
        self.page.keyboard.press("Escape")
        dialog.wait_for(state="detached")


@pytest.mark.parametrize("width", SIZES)
def test_every_view(browser: Any, stack: Run, reader: Reader, width: int) -> None:
    person = Person(browser, stack, width, SIZES[width])
    gallery, page = Gallery(person, width), person.page
    gallery.open("home-open", "/")
    gallery.open("log-in", "/log-in")
    gallery.open("sign-up", "/sign-up")
    gallery.open("model", "/model")
    gallery.open("nowhere", "/studies/nowhere/at/all")
    person.enter(Account(stack))
    gallery.open("studies-empty", "/studies")
    gallery.open("study-missing", f"/studies/{reader.current}")
    person.context.clear_cookies()
    twice = Account(stack)
    first = twice.send(("chest.png", (SAMPLES / "chest.png").read_bytes()), title="Twice")
    twice.final(first)
    twice.final(twice.api.post(f"/v1/jobs/{first}/analyse").raise_for_status().json()["id"])
    person.enter(twice)
    gallery.open("studies-superseded", "/studies")
    gallery.open("study-superseded", f"/studies/{first}", 1)
    gallery.open("report-superseded", f"/studies/{first}/report")
    person.context.clear_cookies()
    person.enter(reader.account)
    gallery.open("studies", "/studies")
    page.locator(".study-row").nth(1).locator("label").click()
    gallery.look("studies-picked")
    gallery.ask("studies-delete", "Delete")
    page.get_by_text("More filters").click()
    gallery.look("studies-filters")
    gallery.open("study", f"/studies/{reader.current}", 1)
    gallery.ask("study-keys", "Keyboard shortcuts")
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
    gallery.ask("account-delete", "Delete the account")
    person.choose(SAMPLES / "chest.png", SAMPLES / "make_samples.py", SAMPLES / "chest.jpg")
    page.get_by_role("alert").wait_for()
    until(lambda: page.get_by_role("link", name="Open").count() == 2)
    until(lambda: not page.locator(".uploads progress").count())
    gallery.look("home-uploads")
    person.context.clear_cookies()
    about = stack.about()
    person.enter(Account(stack, about["user"], about["password"]))
    gallery.open("account-admin", "/account")
    page.get_by_role("region", name="Webhooks").scroll_into_view_if_needed()
    gallery.look("account-webhooks")
    gallery.open("admin", "/admin")
    page.get_by_role("region", name="Reading").scroll_into_view_if_needed()
    gallery.look("admin-reading")
    for part in ("Failed jobs", "Results not delivered", "Users", "Audit") if width > 390 else ():
        page.get_by_role("heading", name=part, exact=True).scroll_into_view_if_needed()
        gallery.look(f"admin-{part.lower().replace(' ', '-')}")
    person.context.close()
    assert not gallery.found, gallery.found


def test_reduced_motion_is_respected(person: Person) -> None:
    person.page.goto("/")
    spinner = (
        "document.body.appendChild(Object.assign(document.createElement('i'), { className: 'spinner' }))"
    )
    moving = person.page.evaluate(f"getComputedStyle({spinner}).animationDuration")
    assert float(moving.removesuffix("s")) < 0.001
