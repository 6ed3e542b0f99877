"""The page in a real browser, against the whole platform: what a person sees, also when things go wrong."""

import json
import os
import secrets
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.test_make_run import Run

ROOT = Path(__file__).parents[2]
WEB, SAMPLES = ROOT / "web", ROOT / "samples"
REAL_DICOM = ROOT.parent / "shared/data/dicom/mlmed_chest_pa.dcm"
AXE = WEB / "node_modules/axe-core/axe.min.js"
CHROMIUM = shutil.which("chromium")
PASSWORD = "a sentence is a good password"
FLAGS = ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]

playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright (make install)")
pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="needs Debian's chromium"),
    pytest.mark.skipif(not (WEB / "dist/index.html").is_file(), reason="needs the built page (make web)"),
    pytest.mark.timeout(300),
]


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """The platform as `make run` starts it, with auth-service, behind the built page."""
    run = Run(
        tmp_path_factory.mktemp("page"), THORAX_PAGE=str(WEB / "dist"), THORAX_ANONYMOUS_JOBS_PER_HOUR="1000"
    )
    try:
        run.until_ready()
        yield run
    finally:
        run.process.send_signal(signal.SIGINT)
        run.process.wait(60)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as program:
        browser = program.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


class Person:
    """Somebody at a browser of his own, who minds errors in the console and foreign requests."""

    def __init__(self, browser: Any, stack: Run, width: int = 1280) -> None:
        self.base = f"http://127.0.0.1:{stack.port}"
        self.context = browser.new_context(
            viewport={"width": width, "height": 800}, base_url=self.base, reduced_motion="reduce"
        )
        self.page = self.context.new_page()
        self.page.set_default_timeout(60_000)  # a bound against hanging: CI's machine may be busy
        self.wrong: list[str] = []
        self.page.on("pageerror", lambda error: self.wrong.append(str(error)))
        self.page.on("console", lambda m: "Content Security" in m.text and self.wrong.append(m.text))
        self.page.on("request", lambda r: self._own(r.url) or self.wrong.append(r.url))

    def _own(self, url: str) -> bool:
        return url.startswith((self.base, f"blob:{self.base}", "data:"))

    def sign_up(self) -> str:
        name = f"reader-{secrets.token_hex(4)}"
        self.page.goto("/sign-up")
        self.page.get_by_label("Name or e-mail").fill(name)
        self.page.get_by_label("Password").fill(PASSWORD)
        self.page.get_by_role("button", name="Create an account").click()
        self.page.wait_for_url("**/studies")
        return name

    def log_in(self, name: str) -> None:
        self.page.get_by_label("Name or e-mail").fill(name)
        self.page.get_by_label("Password").fill(PASSWORD)
        self.page.get_by_role("button", name="Log in").click()

    def choose(self, *files: Path) -> None:
        self.page.goto("/")
        with self.page.expect_file_chooser() as chooser:
            self.page.get_by_role("button", name="Choose files").click()
        chooser.value.set_files(files)

    def study(self, *files: Path) -> str:
        """Upload, wait for the result in the viewer; the view's address."""
        self.choose(*files)
        return self.result("**/studies/*")

    def result(self, address: str) -> str:
        self.page.wait_for_url(address)
        self.page.get_by_role("radio").nth(4).wait_for(state="attached")
        self.page.locator("canvas[data-ready]").wait_for()
        return str(self.page.url)

    def canvas(self) -> bytes:
        self.page.wait_for_timeout(250)
        return bytes(self.page.locator("canvas").screenshot())

    def axe(self) -> list[str]:
        """What axe finds by WCAG 2.2 AA and by good practice."""
        self.page.evaluate(AXE.read_text())
        tags = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
        found = self.page.evaluate("tags => axe.run({ runOnly: tags })", tags)
        return [f"{v['id']}: {v['nodes'][0]['html'][:150]}" for v in found["violations"]]


@pytest.fixture
def person(browser: Any, stack: Run) -> Iterator[Person]:
    person = Person(browser, stack)
    yield person
    person.context.close()
    assert not person.wrong


def test_without_an_account_the_sample_is_one_click_away(person: Person) -> None:
    person.page.goto("/")
    person.page.get_by_role("button", name="Try the sample").click()
    address = person.result("**/open/*")
    assert "not for diagnosis" in person.page.get_by_role("contentinfo").inner_text()
    person.page.goto(f"{address}/report")
    person.page.get_by_role("row", name="Cardiomegaly").wait_for()


