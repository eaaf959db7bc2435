"""An administrator gives cases to a reader in a real browser, and the reader's worklist follows."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from db import store
from db.database import Sessions, open_database
from db.files import Files
from db.values.accounts import Role
from service.intake import CasePlan, add_images
from tests.browser.conftest import Server
from tests.helpers.browser_steps import at_rest, picture, within_reach_on_a_telephone
from tests.helpers.images.tissue import tissue_png
from tests.helpers.worklists import whole_worklist
from tests.helpers.world import PASSWORD

pytestmark = [pytest.mark.browser, pytest.mark.slow]

_PATIENCE_MS = 60_000
_ROW, _HEAD, _BOX = 35, 36, 16  # px: a row of the table, its head, the middle of the box to tick


@pytest.fixture
def sessions(server: Server, tmp_path: Path) -> Iterator[Sessions]:
    """The database of the server, with two readers, an administrator and three cases."""
    opened = open_database(f"sqlite:///{tmp_path / 'second_read.sqlite'}")
    with opened.begin() as session:
        reader = store.accounts.add_signing_account(session, None, "dr. a", Role.READER, PASSWORD)
        store.accounts.add_signing_account(session, None, "dr. b", Role.READER, PASSWORD)
        store.accounts.add_signing_account(session, None, "office", Role.ADMINISTRATOR, PASSWORD)
    for seed in (1, 2, 3):
        list(add_images(opened, Files(tmp_path / "files"), CasePlan(reader.id, "100X"), [("a.png", tissue_png(seed))]))
    expect.set_options(timeout=_PATIENCE_MS)
    yield opened
    opened.dispose()


def _sign_in(page: Page, server: Server, name: str, path: str) -> None:
    page.set_default_timeout(_PATIENCE_MS)
    page.goto(f"{server.url}/{path}")
    page.get_by_label("Name").fill(name)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_test_id("stDataFrame")).to_be_visible()


def _tick(page: Page, *rows: int) -> None:
    for row in rows:
        at_rest(page)
        page.get_by_test_id("stDataFrame").click(position={"x": _BOX, "y": _HEAD + _ROW * row + _ROW / 2})


def test_cases_are_assigned_taken_back_and_made_urgent(page: Page, server: Server, sessions: Sessions) -> None:
    _sign_in(page, server, "office", "planning")
    expect(page.get_by_role("button", name="Assign", exact=True)).to_be_disabled()
    _tick(page, 1, 2)
    expect(page.get_by_text("2 cases selected")).to_be_visible()
    page.get_by_label("Reader").click()
    page.get_by_role("option", name="dr. b").click()
    page.get_by_role("button", name="Assign", exact=True).click()
    expect(page.get_by_text("2 cases assigned to dr. b.")).to_be_visible()
    expect(page.get_by_text("dr. a 0, dr. b 2")).to_be_visible()
    picture(page, "planning, assigned")
    within_reach_on_a_telephone(page, "planning")
    page.get_by_role("button", name="Urgent").click()
    expect(page.get_by_text("2 cases set to urgent.")).to_be_visible()
    _tick(page, 2)  # no more
    expect(page.get_by_text("1 case selected")).to_be_visible()
    page.get_by_role("button", name="Unassign").click()
    expect(page.get_by_text("1 case unassigned from dr. b.")).to_be_visible()
    page.emulate_media(color_scheme="dark")
    page.set_viewport_size({"width": 900, "height": 800})
    picture(page, "planning, 900 px, dark")
    with sessions.read() as session:
        reader = store.accounts.account_named(session, "dr. b")
        assert reader is not None
        rows = whole_worklist(session, reader.id)
    assert {row.accession: (row.urgent, row.assigned_to_me) for row in rows} == {
        "C-0001": (False, False),
        "C-0002": (True, False),
        "C-0003": (True, True),
    }
