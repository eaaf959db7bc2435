"""The page Audit trail in a real browser: it says what somebody did behind the program's back, and gives out files."""

import csv
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from db import store
from db.audit.trail import record_event
from db.database import open_database
from tests.browser.conftest import Server, serve
from tests.helpers.browser_steps import Scheme, open_app, picture, settled
from tests.helpers.tampering import fill_database, without_triggers

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.fixture(scope="module")
def tampered(tmp_path_factory: pytest.TempPathFactory, checkpoint: Path) -> Iterator[Server]:
    """A server on whose database a read was edited and another deleted, behind 150 further events."""
    data = tmp_path_factory.mktemp("tampered")
    url = f"sqlite:///{data / 'second_read.sqlite'}"
    fill_database(url, data).dispose()
    with without_triggers(url) as connection:
        connection.exec_driver_sql("UPDATE reads SET label = 'benign' WHERE id = 4")
        connection.exec_driver_sql("DELETE FROM reads WHERE id = 9")
    sessions = open_database(url, data=data)
    with sessions.begin() as session:
        reader = store.accounts.single_reader(session).id
        for number in range(150):
            record_event(session, reader, "tried", f"=T-{number:03}")
    sessions.dispose()
    with serve(data, checkpoint) as running:
        yield running


def test_tampered_rows_are_named_and_the_events_are_taken_away(page: Page, tampered: Server) -> None:
    open_app(page, tampered, "audit")
    page.get_by_text("1 to 100 of").wait_for()
    settled(page)
    page.keyboard.press("v")
    expect(page.get_by_text("the 30 rows they cover, and 8 stored files.")).to_be_visible()
    # Two rows, and the files of four images and four maps: `fill_database` stores no files.
    expect(page.get_by_text("10 findings: these records differ from what this program wrote.")).to_be_visible()
    findings = page.get_by_test_id("stDataFrame").first
    expect(findings).to_contain_text("reads 4")
    expect(findings).to_contain_text("reads 9")
    picture(page, "audit findings")
    page.get_by_role("button", name="Older").click()
    expect(page.get_by_text("101 to")).to_be_visible()
    page.get_by_label("Case or subject").fill("T-14")
    page.keyboard.press("Enter")
    expect(page.get_by_text("1 to 10 of 10 events")).to_be_visible()
    for expected in (10, 10):  # the second time too, without loading the page anew
        with page.expect_download() as given:
            page.get_by_role("button", name="These events as CSV").click()
        with Path(given.value.path()).open(encoding="utf-8-sig", newline="") as file:
            lines = list(csv.reader(file))
        assert len(lines) == 1 + expected
        assert lines[1][4] == "'=T-149"
    page.get_by_label("Case or subject").fill("audit trail, 10 events")
    page.keyboard.press("Enter")
    expect(page.get_by_text("1 to 2 of 2 events")).to_be_visible()


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (900, "dark")])
def test_what_the_page_is_for_needs_no_scrolling(
    browser: Browser, tampered: Server, width: int, scheme: Scheme
) -> None:
    page = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme).new_page()
    open_app(page, tampered, "audit")
    for words in ("Verify", "These events as CSV", "Older"):
        expect(page.get_by_role("button", name=words)).to_be_in_viewport(ratio=1)
    expect(page.get_by_label("Case or subject")).to_be_in_viewport(ratio=1)
    picture(page, f"audit {scheme} {width}")
