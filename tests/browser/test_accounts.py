"""Signing in and out in a real browser: without scripts, in two tabs, and what an administrator does."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from db import store
from db.database import Sessions, open_database
from db.values.accounts import Role
from tests.browser.conftest import Server, serve
from tests.helpers.browser_steps import Scheme, choose, picture, within_reach_on_a_telephone
from tests.helpers.images.tissue import tissue_png
from tests.helpers.world import PASSWORD

pytestmark = [pytest.mark.browser, pytest.mark.slow]

_PATIENCE_MS = 60_000


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data folder of all tests here: each of them signs in by itself."""
    return tmp_path_factory.mktemp("accounts")


@pytest.fixture(scope="module")
def server(data: Path, checkpoint: Path) -> Iterator[Server]:
    """One server for all tests here."""
    with serve(data, checkpoint) as running:
        yield running


@pytest.fixture(scope="module")
def sessions(server: Server, data: Path) -> Iterator[Sessions]:
    """The database of the server, with an account of each role."""
    opened = open_database(f"sqlite:///{data / 'second_read.sqlite'}")
    with opened.begin() as session:
        for role in Role:
            store.accounts.add_signing_account(session, None, f"the {role}", role, PASSWORD)
    expect.set_options(timeout=_PATIENCE_MS)
    yield opened
    opened.dispose()


def _sign_in(page: Page, server: Server, name: str, path: str = "") -> None:
    page.set_default_timeout(_PATIENCE_MS)
    page.goto(f"{server.url}/{path}")
    page.get_by_label("Name").fill(name)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_text(f"signed in as {name}")).to_be_visible()


def test_a_reader_signs_in_works_in_two_tabs_and_signs_out_of_both(
    page: Page, server: Server, sessions: Sessions, tmp_path: Path
) -> None:
    page.goto(f"{server.url}/upload_cases")
    page.get_by_label("Name").fill("the reader")
    page.get_by_label("Password").fill("not this one, sorry")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_contain_text("Wrong name or password")
    picture(page, "sign-in, wrong password")
    _sign_in(page, server, "the reader", "upload_cases")
    assert page.url == f"{server.url}/upload_cases"
    image = tmp_path / "a.png"
    image.write_bytes(tissue_png(1))
    choose(page, image)
    picture(page, "signed in, upload")
    other = page.context.new_page()
    other.set_default_timeout(_PATIENCE_MS)
    other.goto(server.url)
    expect(other.get_by_text("signed in as the reader")).to_be_visible()
    other.get_by_role("link", name="Sign out").click()
    other.get_by_role("button", name="Sign out").click()
    expect(other.get_by_label("Password")).to_be_visible()
    page.get_by_role("button", name="Store images").click(force=True)
    expect(page.get_by_text("You are signed out. Reload the page")).to_be_visible()
    expect(page.get_by_text("detail")).to_be_hidden()  # words, not JSON
    picture(page, "signed out in another tab", connected=False)
    with sessions.read() as session:
        reader = store.accounts.account_named(session, "the reader")
        assert reader is not None
        assert sum(store.worklist.state_counts(session, reader.id).values()) == 0
    page.reload()
    expect(page.get_by_label("Password")).to_be_visible()


def test_who_signs_in_again_goes_on_with_what_was_typed_and_nobody_else_does(
    page: Page, server: Server, sessions: Sessions
) -> None:
    _sign_in(page, server, "the reader", "upload_cases")
    page.get_by_label("Case number").fill("typed by the reader")
    page.keyboard.press("Tab")
    other = page.context.new_page()
    for name in ("the reader", "the adjudicator"):
        other.set_default_timeout(_PATIENCE_MS)
        other.goto(f"{server.url}/sign-out")
        other.get_by_role("button", name="Sign out").click()
        expect(page.get_by_text("You are signed out. Reload the page")).to_be_visible()
        _sign_in(other, server, name)
        if name == "the reader":
            expect(page.get_by_text("Connection error")).to_be_hidden()
            page.get_by_role("button", name="Store images").click()
            expect(page.get_by_text("Choose images first")).to_be_visible()
            assert page.get_by_label("Case number").input_value() == "typed by the reader"
    for _ in range(2):  # the page goes on trying to connect: it tries again when it was refused
        with page.expect_websocket():
            pass
    picture(page, "signed in as somebody else in another tab", connected=False)
    expect(page.get_by_text("signed in as the adjudicator")).to_be_hidden()
    page.reload()
    expect(page.get_by_text("signed in as the adjudicator")).to_be_visible()
    expect(page.get_by_label("Case number")).to_have_value("")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_signing_in_needs_no_script(browser: Browser, server: Server, sessions: Sessions, scheme: Scheme) -> None:
    context = browser.new_context(java_script_enabled=False, color_scheme=scheme)
    page = context.new_page()
    page.goto(f"{server.url}/read_case?case=1")
    page.screenshot(path=Path(__file__).parent / "screenshots" / f"sign-in, {scheme}.png")
    page.get_by_label("Name").fill("the reader")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    assert page.url == f"{server.url}/read_case?case=1"
    assert context.cookies()[0]["httpOnly"]
    context.close()


def test_an_administrator_adds_an_account(page: Page, server: Server, sessions: Sessions) -> None:
    _sign_in(page, server, "the administrator", "accounts")
    page.get_by_label("Name", exact=True).fill("dr. new")
    page.get_by_label("Password (at least 12 characters)").fill("short")
    page.get_by_role("button", name="Add account").click()
    expect(page.get_by_text("12 to 256 characters")).to_be_visible()
    page.get_by_label("Password (at least 12 characters)").fill(PASSWORD)
    page.get_by_role("button", name="Add account").click()
    expect(page.get_by_text("dr. new may sign in as reader")).to_be_visible()
    expect(page.get_by_label("Password (at least 12 characters)")).to_have_value("")
    picture(page, "accounts")
    within_reach_on_a_telephone(page, "accounts")
    with sessions.read() as session:
        assert store.accounts.account_with_password(session, "dr. new", PASSWORD) is not None
