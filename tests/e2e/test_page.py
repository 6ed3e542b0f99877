"""The page in a real browser, against the whole platform: what a person does there, also when something fails."""

import json
import os
import re
import signal
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.e2e.conftest import Reader
from tests.e2e.person import PASSWORD, ROOT, SAMPLES, Account, Person
from tests.e2e.test_make_run import Run
from tests.factories.patience import until

REAL_DICOM = ROOT.parent / "shared/data/dicom/mlmed_chest_pa.dcm"
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

DROP = """([name, type, data]) => {
  const transfer = new DataTransfer();
  transfer.items.add(new File([Uint8Array.from(atob(data), (c) => c.charCodeAt(0))], "chest.png", { type }));
  const event = name === "paste"
    ? new ClipboardEvent(name, { clipboardData: transfer, bubbles: true })
    : new DragEvent(name, { dataTransfer: transfer, bubbles: true, cancelable: true });
  document.body.dispatchEvent(event);
}"""

FOCUSED = """(() => {
  const at = document.activeElement;
  if (at === document.body) return "";
  const by = document.getElementById(at.getAttribute("aria-labelledby")?.split(" ")[0]);
  return at.ariaLabel || by?.innerText || at.labels?.[0]?.innerText || at.innerText || at.value || "";
})()"""


def process(stack: Run, name: str) -> int:
    return int(json.loads((stack.state / "run.json").read_text())["pids"][name])


def test_without_an_account_the_sample_is_one_click_away(person: Person) -> None:
    person.page.goto("/")
    person.page.get_by_role("button", name="Try the sample").click()
    address = person.result("**/open/*")
    assert "not for diagnosis" in person.page.get_by_role("contentinfo").inner_text()
    person.page.goto(f"{address}/report")
    person.page.get_by_role("row", name="Cardiomegaly").wait_for()


def test_a_studys_image_is_asked_for_while_the_pages_own_code_is_on_its_way(person: Person) -> None:
    page = person.page
    page.goto("/")
    page.get_by_role("button", name="Try the sample").click()
    address = person.result("**/open/*")
    held: list[Any] = []
    page.route("**/assets/main-*.js", lambda route: held.append(route))  # noqa: PLW0108 — Playwright marks the function
    with page.expect_request("**/original"):
        page.goto(address, wait_until="commit")
    until(lambda: held)
    for route in held:
        route.continue_()
    person.result("**/open/*")


def test_from_sign_up_to_log_out(person: Person) -> None:
    page = person.page
    name = person.sign_up()
    page.get_by_text("No studies yet").wait_for()
    address = person.study(SAMPLES / "chest.png")
    without = person.canvas()  # a heatmap is off until asked for
    page.keyboard.press("h")
    with_heat = person.sees_another(without)
    page.keyboard.press("h")
    until(lambda: person.canvas() == without)
    page.keyboard.press("h")
    until(lambda: person.canvas() == with_heat)
    page.get_by_role("slider", name="Opacity").press("End")
    assert person.sees_another(with_heat) != without
    page.goto("/studies")
    page.get_by_role("link", name="chest.png").wait_for()
    page.goto(f"{address}/report")
    page.get_by_role("img", name="Heatmap of Atelectasis").wait_for()
    assert not page.get_by_role("img", name="Heatmap of Edema").count()  # it is not likely
    page.get_by_role("button", name=f"Account of {name}").click()
    page.get_by_role("menuitem", name="Log out").click()
    page.get_by_role("link", name="Log in").wait_for()
    page.goto(address)
    page.wait_for_url("**/log-in?next=*")


