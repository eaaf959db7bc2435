"""What a reader typed and marked outlives a killed server, a sign-out in another tab and a reload, for them alone."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from db import store
from db.database import Sessions, open_database
from db.values.accounts import Role
from db.values.reading import Opinion, Read, Stage
from tests.browser.conftest import Server
from tests.helpers.browser_steps import chosen, meet_model, picture, settled
from tests.helpers.world import PASSWORD

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.worker]

_PATIENCE_MS = 60_000
NOTE = "spindle cells, see the m"  # its letters are keys elsewhere


@pytest.fixture
def sessions(server: Server, tmp_path: Path) -> Iterator[Sessions]:
    """The database of the server, with two readers."""
    opened = open_database(f"sqlite:///{tmp_path / 'second_read.sqlite'}")
    with opened.begin() as session:
        for name in ("dr. a", "dr. b"):
            store.accounts.add_signing_account(session, None, name, Role.READER, PASSWORD)
    expect.set_options(timeout=_PATIENCE_MS)
    yield opened
    opened.dispose()


def _sign_in(page: Page, name: str) -> None:
    page.get_by_label("Name").fill(name)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_text(f"signed in as {name}")).to_be_visible()


def _type_all(page: Page) -> None:
    expect(page.get_by_text("Your first opinion")).to_be_visible()
    expect(page.locator(".sr-zoom")).to_have_text(re.compile(r"\d+%"))
    settled(page)
    for key, words in (("m", "malignant"), ("4", "4")):
        page.keyboard.press(key)
        chosen(page, words)
    page.keyboard.press("p")
    page.keyboard.press("Space")
    expect(page.get_by_role("button", name="Show mark 1")).to_be_visible()
    page.get_by_placeholder("note (optional)").last.fill(NOTE)


def _expect_all(page: Page) -> None:
    expect(page.locator("[class*='-note'] textarea")).to_have_value(NOTE)
    chosen(page, "malignant")
    chosen(page, "4")
    expect(page.get_by_role("button", name="Show mark 1")).to_be_visible()


def _reads(sessions: Sessions, name: str) -> list[Read]:
    with sessions.read() as session:
        account = store.accounts.account_named(session, name)
        assert account is not None
        return store.reads.own_reads(session, account.id)


def test_nothing_typed_or_marked_is_lost_or_found_by_others(page: Page, server: Server, sessions: Sessions) -> None:
    page.set_default_timeout(_PATIENCE_MS)
    page.goto(f"{server.url}/upload_cases?demo=1")
    _sign_in(page, "dr. a")
    _type_all(page)
    _lose_the_server(page, server)
    _expect_all(page)
    _sign_out_in_another_tab(page, server)
    page.reload()
    _sign_in(page, "dr. a")
    _expect_all(page)
    picture(page, "signed in again")
    page.keyboard.press("Enter")
    expect(page.get_by_text(re.compile("C-0001 saved"))).to_be_visible()
    (read,) = _reads(sessions, "dr. a")
    assert (read.opinion.label, read.opinion.confidence, read.opinion.note) == ("malignant", 4, NOTE)
    assert [region.points for region in read.opinion.regions] == [((350.0, 230.0),)]
    assert read.edit_seconds is not None
    assert 0 < read.edit_seconds < 300
    assert NOTE not in _kept_in_the_tab(page)
    case = page.url
    _finish_and_take_back(page)
    first, final, withdrawn = _reads(sessions, "dr. a")
    assert (final.stage, withdrawn.stage, withdrawn.supersedes) == (Stage.FINAL, Stage.WITHDRAWN, final.id)
    assert final.opinion == Opinion(None, None, note="too thick", regions=first.opinion.regions)
    assert "too thick" in _kept_in_the_tab(page)

    page.goto(f"{server.url}/sign-out")
    page.get_by_role("button", name="Sign out").click()
    page.goto(case)
    _sign_in(page, "dr. b")
    expect(page.get_by_text("Your first opinion")).to_be_visible()
    expect(page.get_by_text("No marks yet")).to_be_visible()
    settled(page)
    expect(page.locator("[class*='-note'] textarea")).to_have_value("")
    assert not {"too thick", "point"} & set(re.findall("too thick|point", _kept_in_the_tab(page)))


def _lose_the_server(page: Page, server: Server) -> None:
    server.kill()
    expect(page.get_by_text("No connection to the server. Your entries are kept")).to_be_visible()
    picture(page, "server gone", connected=False)
    server.start()
    expect(page.get_by_text("No connection to the server")).to_be_hidden()


def _sign_out_in_another_tab(page: Page, server: Server) -> None:
    other = page.context.new_page()
    other.goto(f"{server.url}/sign-out")
    other.get_by_role("button", name="Sign out").click()
    expect(page.get_by_text("You are signed out. Reload the page")).to_be_visible()
    picture(page, "signed out elsewhere, in the middle of a read", connected=False)


def _finish_and_take_back(page: Page) -> None:
    meet_model(page)
    expect(page.get_by_text("Final opinion")).to_be_visible()
    settled(page)
    page.keyboard.press("x")  # needs no reason, whatever the model says
    chosen(page, "cannot assess")
    page.get_by_placeholder("note (optional)").last.fill("too thick")
    page.keyboard.press("Control+Enter")
    expect(page.get_by_text("The case will be saved without a label")).to_be_visible()
    page.locator(".openseadragon-canvas").first.focus()
    settled(page)
    page.keyboard.press("s")
    expect(page.get_by_text("Undo (60 s)")).to_be_visible()
    picture(page, "undo")
    settled(page)
    page.keyboard.press("w")
    expect(page.get_by_text("C-0001 final opinion withdrawn")).to_be_visible()
    chosen(page, "cannot assess")
    expect(page.locator("[class*='-note'] textarea")).to_have_value("too thick")
    expect(page.get_by_role("button", name="Show mark 1")).to_be_visible()
    picture(page, "taken back")


def _kept_in_the_tab(page: Page) -> str:
    kept: str = page.evaluate("() => JSON.stringify(sessionStorage)")
    return kept
