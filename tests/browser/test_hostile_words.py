"""Words that would act in a page are shown as they were typed: nothing runs, nothing is loaded from elsewhere."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, Request, expect

from core.identifiers import fold_identifier
from db import store
from db.values.reading import Opinion
from tests.browser.conftest import Server, serve
from tests.helpers.browser_steps import open_app, picture
from tests.helpers.databases import open_new
from tests.helpers.rows import OPENED, stored_image
from tests.helpers.stress import FULL, amount
from tests.helpers.world import analyse_all, let_all_meet_the_model, make_case
from tests.hostile.words import SCRIPTS

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.skipif(not FULL, reason="a minute and more: every day the words are tried without a browser"),
]

_AT_ONCE = 20  # strings in one note
_CASES = amount(len(SCRIPTS) // _AT_ONCE, 2)
_ACTED = '() => window.hacked || document.querySelectorAll(\'img[src="x"], [href*="evil"], iframe, object\').length'


@pytest.fixture
def written_in(tmp_path: Path, checkpoint: Path) -> Iterator[Server]:
    """A server whose cases have hostile numbers and magnifications, and hostile notes in what was read of them."""
    sessions = open_new(tmp_path / "second_read.sqlite")
    with sessions.begin() as session:
        reader = store.accounts.single_reader(session).id
        read = [make_case(session, reader, magnification=SCRIPTS[place][:32]) for place in range(_CASES)]
        known: set[str] = set()  # a case number is the same whatever its case
        for words in SCRIPTS:
            folded = fold_identifier(words)
            if words.isprintable() and len(words) <= 64 and folded not in known:
                known.add(folded)
                number = store.cases.add_case(session, reader, accession=words, magnification=words[:32])
                store.cases.add_image(session, number, stored_image(words))
    analyse_all(sessions)
    let_all_meet_the_model(sessions)
    for place, case_id in enumerate(read):
        note = "\n\n".join(SCRIPTS[place * _AT_ONCE : (place + 1) * _AT_ONCE])
        with sessions.begin() as session:
            store.reads.record_first_read(session, case_id, reader, Opinion("malignant", 4, note=note), OPENED)
            store.reads.record_final_read(session, case_id, reader, Opinion("malignant", 4, note=note), OPENED)
    sessions.dispose()
    with serve(tmp_path, checkpoint) as running:
        yield running


def test_hostile_words_are_shown_and_do_nothing(page: Page, written_in: Server) -> None:
    asked: list[str] = []

    def note(request: Request) -> None:
        asked.append(request.url)

    page.on("request", note)
    page.on("dialog", lambda dialog: pytest.fail(f"a dialog opened: {dialog.message}"))
    open_app(page, written_in)
    for case_id in (_CASES + 1, _CASES + 2):
        page.goto(f"{written_in.url}/read_case?case={case_id}")
        expect(page.get_by_text(SCRIPTS[case_id - _CASES - 1]).first).to_be_visible()
        assert not page.evaluate(_ACTED)
    for case_id in range(1, _CASES + 1):
        page.goto(f"{written_in.url}/read_case?case={case_id}")
        page.get_by_text("2 reads of").click()
        expect(page.get_by_text(_as_shown(SCRIPTS[(case_id - 1) * _AT_ONCE])).first).to_be_visible()
        assert not page.evaluate(_ACTED)
    picture(page, "hostile words")
    assert [url for url in asked if not url.startswith((written_in.url, "data:", "blob:"))] == []


def _as_shown(words: str) -> re.Pattern[str]:
    """Match the beginning of words in which an invisible word joiner may keep an address from becoming a link."""
    return re.compile("\u2060?".join(re.escape(letter) for letter in words.strip()[:30]))
