"""A click on a cell of a confusion matrix in a real browser lands on its images."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import Browser, Page, expect

from core.labels import BREAKHIS
from db.files import Files
from tests.browser.conftest import SCREENSHOTS, Server, serve
from tests.helpers.browser_steps import at_rest
from tests.helpers.databases import open_new
from tests.helpers.evaluations import add_evaluation, made_evaluation, made_images

pytestmark = [pytest.mark.browser, pytest.mark.slow]

Scheme = Literal["dark", "light"]

HOSTILE = (
    '<a href="https://evil.example">here</a><img src=x onerror="document.title=1"> **b** [l](https://evil.example)'
)
_PATIENCE_MS = 60_000
_CLICKS = 3


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, checkpoint: Path) -> Iterator[Server]:
    """A server whose database holds two evaluations, one of them with a hostile name; no test changes them."""
    data = tmp_path_factory.mktemp("evaluations")
    sessions = open_new(data / "second_read.sqlite")
    images = made_images(BREAKHIS, Files(data / "files"))
    add_evaluation(sessions, replace(made_evaluation(BREAKHIS), model_name=HOSTILE), images)
    add_evaluation(sessions, made_evaluation(BREAKHIS), images)
    sessions.dispose()
    with serve(data, checkpoint) as running:
        yield running


def open_page(page: Page, server: Server) -> None:
    page.set_default_timeout(_PATIENCE_MS)
    expect.set_options(timeout=_PATIENCE_MS)
    page.goto(f"{server.url}/evaluation")
    expect(page.get_by_test_id("stPlotlyChart").locator(".nsewdrag").first).to_be_visible()


def click_cell(page: Page, truth: int, called: int, classes: int) -> None:
    """Click near a corner of a cell, where no number stands."""
    at_rest(page)
    box = page.get_by_test_id("stPlotlyChart").first.locator(".nsewdrag").first.bounding_box()
    assert box is not None
    x = box["x"] + (called + 0.2) * box["width"] / classes
    page.mouse.click(x, box["y"] + (truth + 0.8) * box["height"] / classes)


def open_cell(page: Page, truth: int, called: int, heading: str) -> None:
    """Click a cell until its images are named: a click on a chart that is just being drawn anew is lost."""
    shown = page.get_by_test_id("stMarkdown").get_by_text(heading)
    for _ in range(_CLICKS):
        click_cell(page, truth, called, 2)
        try:
            expect(shown).to_be_visible(timeout=_PATIENCE_MS / _CLICKS)
        except AssertionError:
            continue
        return
    expect(shown).to_be_visible()


def images_of(truth: bool, called: bool) -> list[str]:
    found = [i for i in made_images(BREAKHIS) if (i.malignant, i.called_malignant) == (truth, called)]
    return [i.name.removeprefix("slides/") for i in found]


def expect_images(page: Page, names: list[str]) -> None:
    pictures = page.locator(".st-key-evaluation-images img")
    expect(pictures).to_have_count(min(12, len(names)))
    assert {picture.get_attribute("alt") for picture in pictures.all()} <= set(names)


def test_a_click_on_a_cell_lands_on_its_images(page: Page, server: Server) -> None:
    open_page(page, server)
    missed, alarms = images_of(True, False), images_of(False, True)
    open_cell(page, 1, 0, f"truth malignant, predicted benign ({len(missed)})")
    expect(page.locator(".st-key-evaluation-images img").first).to_be_in_viewport()
    expect_images(page, missed)
    open_cell(page, 0, 1, f"truth benign, predicted malignant ({len(alarms)})")
    expect_images(page, alarms)
    for truth, called, names in ((1, 0, missed), (0, 1, alarms), (1, 0, missed)):
        # Again: no earlier click lingers as a selection that this one would undo.
        open_cell(page, truth, called, f"predicted {('benign', 'malignant')[called]} ({len(names)})")
        expect_images(page, names)
    page.screenshot(path=SCREENSHOTS / "10 evaluation, images of a cell.png")


def test_the_cells_of_eight_classes_open_too(page: Page, server: Server) -> None:
    open_page(page, server)
    page.get_by_role("radio", name="8 classes").click()
    confusion = made_evaluation(BREAKHIS).confusions[1]
    truth, called = next(
        (row, column) for row in range(8) for column in range(8) if row != column and confusion.counts[row][column]
    )
    names = [confusion.classes[place].replace("_", " ") for place in (truth, called)]
    expect(page.get_by_test_id("stPlotlyChart").first.get_by_text(names[0]).first).to_be_visible()
    click_cell(page, truth, called, 8)
    heading = f"truth {names[0]}, predicted {names[1]} ({confusion.counts[truth][called]})"
    expect(page.get_by_test_id("stMarkdown").get_by_text(heading)).to_be_visible()
    expect(page.locator(".st-key-evaluation-images img")).to_have_count(confusion.counts[truth][called])


def test_a_cell_is_opened_by_keyboard_as_well(page: Page, server: Server) -> None:
    open_page(page, server)
    page.get_by_label("Images of a cell").focus()
    page.keyboard.type("truth malignant, predicted benign")
    page.keyboard.press("Enter")
    expect(page.locator(".st-key-evaluation-images img").first).to_be_visible()
    expect_images(page, images_of(True, False))


def test_a_row_of_who_holds_the_errors_opens_that_patient(page: Page, server: Server) -> None:
    open_page(page, server)
    page.get_by_role("radio", name="Patients", exact=True).click()
    groups = [group for group in made_evaluation(BREAKHIS).groups if group.kind == "patient"]
    worst = min(groups, key=lambda group: (-group.wrong, group.name))
    at_rest(page)
    page.locator(".stColumn").get_by_test_id("stDataFrame").click(position={"x": 150, "y": 55})  # the first row
    expect(
        page.get_by_test_id("stMarkdown").get_by_text(f"patient {worst.name}: {worst.images} of these")
    ).to_be_visible()
    expect(page.locator(".st-key-evaluation-images img")).to_have_count(min(12, worst.images))


@pytest.mark.parametrize(("width", "scheme"), [(1280, "dark"), (900, "light")])
def test_two_models_fit_beside_each_other_and_their_names_cannot_act(
    browser: Browser, server: Server, width: int, scheme: Scheme
) -> None:
    page = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme).new_page()
    open_page(page, server)
    page.get_by_role("combobox", name="Compare with").click()
    page.get_by_role("option").first.click()
    expect(page.get_by_text("on the same 60 images")).to_be_visible()
    expect(page.get_by_test_id("stPlotlyChart")).to_have_count(3)
    at_rest(page)
    page.screenshot(path=SCREENSHOTS / f"11 evaluation, two models, {width} {scheme}.png")
    assert page.locator("a[href*='evil'], img[src='x']").count() == 0
    assert page.title() != "1"
    overflow = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert overflow <= 0
    page.context.close()