def test_all_of_it_by_keyboard_alone(person: Person, stack: Run) -> None:
    page, keys = person.page, person.page.keyboard
    account = Account(stack)

    def tab_to(name: str) -> None:
        """Press Tab until the element with this name has the focus."""
        for _ in range(60):
            if page.evaluate(FOCUSED).startswith(name):
                return
            keys.press("Tab")
        raise AssertionError(f"{name} is not reached by the Tab key")

    page.goto("/")
    page.get_by_role("link", name="Log in").wait_for()
    tab_to("Log in")
    keys.press("Enter")
    page.wait_for_url("**/log-in")
    page.get_by_label("Name or e-mail").wait_for()
    tab_to("Name or e-mail")
    keys.type(account.name)
    keys.press("Tab")
    keys.type(PASSWORD)
    keys.press("Enter")
    page.wait_for_url("**/studies")
    page.get_by_text("No studies yet").wait_for()
    tab_to("Upload")
    keys.press("Enter")
    page.get_by_role("button", name="Choose files").wait_for()
    with page.expect_file_chooser() as chooser:
        tab_to("Choose files")
        keys.press("Enter")
    chooser.value.set_files(SAMPLES / "chest.png")
    person.result("**/studies/*")
    seen = person.canvas()
    tab_to("Heatmap")
    keys.press("Space")
    seen = person.sees_another(seen)
    page.get_by_role("slider", name="Opacity").wait_for()
    tab_to("Opacity")
    for _ in range(5):
        keys.press("ArrowLeft")
    fainter = person.sees_another(seen)
    chosen = page.get_by_role("radio", checked=True).get_attribute("value")
    tab_to(page.locator(".finding[data-selected] .finding-name").inner_text())
    keys.press("ArrowDown")
    until(lambda: page.get_by_role("radio", checked=True).get_attribute("value") != chosen)
    person.sees_another(fainter)
    tab_to("Studies")
    keys.press("Enter")
    page.get_by_role("link", name="chest.png").wait_for()
    tab_to(f"Account of {account.name}")
    keys.press("Enter")
    page.get_by_role("menuitem", name="Log out").wait_for()
    keys.press("End")
    keys.press("Enter")
    page.get_by_role("link", name="Log in").wait_for()


@pytest.mark.parametrize("way", ["drop", "paste"])
def test_files_are_dropped_and_pasted_anywhere(person: Person, way: str) -> None:
    from base64 import b64encode

    person.page.goto("/model")
    person.page.get_by_role("heading", name="Model", exact=True).wait_for()
    data = b64encode((SAMPLES / "chest.png").read_bytes()).decode()
    if way == "drop":
        person.page.evaluate(DROP, ["dragover", "image/png", data])
        person.page.get_by_text("Drop to analyse").wait_for()
    person.page.evaluate(DROP, [way, "image/png", data])
    person.result("**/open/*")


def test_the_stages_are_named_while_one_waits(person: Person, stack: Run) -> None:
    worker = process(stack, "model-worker-1")
    os.kill(worker, signal.SIGSTOP)
    try:
        person.choose(SAMPLES / "chest.png")
        person.page.get_by_text("Waiting for a free worker").wait_for()
        models = httpx.get(f"{person.base}/v1/models").json()["items"]
        backbones = [one["name"] for one in models[0]["backbones"]]
        rows = [row.strip() for row in person.page.locator(".progress li").all_inner_texts()]
        assert rows == ["Queue", "Decode", *backbones, "Ensemble"]
    finally:
        os.kill(worker, signal.SIGCONT)
    person.result("**/open/*")


@pytest.mark.skipif(not REAL_DICOM.is_file(), reason="needs ../shared/data")
def test_a_real_dicom_file_shows_its_header_and_scale(person: Person) -> None:
    person.sign_up()
    person.study(REAL_DICOM)
    page = person.page
    assert "1024 × 1024, 8 bit" in page.locator(".marks").inner_text()
    page.get_by_role("button", name="DICOM header").click()
    page.get_by_label("Search the header").fill("PhotometricInterpretation")
    assert "MONOCHROME" in page.get_by_role("dialog").inner_text()


@pytest.mark.parametrize(("name", "bits"), [("chest.dcm", "12 bit"), ("chest-16bit.png", "16 bit")])
def test_an_image_of_more_than_8_bits_keeps_them(person: Person, name: str, bits: str) -> None:
    person.choose(SAMPLES / name)
    person.result("**/open/*")
    assert bits in person.page.locator(".marks").inner_text()
    before = person.canvas()
    canvas = person.page.locator("canvas")
    canvas.focus()
    canvas.press("Shift+ArrowUp")
    person.sees_another(before)


def test_every_tool_of_the_viewer(person: Person, reader: Reader) -> None:
    person.enter(reader.account)
    page = person.page
    page.goto(f"/studies/{reader.current}")
    person.result(f"**/studies/{reader.current}")
    seen = [person.canvas()]
    box = page.locator("canvas").bounding_box()
    assert box
    middle = (box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)

    def drag(dx: float, dy: float, x: float = middle[0], y: float = middle[1]) -> None:
        page.mouse.move(x, y)
        page.mouse.down()
        page.mouse.move(x + dx, y + dy, steps=3)
        page.mouse.up()

    def now() -> None:
        seen.append(person.sees_another(seen[-1]))

    drag(60, 40)  # window and level
    now()
    page.get_by_role("button", name="Pan").click()
    drag(80, 30)
    now()
    page.mouse.move(*middle)
    page.mouse.wheel(0, -300)
    now()
    for key in ("i", "h", "m", "]", "c"):
        page.keyboard.press(key)
        now()
    page.keyboard.press("r")
    page.keyboard.press("s")  # side by side
    now()
    page.keyboard.press("s")  # swipe
    now()
    drag(-150, 0)  # the line is in the middle
    now()
    assert "left: 50%" not in str(page.locator(".swipe-line").get_attribute("style"))
    page.keyboard.press("3")
    until(lambda: page.get_by_role("radio").nth(2).is_checked())
    page.get_by_role("button", name="Full screen").click()
    until(lambda: page.evaluate("document.fullscreenElement?.className") == "viewer")
    page.keyboard.press("x")
    until(lambda: page.evaluate("document.fullscreenElement === null"))


