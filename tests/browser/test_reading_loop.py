"""The main job in a real browser: an image in, a blind read, the reveal, the last word, and found again."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect
from sqlalchemy import func, select

from db import tables
from db.database import open_as_it_is
from tests.browser.conftest import Server, serve
from tests.helpers.browser_steps import (
    Scheme,
    at_rest,
    choose,
    chosen,
    meet_model,
    open_app,
    picture,
    read_first,
    settled,
    upload,
)
from tests.helpers.images.tissue import tissue_png

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.fixture
def image(shared_data: Path) -> Path:
    """One real image of BreaKHis at 100X."""
    return sorted((shared_data / "breakhis").rglob("*-100-*.png"))[0]


@pytest.fixture(scope="module")
def busy_server(tmp_path_factory: pytest.TempPathFactory, checkpoint: Path) -> Iterator[Server]:
    """A server for the tests that need not be alone on it: each reads a case of its own."""
    with serve(tmp_path_factory.mktemp("busy"), checkpoint, workers=1) as running:
        yield running


@pytest.mark.data
@pytest.mark.worker
def test_the_whole_reading_loop_by_keyboard_and_after_a_power_cut(page: Page, server: Server, image: Path) -> None:
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    open_app(page, server)
    expect(page.get_by_text("No cases yet")).to_be_visible()
    picture(page, "1 worklist, empty")
    page.keyboard.press("u")
    expect(page.get_by_text("Case number")).to_be_visible()
    page.get_by_role("combobox", name="Magnification").fill("100X")
    page.keyboard.press("Enter")
    upload(page, image)
    picture(page, "2 upload")

    page.keyboard.press("n")
    expect(page.get_by_text("Your first opinion")).to_be_visible()
    expect(page.get_by_text("100X")).to_be_visible()
    picture(page, "3 first opinion")
    assert page.request.get(f"{server.url}/images/1").status == 200
    assert page.request.get(f"{server.url}/images/1/heatmap").status == 403
    assert "Model says" not in page.content()
    assert not [url for url in requests if url.endswith("/heatmap")]

    page.keyboard.press("m")
    chosen(page, "malignant")
    page.keyboard.press("4")
    chosen(page, "4")
    page.get_by_placeholder("note (optional)").fill("back of the field")  # these letters are keys elsewhere
    page.keyboard.press("Control+Enter")
    expect(page.get_by_role("heading", name="Meet the model")).to_be_visible()
    assert "Model says" not in page.content()
    picture(page, "3 meet the model")
    meet_model(page)
    expect(page.get_by_text(re.compile("saved [0-9:]{8}"))).to_be_visible()
    assert page.request.get(f"{server.url}/images/1/heatmap").status == 200
    picture(page, "4 reveal")

    agrees = "malignant" in page.get_by_text("Model says").inner_text()
    page.keyboard.press("a" if agrees else "d")
    chosen(page, "Keep mine" if agrees else "Change to")
    page.keyboard.press("y")
    chosen(page, "yes")
    picture(page, "5 final opinion")
    page.keyboard.press("Enter")
    expect(page.get_by_text("1 final")).to_be_visible()
    picture(page, "6 worklist")

    server.kill()
    server.start()
    open_app(page, server, "read_case?case=1")
    page.get_by_text("Your 2 reads of C-0001").click()
    expect(page.get_by_text(re.compile("first: ▲ malignant .4/5. – back of the field"))).to_be_visible()
    expect(page.get_by_text(re.compile("final: .*map useful: yes"))).to_be_visible()
    picture(page, "7 after a power cut")
    outside = [url for url in requests if not re.match(rf"({server.url}|ws://127\.0\.0\.1|data:|blob:)", url)]
    assert not outside, "nothing is fetched from another computer"


def _make_demo_case(page: Page, server: Server) -> None:
    open_app(page, server, "upload_cases")
    page.get_by_role("button", name="Create a demo case").click()


def test_a_demo_case_needs_no_images_of_one_s_own(page: Page, busy_server: Server) -> None:
    _make_demo_case(page, busy_server)
    expect(page.get_by_text("generated demo case")).to_be_visible()
    read_first(page, "b", "3")
    picture(page, "8 demo case")


def test_a_row_of_the_worklist_opens_its_case_and_lets_the_reader_back(page: Page, busy_server: Server) -> None:
    _make_demo_case(page, busy_server)
    expect(page.get_by_text("Your first opinion")).to_be_visible()
    open_app(page, busy_server)
    at_rest(page)
    page.get_by_test_id("stDataFrame").click(position={"x": 200, "y": 55})  # the first row
    expect(page).to_have_url(re.compile(r"/read_case\?case=\d+$"))
    page.get_by_role("link", name="Worklist").click()
    expect(page.get_by_placeholder("case number")).to_be_visible()
    at_rest(page)  # a row that stays selected would open its case again
    expect(page.get_by_placeholder("case number")).to_be_visible()


def test_two_tabs_make_one_first_read_and_lose_no_words(page: Page, busy_server: Server) -> None:
    _make_demo_case(page, busy_server)
    expect(page.get_by_text("Your first opinion")).to_be_visible()
    stale = page.context.new_page()
    open_app(stale, busy_server, page.url.rpartition("/")[2])
    expect(stale.get_by_text("Your first opinion")).to_be_visible()
    read_first(page, "m", "5")
    settled(stale)
    stale.keyboard.press("b")
    chosen(stale, "benign")
    stale.keyboard.press("2")
    chosen(stale, "2")
    stale.get_by_placeholder("note (optional)").fill("I see it otherwise")
    stale.keyboard.press("Control+Enter")
    expect(stale.get_by_text("Not saved: your first opinion on this case was already saved")).to_be_visible()
    expect(stale.get_by_placeholder("note (optional)")).to_have_value("I see it otherwise")
    stale.get_by_role("button", name="Show saved version").click()
    expect(stale.get_by_text("▲ malignant (5/5)")).to_be_visible()
    expect(stale.get_by_text("I see it otherwise")).to_be_visible()


def _stored_cases(server: Server) -> int:
    sessions = open_as_it_is(server.database)
    with sessions.read() as session:
        cases = session.scalar(select(func.count()).select_from(tables.Case))
    sessions.dispose()
    return cases or 0


def test_a_double_click_stores_one_case(page: Page, busy_server: Server, tmp_path: Path) -> None:
    file = tmp_path / "field.png"
    file.write_bytes(tissue_png(1))
    before = _stored_cases(busy_server)
    open_app(page, busy_server, "upload_cases")
    choose(page, file)
    page.get_by_role("button", name="Store images").dblclick()
    expect(page.get_by_text("1 of 1 images ready")).to_be_visible()
    assert _stored_cases(busy_server) == before + 1


@pytest.mark.parametrize(("width", "scheme"), [(1280, "dark"), (900, "light")])
def test_the_buttons_that_save_need_no_scrolling(
    browser: Browser, busy_server: Server, width: int, scheme: Scheme
) -> None:
    page = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme).new_page()
    _make_demo_case(page, busy_server)
    expect(page.get_by_role("button", name="Save and reveal")).to_be_in_viewport(ratio=1)
    picture(page, f"9 first opinion, {width} {scheme}")
    read_first(page, "b", "3")
    expect(page.get_by_role("button", name="Save and open next case")).to_be_in_viewport(ratio=1)
    picture(page, f"9 final opinion, {width} {scheme}")
    page.context.close()
