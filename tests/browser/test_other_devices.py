"""A case is read by touch in another time zone, and on a keyboard that types no Latin letters."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Server, serve
from tests.helpers.browser_steps import chosen, meet_model, open_app, picture, settled, tap
from tests.helpers.key_layouts import press_at

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.worker]


@pytest.fixture(scope="module")
def shared_server(tmp_path_factory: pytest.TempPathFactory, checkpoint: Path) -> Iterator[Server]:
    """One server for both tests: each reads a case of its own."""
    with serve(tmp_path_factory.mktemp("devices"), checkpoint, workers=1) as running:
        yield running


def test_a_case_is_read_by_touch_alone_in_another_time_zone(telephone: Page, shared_server: Server) -> None:
    page = telephone
    open_app(page, shared_server, "upload_cases")
    tap(page, "Create a demo case")
    expect(page.get_by_text("Your first opinion")).to_be_visible()
    expect(page.get_by_text("times: Asia/Tokyo")).to_be_visible()
    tap(page, "malignant")
    chosen(page, "malignant")
    tap(page, "4", exact=True)
    chosen(page, "4")
    tap(page, "Save and reveal")
    meet_model(page)
    agrees = "malignant" in page.get_by_text("Model says").inner_text()
    tap(page, re.compile("Keep mine" if agrees else "Change to"))
    chosen(page, "Keep mine" if agrees else "Change to")
    picture(page, "touch final opinion")
    tap(page, re.compile("Save and"))
    expect(page.get_by_text(re.compile("saved [0-9:]{8}"))).to_be_visible()
    open_app(page, shared_server)
    expect(page.get_by_text("1 final")).to_be_visible()
    picture(page, "touch worklist")


def test_a_case_is_read_on_a_cyrillic_keyboard(page: Page, shared_server: Server) -> None:
    open_app(page, shared_server, "upload_cases")
    page.get_by_role("button", name="Create a demo case").click()
    expect(page.get_by_text("Your first opinion")).to_be_visible()
    settled(page)
    press_at(page, "ь", "KeyM")
    chosen(page, "malignant")
    page.keyboard.press("4")
    chosen(page, "4")
    page.keyboard.press("Enter")
    said, asked = page.get_by_text("Model says"), page.get_by_role("button", name="I have read this")
    expect(said.or_(asked).first).to_be_visible()
    if asked.is_visible():
        settled(page)
        press_at(page, "п", "KeyG")
    expect(said).to_be_visible()
    settled(page)
    agrees = "malignant" in said.inner_text()
    press_at(page, *(("ф", "KeyA") if agrees else ("в", "KeyD")))
    chosen(page, "Keep mine" if agrees else "Change to")
    page.keyboard.press("Enter")
    expect(page.get_by_text(re.compile("saved [0-9:]{8}"))).to_be_visible()
