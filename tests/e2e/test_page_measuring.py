"""What a radiologist measures and sees on an image: lengths, the cardiothoracic ratio, windows, a map's contour and grid."""

import re

import cv2
import numpy as np
import pytest
from tests.e2e.conftest import Reader
from tests.e2e.person import SAMPLES, Person
from tests.factories.patience import until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def value(words: str, unit: str) -> float:
    """The first number that stands before a unit."""
    found = re.search(rf"([\d.]+) {unit}", words)
    assert found, words
    return float(found[1])


def test_lengths_are_in_millimetres_where_the_file_says_how_large_a_pixel_is(
    person: Person, reader: Reader
) -> None:
    page = person.page
    person.enter(reader.account)
    page.goto(f"/studies/{reader.current}")
    person.result(f"**/studies/{reader.current}")
    reading = page.locator(".reading")
    page.keyboard.press("l")
    # Two fifths of 448 columns of 0.4 mm each
    reading.get_by_text("71.7 mm at the detector, by Imager Pixel Spacing").wait_for()
    assert "Not stored" in reading.inner_text()
    page.get_by_role("button", name="Right end of the ruler").press("Shift+ArrowRight")
    until(lambda: value(reading.inner_text(), "mm") == 75.7)
    box = page.locator("canvas").bounding_box()
    middle, height = box["x"] + box["width"] / 2, box["y"] + box["height"] / 3
    page.mouse.move(middle, height)
    page.mouse.down()
    page.mouse.move(middle + 50, height, steps=2)
    page.mouse.up()  # another line
    until(lambda: 10 < value(reading.inner_text(), "mm") < 50)
    page.goto(f"/studies/{reader.deep}")  # a PNG
    person.result(f"**/studies/{reader.deep}")
    page.keyboard.press("l")
    page.get_by_text("px; the file states no pixel spacing").wait_for()


def test_the_cardiothoracic_ratio_follows_its_lines(person: Person, reader: Reader) -> None:
    page = person.page
    person.enter(reader.account)
    page.goto(f"/studies/{reader.current}")
    person.result(f"**/studies/{reader.current}")
    page.get_by_role("button", name="Cardiothoracic ratio").click()
    reading = page.locator(".reading")
    reading.get_by_text("Drag the ends of the lines").wait_for()
    assert not re.search(r"\d", reading.inner_text())
    page.get_by_role("button", name="Right end of the chest's width").press("ArrowRight")
    handle = page.get_by_role("button", name="Left end of the heart's width")
    box, canvas = handle.bounding_box(), page.locator("canvas").bounding_box()
    page.mouse.move(box["x"] + 12, box["y"] + 12)
    page.mouse.down()
    page.mouse.move(box["x"] + 12 - canvas["height"] * 0.1, box["y"] + 12, steps=3)
    page.mouse.up()
    until(lambda: 0.6 < value(reading.inner_text().replace(": heart", " :"), ":") < 0.75)


def test_windows_are_chosen_by_name(person: Person, reader: Reader) -> None:
    page = person.page
    person.enter(reader.account)
    page.goto(f"/studies/{reader.current}")
    person.result(f"**/studies/{reader.current}")
    plain = person.canvas()
    page.get_by_label("Window", exact=True).select_option("Lungs")
    person.sees_another(plain)
    marks = page.locator(".marks")
    until(lambda: "WL 1434 · WW 2248" in marks.inner_text())  # of 2048 and 4096 in the file
    page.keyboard.press("r")
    until(lambda: person.canvas() == plain)


def test_a_contour_has_its_name_and_a_map_says_how_coarse_it_is(person: Person) -> None:
    page = person.page
    person.choose(SAMPLES / "chest.png")
    person.result("**/open/*")
    page.keyboard.press("2")
    page.keyboard.press("c")
    page.locator(".contour-name", has_text="Cardiomegaly").wait_for()
    path = str(page.locator(".contour").get_attribute("d"))
    assert path.count("L") > 20
    page.keyboard.press("+")
    until(lambda: page.locator(".contour").get_attribute("d") != path)  # it keeps its place on the image
    page.get_by_text("Made from a grid of 5 × 5 to 7 × 7").wait_for()


def test_a_map_without_a_warm_place_says_that_nothing_is_marked(person: Person) -> None:
    page = person.page
    _, empty = cv2.imencode(".png", np.zeros((128, 128, 4), np.uint8))
    page.route("**/heatmaps/*", lambda route: route.fulfill(body=empty.tobytes(), content_type="image/png"))
    person.choose(SAMPLES / "chest.png")
    person.result("**/open/*")
    page.keyboard.press("2")
    page.keyboard.press("h")
    page.get_by_text("Nothing is marked").wait_for()
    assert not page.get_by_text("Made from a grid").count()


def test_a_map_says_when_only_a_point_reaches_its_mark_and_smoothing_takes_that_away(person: Person) -> None:
    page = person.page
    levels = np.full((128, 128, 4), 90, np.uint8)
    levels[64, 64] = 255
    png = cv2.imencode(".png", levels)[1].tobytes()
    page.route("**/heatmaps/*", lambda route: route.fulfill(body=png, content_type="image/png"))
    person.choose(SAMPLES / "chest.png")
    person.result("**/open/*")
    page.keyboard.press("2")
    page.keyboard.press("c")
    page.get_by_text("Nothing reaches the mark of this finding. Made from a grid").wait_for()
    assert not page.locator(".contour").get_attribute("d")


def test_an_image_can_not_be_moved_out_of_sight(person: Person, reader: Reader) -> None:
    page = person.page
    person.enter(reader.account)
    page.goto(f"/studies/{reader.current}")
    person.result(f"**/studies/{reader.current}")
    page.locator("canvas").focus()
    for _ in range(60):  # 2,400 pixels
        page.keyboard.press("ArrowRight")
    moved = cv2.imdecode(np.frombuffer(person.canvas(), np.uint8), cv2.IMREAD_GRAYSCALE)
    assert (moved > 60).mean() > 0.1