def test_two_studies_of_a_patient_are_compared(person: Person, reader: Reader) -> None:
    person.enter(reader.account)
    page = person.page
    page.goto(f"/studies/{reader.current}")
    page.get_by_role("link", name="Compare with 11 Mar 2024").click()
    page.wait_for_url(f"**/compare/{reader.current}/{reader.prior}")
    until(lambda: page.locator("canvas[data-ready]").count() == 2)
    assert page.locator(".pane h2").all_inner_texts() == ["Then: 11 Mar 2024", "Now: 2 Jan 2026"]
    row = page.get_by_role("row", name="Cardiomegaly").inner_text()
    assert row.split()[-1] == "none"  # it is the same picture
    before = person.canvas()
    page.keyboard.press("h")  # one key for both
    person.sees_another(before)
    page.keyboard.press("s")
    line = page.locator(".swipe-line")
    box = line.bounding_box()
    assert box
    page.mouse.move(box["x"] + 12, box["y"] + 200)
    page.mouse.down()
    page.mouse.move(box["x"] - 150, box["y"] + 200, steps=3)
    page.mouse.up()
    until(lambda: "left: 50%" not in str(line.get_attribute("style")))
    page.get_by_role("combobox", name="With").select_option(label="choose another study…")
    page.get_by_label("Search titles").fill("Two im")
    page.get_by_role("link", name="Two images").click()
    until(lambda: page.locator("canvas[data-ready]").count() == 2)


def test_the_worklist_is_paged_sorted_sought_saved_and_deleted(person: Person, reader: Reader) -> None:
    person.enter(reader.account)
    page = person.page
    page.goto("/studies")
    rows = page.locator(".study-row")
    until(lambda: rows.count() == 25)
    rows.last.scroll_into_view_if_needed()  # more comes as one scrolls
    until(lambda: rows.count() == 29)
    assert not page.get_by_role("button", name="Show more").count()
    page.get_by_label("Order").select_option("title")
    until(lambda: "Chest PA, first" in rows.first.inner_text())
    with page.expect_download() as download:
        page.get_by_role("button", name="CSV").click()
    lines = Path(download.value.path()).read_text().splitlines()
    assert len(lines) == 30
    assert all(f"{name}," in lines[0] for name in ("edema", "pleural_effusion", "atelectasis"))
    with page.expect_download() as download:
        page.get_by_role("button", name="JSON").click()
    assert len(json.loads(Path(download.value.path()).read_text())[0]["findings"]) == 5
    page.get_by_label("State").select_option("failed")
    until(lambda: rows.count() == 1)
    page.get_by_label("State").select_option("")
    page.get_by_label("Search titles").fill("screening 2")
    until(lambda: rows.count() == 4)
    page.get_by_role("link", name="Screening 21").click()
    page.wait_for_url("**/studies/*")
    page.go_back()
    until(lambda: rows.count() == 4)  # what was sought is still there
    rows.nth(0).locator("label").click()
    page.get_by_role("button", name="Select all 4").click()
    page.get_by_role("button", name="Delete").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    page.get_by_text("No matching studies").wait_for()
    page.get_by_role("button", name="Clear the filters").click()
    until(lambda: rows.count() == 25)


def test_a_report_of_two_images_has_two_pages(person: Person, reader: Reader) -> None:
    person.enter(reader.account)
    page = person.page
    page.goto(f"/studies/{reader.pair}/report")
    page.get_by_role("article").nth(1).wait_for()
    printed = page.pdf(format="A4")
    assert len(re.findall(rb"/Type\s*/Page\b", printed)) == 2


def test_a_broken_file_is_explained_in_one_sentence(person: Person, tmp_path: Path) -> None:
    broken = tmp_path / "notes.png"
    broken.write_text("These are my notes.")
    person.choose(broken)
    alert = person.page.get_by_role("alert")
    alert.wait_for()
    assert "Send a DICOM, PNG or JPEG file." in alert.inner_text()


