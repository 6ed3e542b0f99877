"""What a reader sees is true: maps only where asked and likely, why a job failed, what was read, filters in the address."""

from typing import Any

import pytest
from tests.e2e.conftest import Reader
from tests.e2e.person import Account, Person
from tests.e2e.test_make_run import Run
from tests.factories.images import chest_png
from tests.factories.patience import until

BACKBONES = ("xception", "inception_resnet_v2", "densenet121", "densenet169", "densenet201")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def test_a_heatmap_is_off_until_asked_for_and_never_drawn_for_what_is_not_likely(
    person: Person, reader: Reader
) -> None:
    page = person.page
    asked: list[str] = []
    page.on("request", lambda r: "/heatmaps/" in r.url and asked.append(r.url))
    person.enter(reader.account)
    page.goto(f"/studies/{reader.current}")
    person.result(f"**/studies/{reader.current}")
    plain = person.canvas()
    assert not asked
    page.keyboard.press("h")
    person.sees_another(plain)
    assert len(asked) == 1
    page.keyboard.press("3")  # consolidation, which is unlikely by construction
    page.get_by_text("Consolidation is unlikely, so it has no heatmap.").wait_for()
    assert len(asked) == 1


def test_a_failed_study_says_why_and_offers_a_retry_only_if_it_can_help(
    person: Person, reader: Reader
) -> None:
    page = person.page
    person.enter(reader.account)
    page.goto("/studies?state=failed")
    row = page.locator(".study-row")
    row.get_by_text("truncated or damaged").wait_for()
    row.get_by_role("link").click()
    page.get_by_role("alert").wait_for()
    page.get_by_role("button", name="Delete").wait_for()
    assert not page.get_by_role("button", name="Try again").count()


def test_the_worklist_keeps_its_filters_and_read_marks(person: Person, reader: Reader) -> None:
    page = person.page
    person.enter(reader.account)
    page.goto("/studies?title=Chest&sort=title")
    rows = page.locator(".study-row")
    until(lambda: rows.count() == 2)
    until(lambda: page.locator(".study-row.unread").count() == 2)
    *likely, edema = rows.first.locator(".chip").all_text_contents()
    margins = [float(chip.rsplit("+", 1)[1]) for chip in likely]
    assert len(margins) == 3 and margins == sorted(margins, reverse=True) and min(margins) > 0
    assert edema.startswith("Edema") and "+" not in edema  # uncertain: below its threshold
    found = reader.account.final(reader.prior)["study"]["findings"]
    expected = sorted((f["margin"] for f in found if f["positive"]), reverse=True)
    assert margins == pytest.approx(expected, abs=0.051)
    rows.first.get_by_role("link").click()
    person.result(f"**/studies/{reader.prior}")
    page.keyboard.press("j")
    page.get_by_role("heading", name="Chest PA, follow-up").wait_for()
    page.keyboard.press("k")
    page.wait_for_url(f"**/studies/{reader.prior}")
    page.goto("/studies?title=Chest&sort=title")
    until(lambda: rows.count() == 2)
    until(lambda: not page.locator(".study-row.unread").count())
    page.get_by_label("Finding").select_option("edema")
    page.wait_for_url("**/studies?title=Chest&finding=edema&sort=title")
    page.get_by_text("No matching studies").wait_for()


def test_rarer_filters_are_in_the_address_and_a_wrong_value_is_explained(
    person: Person, reader: Reader
) -> None:
    page = person.page
    person.enter(reader.account)
    page.goto("/studies")
    page.get_by_text("More filters").click()
    patient = reader.account.final(reader.prior)["study"]["patient"]
    page.get_by_label("Patient pseudonym").fill(patient)
    page.get_by_label("Received from (UTC)").fill("2020-01-01")
    page.get_by_role("button", name="Find").click()
    page.wait_for_url(f"**/studies?created_after=2020-01-01&patient={patient}")
    until(lambda: page.locator(".study-row").count() == 2)
    page.get_by_label("Patient pseudonym").fill("somebody")
    page.get_by_role("button", name="Find").click()
    assert "patient" in page.get_by_role("alert").inner_text()
    page.get_by_role("button", name="Clear").click()
    page.wait_for_url("**/studies")
    page.goto("/studies?created_before=yesterday")
    assert "created_before" in page.get_by_role("alert").inner_text()


