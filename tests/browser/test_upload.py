"""What was chosen and typed stays: over a look at another page, and while the database is locked."""

import re
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Server
from tests.helpers.browser_steps import choose, chosen, meet_model, open_app, picture, settled
from tests.helpers.images.tissue import tissue_png

pytestmark = [pytest.mark.browser, pytest.mark.slow]

_BUSY_MS = 120_000  # a page waits half a minute for a locked database, and the machine may be busy as well
NAMES = ("slide 10.png", "slide 2.png", "slide 1.png")


def _go(page: Page, title: str) -> None:
    settled(page)
    page.get_by_role("link", name=title, exact=True).first.click()


@pytest.mark.worker
def test_chosen_files_stay_in_natural_order_over_a_look_at_another_page(
    page: Page, server: Server, tmp_path: Path
) -> None:
    for seed, name in enumerate(NAMES):
        (tmp_path / name).write_bytes(tissue_png(seed))
    open_app(page, server, "upload_cases")
    page.get_by_label("Case number").fill("S24-10")
    page.get_by_label("Case number").press("Enter")
    choose(page, *(tmp_path / name for name in NAMES))
    expect(page.get_by_role("row", name="1 slide 1.png")).to_be_visible()
    settled(page)
    picture(page, "upload, chosen")
    _go(page, "Worklist")
    expect(page.get_by_text("No cases yet")).to_be_visible()
    _go(page, "Upload cases")
    expect(page.get_by_label("Case number")).to_have_value("S24-10")
    for place, name in enumerate(reversed(NAMES), start=1):
        expect(page.get_by_role("row", name=f"{place} {name}")).to_be_visible()
    page.get_by_role("button", name="Store images").click()
    expect(page.get_by_text(re.compile("of 3 images ready"))).to_be_visible()
    expect(page.get_by_role("row", name="1 slide 1.png")).to_be_hidden()
    settled(page)
    picture(page, "upload, stored")
    page.get_by_role("radiogroup", name="Create").get_by_text("Add to a case").click()
    expect(page.get_by_text("Images of S24-10 in their order")).to_be_visible()
    page.get_by_text("Images of S24-10 in their order").click()
    expect(page.get_by_role("button", name="Move")).to_be_visible()
    settled(page)
    picture(page, "upload, own case")


@pytest.mark.worker
def test_a_locked_database_keeps_what_was_typed_and_the_next_try_saves_it(
    page: Page, server: Server, tmp_path: Path
) -> None:
    open_app(page, server, "upload_cases?demo=1")
    expect(page.get_by_text("Your first opinion")).to_be_visible()
    settled(page)
    page.get_by_placeholder("note (optional)").last.fill("seen before the lock")
    page.locator(".openseadragon-canvas").first.focus()
    for key, words in (("m", "malignant"), ("4", "4")):
        settled(page)
        page.keyboard.press(key)
        chosen(page, words)
    with closing(sqlite3.connect(tmp_path / "second_read.sqlite", isolation_level=None, timeout=60)) as other:
        other.execute("BEGIN EXCLUSIVE")
        page.keyboard.press("Enter")
        expect(page.get_by_text("The database is busy. What you have entered is kept.")).to_be_visible(timeout=_BUSY_MS)
        settled(page)
        picture(page, "database busy")
        other.execute("ROLLBACK")
    page.get_by_role("button", name="Try again").click()
    expect(page.get_by_text("The database is busy")).to_be_hidden()
    expect(page.locator("[class*='-note'] textarea")).to_have_value("seen before the lock")
    chosen(page, "malignant")
    chosen(page, "4")
    settled(page)
    page.get_by_role("button", name="Save and reveal").click()
    meet_model(page)
    expect(page.get_by_text("Final opinion")).to_be_visible()
    with closing(sqlite3.connect(tmp_path / "second_read.sqlite")) as saved:
        assert saved.execute("SELECT label, confidence, note FROM reads").fetchall() == [
            ("malignant", 4, "seen before the lock")
        ]
