"""What happens elsewhere is shown by itself: one stream for all studies of a tab, however many there are."""

from typing import Any

import pytest
from tests.e2e.person import SAMPLES, Account, Person
from tests.e2e.test_make_run import Run
from tests.factories.images import chest_png
from tests.factories.patience import PATIENCE_S, until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

DROP_MANY = """async (count) => {
  const transfer = new DataTransfer();
  for (let i = 0; i < count; i++) transfer.items.add(new File(["x"], `chest-${i}.png`, { type: "image/png" }));
  const frame = () => new Promise((done) => requestAnimationFrame(done));
  await frame();
  document.body.dispatchEvent(new DragEvent("drop", { dataTransfer: transfer, bubbles: true, cancelable: true }));
  await frame();
  await frame();
  return document.querySelectorAll(".uploads li").length;
}"""


def test_one_stream_tells_of_all_studies(person: Person, stack: Run) -> None:
    page, account = person.page, Account(stack)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url.removeprefix(person.base)))
    person.enter(account)
    with page.expect_response("**/v1/events*"):
        page.goto("/studies")
    page.get_by_text("No studies yet").wait_for()
    png = (SAMPLES / "chest.png").read_bytes()
    jobs = [account.send((f"{i}.png", png), title=f"From afar {i}") for i in range(3)]
    rows = page.locator(".study-row")
    until(lambda: rows.count() == 3 and rows.locator(".chip.likely").count() == 9)
    until(lambda: "upload" in rows.first.inner_text())  # where it came from; no text before it is painted
    account.api.delete(f"/v1/jobs/{jobs[0]}").raise_for_status()
    until(lambda: rows.count() == 2)
    rows.first.get_by_role("link").click()
    person.result("**/studies/*")
    assert len([path for path in asked if path.startswith("/v1/jobs?")]) == 1  # the list was read once
    assert [path for path in asked if "/events" in path] == ["/v1/events"]


def test_a_result_is_marked_while_it_is_open_once_a_later_one_supersedes_it(
    person: Person, stack: Run
) -> None:
    page, account = person.page, Account(stack)
    first = account.send(("chest.png", (SAMPLES / "chest.png").read_bytes()), title="Twice")
    account.final(first)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url.removeprefix(person.base)))
    person.enter(account)
    with page.expect_response("**/v1/events*"):
        page.goto("/studies")
    rows = page.locator(".study-row")
    until(lambda: rows.count() == 1)
    study = person.context.new_page()
    study.set_default_timeout(PATIENCE_S * 1000)
    with study.expect_response("**/v1/events*"):
        study.goto(f"/studies/{first}")
    study.get_by_role("radio").nth(4).wait_for(state="attached")

    second = account.api.post(f"/v1/jobs/{first}/analyse").raise_for_status().json()["id"]
    mark, link = rows.nth(1).get_by_role("link", name="Superseded"), "Open the later result"
    mark.wait_for()
    assert mark.get_attribute("href") == f"/studies/{second}"
    assert study.get_by_role("link", name=link).get_attribute("href") == f"/studies/{second}"
    study.goto(f"/studies/{first}/report")
    study.get_by_text("A later result of this study supersedes this one.").wait_for()
    study.goto(f"/studies/{first}")
    study.get_by_role("link", name=link).wait_for()

    account.final(second)
    account.api.delete(f"/v1/jobs/{second}").raise_for_status()
    until(lambda: rows.count() == 1)
    assert not rows.first.get_by_role("link", name="Superseded").count()
    until(lambda: not study.get_by_role("link", name=link).count())
    assert len([path for path in asked if path.startswith("/v1/jobs?")]) == 1  # the list was read once


def test_a_hundred_dropped_files_are_in_sight_at_once(person: Person) -> None:
    page = person.page
    page.route("**/v1/anonymous/jobs", lambda route: None)  # on a line that takes nothing
    page.goto("/")
    page.get_by_role("button", name="Choose files").wait_for()
    assert page.evaluate(DROP_MANY, 100) == 100
    page.get_by_text("0 of 100 uploads sent").wait_for()
    page.get_by_role("button", name="Cancel").click()


def test_a_study_behind_the_loaded_part_of_the_list_is_shown_once_and_in_its_place(
    person: Person, stack: Run
) -> None:
    page, account = person.page, Account(stack)
    deep = account.send(("cut.png", (SAMPLES / "chest.png").read_bytes()[:4000]), title="Deep")
    last = [account.send((f"{i}.png", chest_png(i, 64)), title=f"Study {i:02}") for i in range(30)][-1]
    account.final(deep), account.final(last)
    person.enter(account)
    held: list[Any] = []
    page.route("**/v1/jobs?*cursor=*", lambda route: held.append(route))  # noqa: PLW0108 — Playwright marks the function
    names = page.locator(".study-name strong")
    with page.expect_response("**/v1/events*"), page.expect_request("**/v1/jobs?*cursor=*"):
        page.goto("/studies")
        until(lambda: names.count() == 25)
        page.get_by_role("button", name="Show more").scroll_into_view_if_needed()
    account.api.post(f"/v1/jobs/{deep}/retry").raise_for_status()
    account.send(("new.png", chest_png(99, 64)), title="New")  # its event comes after the other's
    until(lambda: "New" in names.first.text_content())
    assert names.count() == 26
    for route in held:
        route.continue_()
    until(lambda: names.count() >= 32)
    titles = [name.split(",")[0].strip() for name in names.all_text_contents()]
    assert titles == ["New", *(f"Study {i:02}" for i in reversed(range(30))), "Deep"]
