"""The page of agreement in a real browser: a figure and a cell open their cases, a row opens the case."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from db import store
from db.values.accounts import Role
from db.values.reading import Opinion
from tests.browser.conftest import Server, serve
from tests.helpers.browser_steps import Scheme, at_rest, open_app, picture
from tests.helpers.databases import open_new
from tests.helpers.rows import OPENED
from tests.helpers.world import World, let_all_meet_the_model

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.fixture(scope="module")
def read_by_two(tmp_path_factory: pytest.TempPathFactory, checkpoint: Path) -> Iterator[Server]:
    """A server whose database holds three cases that two readers have finished; no test changes them."""
    data = tmp_path_factory.mktemp("agreement")
    sessions = open_new(data / "second_read.sqlite")
    with sessions.begin() as session:
        readers = [
            store.accounts.single_reader(session).id,
            store.accounts.add_account(session, "dr. b", Role.READER).id,
        ]
    world = World(sessions, (readers[0],), folder=data)
    cases = [world.add_case(seed) for seed in range(3)]
    world.analyse(0.9)
    let_all_meet_the_model(sessions)
    with sessions.begin() as session:
        for place, case_id in enumerate(cases):
            for reader in readers:
                first = Opinion("benign" if place == 2 and reader == readers[0] else "malignant", 4)
                store.reads.record_first_read(session, case_id, reader, first, OPENED)
                store.reads.record_final_read(session, case_id, reader, Opinion("malignant", 4), OPENED)
    sessions.dispose()
    with serve(data, checkpoint) as running:
        yield running


def test_a_figure_and_a_cell_open_their_cases_and_a_row_its_case(page: Page, read_by_two: Server) -> None:
    open_app(page, read_by_two)
    page.get_by_role("link", name="Agreement").click()
    expect(page.get_by_text("3 cases you have finished")).to_be_visible()
    chosen = page.get_by_role("combobox", name="Cases behind a number")
    expect(chosen).to_have_value("all readings (6)")
    figures = page.get_by_test_id("stDataFrame").first
    at_rest(page)
    # The first figure of the last line: the table draws itself, so that only its place can be clicked.
    figures.click(position={"x": 340, "y": 125})
    expect(chosen).to_have_value("reader: same label before the reveal – 67% [21%, 94%], 2 of 3")
    at_rest(page)
    page.locator(".stPlotlyChart .nsewdrag").first.click(position={"x": 12, "y": 12})
    expect(chosen).to_have_value("all readers before the reveal: reader ○ benign, model ○ benign (0)")
    expect(page.get_by_text("No cases match")).to_be_visible()
    picture(page, "agreement")
    page.get_by_role("radio", name="Effect of the reveal").click()
    expect(page.get_by_text("Without reference labels")).to_be_visible()
    cases = page.get_by_test_id("stDataFrame").last
    at_rest(page)
    cases.click(position={"x": 70, "y": 55})
    expect(page.get_by_text("You said")).to_be_visible()
    assert "case=1" in page.url


@pytest.mark.parametrize(("width", "scheme"), [(1280, "dark"), (900, "light")])
def test_the_figures_and_their_cases_need_no_scrolling(
    browser: Browser, read_by_two: Server, width: int, scheme: Scheme
) -> None:
    page = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme).new_page()
    open_app(page, read_by_two, "agreement")
    expect(page.get_by_test_id("stDataFrame").first).to_be_in_viewport(ratio=1)
    expect(page.get_by_role("combobox", name="Cases behind a number")).to_be_in_viewport(ratio=1)
    expect(page.locator(".stPlotlyChart").first).to_be_in_viewport(ratio=0.9)
    picture(page, f"agreement {width} {scheme}")
