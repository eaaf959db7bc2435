"""The page of domain shift in a real browser: one comparison, another one, its statistics and a picture as files."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from db import store
from tests.browser.conftest import Server, serve
from tests.helpers.browser_steps import Scheme, open_app, picture
from tests.helpers.databases import open_new
from tests.helpers.shifts import shifted

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory, checkpoint: Path) -> Iterator[Server]:
    """A server whose database holds two comparisons; no test changes them."""
    data = tmp_path_factory.mktemp("shifts")
    sessions = open_new(data / "second_read.sqlite")
    with sessions.begin() as session:
        for found in (shifted(away=0, target="nearby"), shifted()):
            store.evaluations.add_shift(session, found.source, found.target, found.model_version, found.to_json())
    sessions.dispose()
    with serve(data, checkpoint) as running:
        yield running


def test_a_comparison_is_chosen_read_and_taken_away(page: Page, compared: Server) -> None:
    open_app(page, compared)
    page.get_by_role("link", name="Domain shift").click()
    expect(page.get_by_text("images of here and of there clearly differ")).to_be_visible()
    expect(page.locator(".stPlotlyChart")).to_have_count(3)
    expect(page.get_by_text("size of dark structures").first).to_be_visible()
    expect(page.get_by_text("AUC of the source set")).to_be_visible()
    picture(page, "domain shift")

    with page.expect_download() as statistics:
        page.get_by_role("button", name="Statistics as CSV").click()
    assert statistics.value.suggested_filename.startswith("statistics-")
    assert "lightness" in Path(statistics.value.path()).read_text(encoding="utf-8-sig")
    points = page.locator(".stPlotlyChart").last
    points.hover()
    with page.expect_download() as drawn:
        points.locator(".modebar-btn").first.click()
    assert drawn.value.suggested_filename == "points-2.png"

    page.get_by_role("combobox", name="Comparison").click()
    page.get_by_role("option", name="here → nearby").click()
    expect(page.get_by_text("images of here and of nearby")).to_be_visible()


@pytest.mark.parametrize(("width", "scheme"), [(1280, "dark"), (900, "light")])
def test_what_the_page_is_for_needs_no_scrolling(
    browser: Browser, compared: Server, width: int, scheme: Scheme
) -> None:
    page = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme).new_page()
    open_app(page, compared, "domain_shift")
    expect(page.get_by_text("clearly differ")).to_be_in_viewport(ratio=1)
    expect(page.get_by_text("Separability (AUC)")).to_be_in_viewport(ratio=1)
    expect(page.get_by_text("AUC of the source set")).to_be_in_viewport(ratio=0.99)
    picture(page, f"domain shift, {width} {scheme}")
    page.context.close()