def test_image_and_percentages_are_in_sight_on_a_phone(person: Person, reader: Reader) -> None:
    page = person.page
    page.set_viewport_size({"width": 390, "height": 844})
    person.enter(reader.account)
    page.goto(f"/studies/{reader.current}")
    person.result(f"**/studies/{reader.current}")
    bottom = page.get_by_role("contentinfo").bounding_box()["y"]
    for seen in (page.locator("canvas"), page.locator(".finding-value").last):
        box = seen.bounding_box()
        assert box["y"] >= 0 and box["y"] + box["height"] <= bottom


def test_the_model_page_says_how_often_a_verdict_is_right(person: Person) -> None:
    page = person.page
    page.goto("/model")
    points = page.get_by_role("region", name="Operating points of tiny")
    likely = points.locator("tbody").first.get_by_role("row").first
    until(lambda: likely.inner_text().split("\t")[-4:] == ["0.90", "0.90", "—", "—"])
    assert "in 5.0\N{NO-BREAK SPACE}% of images" in likely.inner_text()
    row = page.get_by_role("region", name="Figures of tiny").get_by_role("row", name="Cardiomegaly")
    assert "50\N{NO-BREAK SPACE}% of 14, by chance 18\N{NO-BREAK SPACE}%" in row.inner_text()


def test_the_figures_of_five_networks_fit_a_screen_of_1280_pixels(person: Person) -> None:
    page = person.page

    def with_five(route: Any) -> None:
        answer = route.fetch()
        models = answer.json()
        for model in models["items"]:
            model["backbones"] = [model["backbones"][0] | {"name": name} for name in BACKBONES]
        route.fulfill(response=answer, json=models)

    page.set_viewport_size({"width": 1280, "height": 800})
    page.route("**/v1/models*", with_five)
    page.goto("/model")
    figures = page.get_by_role("region", name="Figures of tiny")
    figures.get_by_role("columnheader", name="inception_resnet_v2").wait_for()
    assert figures.evaluate("element => element.scrollWidth <= element.clientWidth")


def test_the_report_names_its_operating_point(person: Person, reader: Reader) -> None:
    page = person.page
    person.enter(reader.account)
    page.goto(f"/studies/{reader.current}/report")
    report = page.get_by_role("article")
    report.get_by_text("Read with operating point “likely”.").wait_for()
    assert "Likely: " in report.inner_text() and "Not a medical device" in report.inner_text()
    cells = report.get_by_role("row", name="Cardiomegaly").inner_text()
    assert "5.0\N{NO-BREAK SPACE}%" in cells and cells.count("0.90") == 2
    until(lambda: report.get_by_role("img", name="Heatmap of").count() == 3)  # of the likely findings only


def test_an_administrator_sets_how_studies_are_read(person: Person, stack: Run) -> None:
    page, about = person.page, stack.about()
    administrator = Account(stack, about["user"], about["password"])
    person.enter(administrator)
    page.goto("/admin")
    form = page.get_by_role("region", name="Reading")
    form.get_by_label("Edema: threshold, %").fill("2")
    form.get_by_label("Edema: prevalence, %").fill("0")
    form.get_by_role("button", name="Save").click()
    assert "“prevalence: edema”" in form.get_by_role("alert").inner_text()
    form.get_by_label("Edema: prevalence, %").fill("10")
    form.get_by_role("button", name="Save").click()
    form.get_by_text("Saved.").wait_for()
    try:
        job = administrator.send(("front.png", chest_png(7, 64)), title="Read otherwise")
        administrator.final(job)
        page.goto(f"/studies/{job}")
        said = "operating point “likely”, own thresholds for edema (2.0 %), and an own prevalence of edema (10.0 %)"
        page.get_by_text(f"Read with {said}.").wait_for()
        page.goto("/admin")
        until(lambda: form.get_by_label("Edema: threshold, %").input_value() == "2")
        form.get_by_role("button", name="Read as the bundle does").click()
        form.get_by_text("Saved.").wait_for()
        assert administrator.api.get("/v1/reading").json()["thresholds"] == {}
    finally:
        administrator.api.delete(
            f"/v1/admin/readings/{administrator.api.get('/auth/me').json()['tenant_id']}"
        )
