"""Two readers and an adjudicator go through a case on which they differ, to consensus, sign-off and amendment."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from db import store
from db.database import Sessions
from db.values.accounts import Role
from tests.browser.conftest import SCREENSHOTS, Server
from tests.helpers.browser_steps import at_rest, settled, within_reach_on_a_telephone
from tests.helpers.databases import open_new
from tests.helpers.world import PASSWORD, World, let_all_meet_the_model

pytestmark = [pytest.mark.browser, pytest.mark.slow]

_PATIENCE_MS = 30_000
_TRIES = 10
_NAMES = {"dr. ann": Role.READER, "dr. bob": Role.READER, "prof. c": Role.ADJUDICATOR}


@dataclass(frozen=True)
class House:
    """A server with one case that the model calls malignant, and a tab for each who signs in."""

    server: Server
    sessions: Sessions
    sign_in: Callable[[str, str], Page]


@pytest.fixture
def house(tmp_path: Path, checkpoint: Path, browser: Browser) -> Iterator[House]:
    """Analyse the case before the server starts, so that nobody waits for the worker."""
    sessions = open_new(tmp_path / "second_read.sqlite", data=tmp_path)
    with sessions.begin() as session:
        ids = {
            name: store.accounts.add_signing_account(session, None, name, role, PASSWORD).id
            for name, role in _NAMES.items()
        }
    world = World(sessions, (ids["dr. ann"],), folder=tmp_path)
    world.add_case(1)
    world.analyse(0.8125)
    let_all_meet_the_model(sessions)
    SCREENSHOTS.mkdir(exist_ok=True)
    server = Server(tmp_path, checkpoint, workers=0)
    server.start()
    expect.set_options(timeout=_PATIENCE_MS)
    contexts = []

    def sign_in(name: str, path: str) -> Page:
        contexts.append(browser.new_context(viewport={"width": 1280, "height": 800}))
        page = contexts[-1].new_page()
        page.set_default_timeout(_PATIENCE_MS)
        page.goto(f"{server.url}/{path}")
        page.get_by_label("Name").fill(name)
        page.get_by_label("Password").fill(PASSWORD)
        page.keyboard.press("Enter")
        expect(page.get_by_text(f"signed in as {name}")).to_be_visible()
        return page

    yield House(server, sessions, sign_in)
    for context in contexts:
        context.close()
    server.stop()
    sessions.dispose()


def pictures(page: Page, name: str) -> None:
    """Take the page in light and in dark."""
    settled(page)
    for scheme in ("dark", "light"):
        page.emulate_media(color_scheme=scheme)
        at_rest(page)
        page.screenshot(path=SCREENSHOTS / f"adjudication {name}, {scheme}.png")


def press(page: Page, key: str, shown: str) -> None:
    """Press a key until its button is drawn as the chosen one: one that comes before its button goes nowhere."""
    button = page.get_by_test_id("stBaseButton-primary").filter(has_text=shown)
    for _ in range(_TRIES):
        settled(page)
        page.keyboard.press(key)
        at_rest(page)
        if button.count():
            break
    expect(button).to_be_visible()


def read_blind(page: Page, key: str, shown: str, then: str) -> None:
    """Give a first opinion by keyboard, and wait for what comes after it."""
    expect(page.get_by_text("Your first opinion")).to_be_visible()
    press(page, key, shown)
    press(page, "4", "4")
    settled(page)
    page.keyboard.press("Enter")
    expect(page.get_by_text(then).first).to_be_visible()


def test_a_discordant_case_comes_to_consensus_sign_off_and_amendment(house: House) -> None:
    ann = _one_reader_agrees_with_the_model(house)
    _another_does_not(house)
    _an_adjudicator_settles_it_and_signs(house)
    _the_first_reader_amends(house, ann)
    with house.sessions.begin() as session:
        events = list(store.audit.audit_trail(session, subject="C-0001"))[::-1]
    shown = [event.account for event in events if event.action == "opinions of others shown"]
    assert len(set(shown)) == len(shown)
    told = [
        ("prof. c", "opinions of others shown"),
        ("prof. c", "consensus saved"),
        ("prof. c", "signed off"),
        ("dr. ann", "sign-off amended"),
    ]
    # The readers are told of as well where they look within the time of Undo: that depends on the machine.
    actions = {action for _, action in told}
    done = [(event.account, event.action) for event in events if event.action in actions]
    assert [one for one in done if one[1] != "opinions of others shown" or one[0] == "prof. c"] == told


def _one_reader_agrees_with_the_model(house: House) -> Page:
    ann = house.sign_in("dr. ann", "read_case?case=1")
    read_blind(ann, "m", "malignant", "Model says")
    press(ann, "a", "Keep mine")
    settled(ann)
    ann.keyboard.press("Enter")
    expect(ann.get_by_role("button", name="Undo")).to_be_visible()
    return ann


def _another_does_not(house: House) -> None:
    bob = house.sign_in("dr. bob", "read_case?case=1")
    read_blind(bob, "b", "benign", "Model says")
    press(bob, "a", "Keep mine")
    bob.get_by_role("combobox", name="Why do you differ").fill("misses")
    bob.keyboard.press("Enter")
    settled(bob)
    bob.get_by_placeholder("note (optional)").fill("no atypia at all")
    bob.keyboard.press("Control+Enter")
    expect(bob.get_by_role("button", name="Undo")).to_be_visible()
    bob.goto(f"{house.server.url}/read_case?case=1")
    expect(bob.get_by_text("Waiting for adjudication")).to_be_visible()
    expect(bob.get_by_role("link", name="Adjudication")).to_have_count(0)
    pictures(bob, "1 a reader waits")


def _an_adjudicator_settles_it_and_signs(house: House) -> None:
    prof = house.sign_in("prof. c", "adjudicate")
    expect(prof.get_by_role("button", name="Adjudicate next")).to_be_visible()
    pictures(prof, "2 list")
    within_reach_on_a_telephone(prof, "adjudication 2 list")
    prof.keyboard.press("n")
    expect(prof.get_by_role("button", name="Save and show opinions")).to_be_in_viewport(ratio=1)
    assert not [word for word in ("atypia", "dr. bob", "Model says", "Reader A") if word in prof.content()]
    assert prof.request.get(f"{house.server.url}/images/1/heatmap").status == 403
    pictures(prof, "3 blind read")
    within_reach_on_a_telephone(prof, "adjudication 3 blind read")
    read_blind(prof, "m", "malignant", "Reader B")
    expect(prof.get_by_text("no atypia at all")).to_be_visible()
    assert "dr. bob" not in prof.content()
    pictures(prof, "4 the readers")
    expect(prof.get_by_role("button", name="Save consensus")).to_be_in_viewport(ratio=1)
    prof.set_viewport_size({"width": 900, "height": 800})
    pictures(prof, "4 the readers, 900")
    prof.set_viewport_size({"width": 1280, "height": 800})
    within_reach_on_a_telephone(prof, "adjudication 4 the readers")
    press(prof, "m", "malignant")
    press(prof, "5", "5")
    press(prof, "9", "major")
    settled(prof)
    prof.get_by_placeholder("note (optional)").fill("invasive at the left edge")
    pictures(prof, "5 consensus")
    prof.keyboard.press("Control+Enter")
    expect(prof.get_by_role("button", name="Sign off the case …")).to_be_in_viewport(ratio=1)
    pictures(prof, "6 settled")
    prof.keyboard.press("l")
    expect(prof.get_by_role("button", name="Yes, sign it off")).to_be_in_viewport(ratio=1)
    pictures(prof, "7 asked once more")
    within_reach_on_a_telephone(prof, "adjudication 7 asked once more")
    prof.keyboard.press("s")
    expect(prof.get_by_text("Signed off", exact=False).first).to_be_visible()
    expect(prof.get_by_text(re.compile(r"prof\. c, 20\d\d"))).to_have_count(2)  # settled it, and signed it
    pictures(prof, "8 signed out")


def _the_first_reader_amends(house: House, ann: Page) -> None:
    ann.goto(f"{house.server.url}/read_case?case=1")
    expect(ann.get_by_text("Amend the sign-off")).to_be_visible()
    expect(ann.get_by_text("Amend final opinion")).to_have_count(0)
    settled(ann)
    ann.keyboard.press("l")
    expect(ann.get_by_role("button", name="Save amendment")).to_be_in_viewport(ratio=1)
    press(ann, "b", "benign")
    ann.get_by_placeholder("Reason for the amendment").fill("immunohistochemistry came back")
    pictures(ann, "9 amending")
    within_reach_on_a_telephone(ann, "adjudication 9 amending")
    expect(ann.get_by_role("button", name="Save amendment")).to_be_in_viewport(ratio=1)
    ann.keyboard.press("Control+Enter")
    expect(ann.get_by_text("Amended, version 2")).to_be_visible()
    ann.get_by_text("2 versions").click()
    expect(ann.get_by_text("Version 1")).to_be_visible()
    pictures(ann, "10 amended")
