"""Two windows, two clicks, two readers: exactly one read each, or a refusal that keeps what was typed."""

import random
from collections.abc import Iterator
from pathlib import Path
from threading import Barrier

import pytest

from db import store
from db.database import Sessions, open_database
from db.errors import CaseChangedError
from db.values.reading import Opinion, Read
from tests.helpers.browser_tab import ClickingTab, clicking_tab
from tests.helpers.concurrency import at_once
from tests.helpers.rows import OPENED
from tests.helpers.server import Server, running_server
from tests.helpers.stress import DATABASES, amount
from tests.helpers.world import Reader, analyse_all, let_all_meet_the_model, make_case, make_reader

DOUBLED, RACES, STALE = amount(500, 40), amount(500, 40), amount(100, 2)


def _cases(sessions: Sessions, account_id: int, cases: int) -> list[int]:
    with sessions.begin() as session:
        made = [make_case(session, account_id) for _ in range(cases)]
    analyse_all(sessions)
    let_all_meet_the_model(sessions)
    return made


def _first(sessions: Sessions, case_id: int, account_id: int, opinion: Opinion) -> Read:
    with sessions.begin() as session:
        return store.reads.record_first_read(session, case_id, account_id, opinion, OPENED)


def _final(sessions: Sessions, case_id: int, account_id: int, opinion: Opinion) -> Read:
    with sessions.begin() as session:
        return store.reads.record_final_read(session, case_id, account_id, opinion, OPENED)


def test_every_form_that_is_sent_twice_at_once_is_one_read(sessions: Sessions) -> None:
    with sessions.begin() as session:
        reader = make_reader(session)
    cases, together = _cases(sessions, reader, DOUBLED // 2), Barrier(2)
    said: list[list[Read]] = [[], []]

    def send(window: int) -> None:
        for case_id in cases:
            together.wait()
            said[window].append(_first(sessions, case_id, reader, Opinion("malignant", 2, note="once")))
            together.wait()
            said[window].append(_final(sessions, case_id, reader, Opinion("malignant", 4, note="once")))

    assert at_once(2, send) == [None] * 2
    with sessions.read() as session:
        stored = store.reads.own_reads(session, reader)
    assert said[0] == said[1]
    assert sorted(read.id for read in said[0]) == [read.id for read in stored]
    assert len(stored) == 2 * (DOUBLED // 2)
    print(f"\n{len(stored)} forms sent twice on {sessions.dialect}: {len(stored)} reads")


def test_two_readers_who_save_the_same_case_at_once_both_keep_their_read(sessions: Sessions) -> None:
    with sessions.begin() as session:
        readers = [make_reader(session, name) for name in ("dr. a", "dr. b")]
    cases, together = _cases(sessions, readers[0], RACES), Barrier(2)
    said: list[list[Read]] = [[], []]
    chance = random.Random(8)  # noqa: S311 (no secret)
    opinions = [[Opinion(chance.choice(("benign", "malignant")), chance.randint(1, 5)) for _ in cases] for _ in "ab"]

    def race(number: int) -> None:
        for case_id, opinion in zip(cases, opinions[number], strict=True):
            together.wait()
            said[number].append(_first(sessions, case_id, readers[number], opinion))

    assert at_once(2, race) == [None] * 2
    for number, reader in enumerate(readers):
        with sessions.read() as session:
            stored = store.reads.own_reads(session, reader)
        assert stored == said[number]
        assert [read.opinion for read in stored] == opinions[number]
    print(f"\n{RACES} races of two readers on {sessions.dialect}: {2 * RACES} reads kept")


def test_a_form_that_another_window_has_overtaken_is_refused(sessions: Sessions) -> None:
    with sessions.begin() as session:
        reader = make_reader(session)
    refused = 0
    for case_id in _cases(sessions, reader, STALE):
        saved = [_first(sessions, case_id, reader, Opinion("benign", 2))]
        with pytest.raises(CaseChangedError, match="your first opinion on this case was already saved"):
            _first(sessions, case_id, reader, Opinion("benign", 2, note="typed in another window"))
        saved.append(_final(sessions, case_id, reader, Opinion("malignant", 4)))
        with pytest.raises(CaseChangedError, match="your final opinion on this case was already saved"):
            _final(sessions, case_id, reader, Opinion("malignant", 5))
        saved.append(_amend(sessions, Reader(reader, case_id), "first amendment", saved[-1].id))
        with pytest.raises(CaseChangedError, match="your final opinion on this case was already saved"):
            _amend(sessions, Reader(reader, case_id), "second amendment of the same read", saved[1].id)
        refused += 3
        with sessions.read() as session:
            assert store.reads.own_reads(session, reader, case_id=case_id) == saved
    assert refused == 3 * STALE


def _amend(sessions: Sessions, of: Reader, note: str, replaces: int) -> Read:
    opinion = Opinion("malignant", 3, note=note)
    with sessions.begin() as session:
        return store.reads.amend_read(session, of.case_id, of.account_id, opinion, OPENED, replaces=replaces)


@pytest.fixture
def served(database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Server, Sessions]]:
    """A server in single-reader mode, and its database."""
    monkeypatch.setenv("SECOND_READ_DATABASE", database_url)
    sessions = open_database(database_url, data=tmp_path)
    with running_server(tmp_path, "127.0.0.1") as server:
        yield server, sessions
    sessions.dispose()


@pytest.mark.slow
@pytest.mark.parametrize("database_url", DATABASES, indirect=True)
def test_pages_refuse_stale_forms_and_keep_what_was_typed(served: tuple[Server, Sessions]) -> None:
    server, sessions = served
    with sessions.begin() as session:
        reader = store.accounts.single_reader(session).id
    with clicking_tab(server.port) as here, clicking_tab(server.port) as there:
        for place, case_id in enumerate(_cases(sessions, reader, STALE)):
            _overtake_first(here, there, case_id)
            if place % 2:
                _overtake_final(here, there, case_id)
            with sessions.read() as session:
                notes = [read.opinion.note for read in store.reads.own_reads(session, reader, case_id=case_id)]
            assert notes == ["of the other window", ""][: 1 + place % 2]
    print(f"\n{STALE + STALE // 2} stale forms on {sessions.dialect}: as many refusals, the text kept")


def _overtake_first(here: ClickingTab, there: ClickingTab, case_id: int) -> None:
    for tab in (here, there):
        tab.open("read_case", f"case={case_id}")
    here.type("Note", "typed here, first")
    here.press("○", "2")
    there.type("Note", "of the other window")
    there.press("▲", "4", "Save and reveal")
    here.press("Save and reveal")
    assert "Not saved: your first opinion on this case was already saved (malignant, " in here.words
    here.draw_anew()
    assert "Model says" in here.words
    assert "Entered here but not saved: ○ benign (2/5) typed here, first" in here.words


def _overtake_final(here: ClickingTab, there: ClickingTab, case_id: int) -> None:
    here.type("Note", "typed here, final")
    here.press("Keep mine", "5")
    there.press("Keep mine", "Save and open next case")
    here.press("Save and open next case")
    assert "Not saved: " in here.words
    here.draw_anew()
    assert "Entered here but not saved: keep mine (5/5) typed here, final" in here.words