def test_from_sign_up_to_log_out(person: Person) -> None:
    page = person.page
    name = person.sign_up()
    page.get_by_text("No studies yet").wait_for()
    address = person.study(SAMPLES / "chest.png")
    with_heat = person.canvas()
    page.keyboard.press("h")
    without = person.canvas()
    assert with_heat != without
    page.keyboard.press("h")
    assert person.canvas() == with_heat
    page.get_by_role("slider", name="Opacity").press("End")
    assert person.canvas() not in (with_heat, without)
    page.goto("/studies")
    page.get_by_role("link", name="chest.png").wait_for()
    with page.expect_download() as download:
        page.get_by_role("button", name="CSV").click()
    assert "chest.png,succeeded" in Path(download.value.path()).read_text()
    page.goto(f"{address}/report")
    page.get_by_role("img", name="Heatmap of Edema").wait_for()
    with page.expect_download() as download:
        page.get_by_role("button", name="PDF").click()
    assert Path(download.value.path()).read_bytes().startswith(b"%PDF-1.4")
    page.get_by_role("button", name=f"Account of {name}").click()
    page.get_by_role("menuitem", name="Log out").click()
    page.get_by_role("link", name="Log in").wait_for()
    page.goto(address)
    page.wait_for_url("**/log-in?next=*")


@pytest.mark.skipif(not REAL_DICOM.is_file(), reason="needs ../shared/data")
def test_a_real_dicom_file_shows_its_header_and_scale(person: Person) -> None:
    person.sign_up()
    person.study(REAL_DICOM)
    page = person.page
    assert "1024 × 1024, 8 bit" in page.locator(".marks").inner_text()
    page.get_by_role("button", name="DICOM header").click()
    page.get_by_label("Search the header").fill("PhotometricInterpretation")
    assert "MONOCHROME" in page.get_by_role("dialog").inner_text()


def test_a_dicom_file_of_more_than_8_bits_keeps_them(person: Person) -> None:
    person.page.goto("/")
    person.page.get_by_role("button", name="as DICOM").click()
    person.result("**/open/*")
    assert "12 bit" in person.page.locator(".marks").inner_text()
    before = person.canvas()
    canvas = person.page.locator("canvas")
    canvas.focus()
    canvas.press("Shift+ArrowUp")
    assert person.canvas() != before


def test_a_broken_file_is_told_in_a_sentence(person: Person, tmp_path: Path) -> None:
    broken = tmp_path / "notes.png"
    broken.write_text("These are my notes.")
    person.choose(broken)
    alert = person.page.get_by_role("alert")
    alert.wait_for()
    assert "unsupported_media" in alert.inner_text()


def test_an_expired_session_is_renewed_and_an_ended_one_asks_for_the_password(person: Person) -> None:
    page = person.page
    name = person.sign_up()
    person.context.clear_cookies(name="thorax_access")
    page.goto("/account")
    page.get_by_role("heading", name="Machine clients").wait_for()
    person.context.clear_cookies(name="thorax_access")
    person.context.clear_cookies(name="thorax_refresh")
    page.goto("/account")
    page.get_by_text("Your session has ended").wait_for()
    person.log_in(name)
    page.wait_for_url("**/account")


def test_a_restart_of_the_server_is_survived(person: Person, stack: Run) -> None:
    page = person.page
    person.sign_up()
    page.goto("/")
    os.kill(json.loads((stack.state / "run.json").read_text())["pids"]["gateway"], signal.SIGKILL)
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Choose files").click()
    chooser.value.set_files(SAMPLES / "chest.jpg")
    page.get_by_text("Reconnecting").wait_for()
    person.result("**/studies/*")
    assert not page.get_by_text("Reconnecting").count()


def test_two_tenants_do_not_see_each_other(person: Person, browser: Any, stack: Run) -> None:
    person.sign_up()
    address = person.study(SAMPLES / "chest.png")
    other = Person(browser, stack)
    other.sign_up()
    other.page.goto(address)
    other.page.get_by_text("There is no such study here").wait_for()
    other.context.close()


@pytest.mark.skipif(not AXE.is_file(), reason="needs web/node_modules (make web)")
@pytest.mark.parametrize(("theme", "width"), [("dark", 1280), ("light", 390)])
def test_axe_finds_nothing_and_nothing_is_cut_off(
    browser: Any, stack: Run, tmp_path: Path, theme: str, width: int
) -> None:
    person = Person(browser, stack, width)
    page, found = person.page, dict[str, list[str]]()
    page.add_init_script(f"localStorage.setItem('thorax.theme', '{theme}')")
    person.sign_up()
    first = person.study(SAMPLES / "chest.png").rpartition("/")[2]
    second = person.study(SAMPLES / "chest.dcm").rpartition("/")[2]
    views = ["/", "/log-in", "/sign-up", "/model", "/studies", "/account", "/admin"]
    views += [
        f"/studies/{first}",
        f"/studies/{first}/report",
        f"/compare/{first}",
        f"/compare/{first}/{second}",
    ]
    for number, view in enumerate(views):
        page.goto(view)
        page.get_by_role("heading").first.wait_for()
        page.wait_for_load_state("networkidle")
        page.screenshot(path=tmp_path / f"{number:02}-{theme}-{width}.png")
        wide = page.evaluate("document.documentElement.scrollWidth - innerWidth")
        if problems := person.axe() + ([f"{wide} px too wide"] if wide > 0 else []):
            found[view] = problems
    person.context.close()
    assert not found