def test_an_expired_session_is_renewed_and_an_ended_one_asks_for_the_password(
    person: Person, stack: Run
) -> None:
    page, account = person.page, Account(stack)
    person.enter(account)
    person.context.clear_cookies(name="thorax_access")
    page.goto("/account")
    page.get_by_role("heading", name="Machine clients").wait_for()
    person.context.clear_cookies(name="thorax_access")
    person.context.clear_cookies(name="thorax_refresh")
    page.goto("/account")
    page.get_by_text("Your session has ended").wait_for()
    person.log_in(account.name)
    page.wait_for_url("**/account")


def test_an_account_is_kept_and_deleted(person: Person, browser: Any, stack: Run) -> None:
    page, account = person.page, Account(stack)
    person.enter(account)
    page.goto("/account")
    # a machine client, by its own example
    page.get_by_label("Name of a new client").fill("pacs")
    page.get_by_role("button", name="Create", exact=True).click()
    example = page.locator("pre").inner_text()
    client_id, secret = (
        example.split(f"{name}=")[1].split()[0].strip(")") for name in ("client_id", "client_secret")
    )
    form = {"grant_type": "client_credentials", "client_id": client_id, "client_secret": secret}
    assert httpx.post(f"{person.base}/auth/token", data=form).status_code == 200
    page.get_by_role("button", name="Revoke pacs").click()
    page.get_by_role("dialog").get_by_role("button", name="Revoke").click()
    until(lambda: httpx.post(f"{person.base}/auth/token", data=form).status_code == 401)
    # another login is ended from here
    other = Person(browser, stack)
    other.enter(account)
    other.page.goto("/account")
    other.page.get_by_role("heading", name="Sessions").wait_for()
    page.reload()
    page.get_by_text("this browser").wait_for()
    ends = page.get_by_role("button", name="Log out")
    until(lambda: ends.count() >= 1)
    for _ in range(ends.count()):
        left = ends.count()
        ends.first.click()
        until(lambda left=left: ends.count() < left)
    other.page.goto("/account")
    other.page.get_by_text("Your session has ended").wait_for()
    other.context.close()
    # another password, then the account is deleted
    page.get_by_label("Current password").fill(PASSWORD)
    page.get_by_label("New password").fill(f"{PASSWORD} again")
    page.get_by_role("button", name="Change").click()
    page.get_by_text("Password changed").wait_for()
    page.get_by_role("button", name="Delete the account").click()
    page.get_by_role("dialog").get_by_label("Password").fill(f"{PASSWORD} again")
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    page.get_by_role("link", name="Log in").wait_for()
    page.goto("/log-in")
    person.log_in(account.name, f"{PASSWORD} again")
    page.get_by_role("alert").wait_for()


def test_an_administrator_sees_why_a_job_failed_and_disables_a_user(
    person: Person, reader: Reader, stack: Run
) -> None:
    about = stack.about()
    person.enter(Account(stack, about["user"], about["password"]))
    page = person.page
    page.goto("/admin")
    row = page.locator("li", has_text=reader.broken[:8])
    row.get_by_text(reader.account.name).wait_for()
    assert "unreadable_image" in row.inner_text()
    assert not row.get_by_role("button").count()  # the file stays as it is
    platform = page.get_by_role("region", name="Platform")
    platform.get_by_text("at work").wait_for()
    platform.get_by_role("region", name="Workers").get_by_text("tiny_0").wait_for()
    assert "in use" in platform.get_by_role("region", name="Bundles").inner_text()
    assert "Cut off" not in page.locator("main").inner_text()  # titles stay with their tenant
    newcomer = Account(stack)
    assert newcomer.api.get("/auth/me").status_code == 200
    page.reload()
    page.get_by_role("button", name=f"Disable {newcomer.name}").click()
    page.get_by_role("button", name=f"Enable {newcomer.name}").wait_for()
    assert newcomer.api.get("/auth/me").status_code == 401


def test_a_restart_of_the_server_is_survived(person: Person, stack: Run) -> None:
    page = person.page
    person.sign_up()
    page.goto("/")
    os.kill(process(stack, "gateway"), signal.SIGKILL)
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Choose files").click()
    chooser.value.set_files(SAMPLES / "chest.jpg")
    page.get_by_text("Reconnecting").wait_for()
    person.result("**/studies/*")
    until(lambda: not page.get_by_text("Reconnecting").count())


def test_two_tenants_do_not_see_each_other(person: Person, reader: Reader, stack: Run) -> None:
    person.enter(Account(stack))
    for view in ("studies", "compare"):
        person.page.goto(f"/{view}/{reader.current}")
        person.page.get_by_text("Study not found").wait_for()
