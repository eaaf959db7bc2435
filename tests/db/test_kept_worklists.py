"""What the worklists show is kept with every write, and is at any time what follows from the rows."""

import random
from pathlib import Path

import pytest
from sqlalchemy import select, text
from sqlalchemy.orm import aliased
from typer.testing import CliRunner

from core.natural_order import make_natural_key
from db import store, tables
from db.__main__ import app
from db.database import Sessions, open_database
from db.projection.check import find_differences
from db.queries import case_state, listed_cases
from db.queries.compared_cases import select_cases
from db.queries.counted_readings import is_first_of_reading
from db.queries.reader_knowledge import cases_with_undo, finished_cases, undo_window
from db.store import worklist as store_worklist
from db.values.accessions import search_range, search_terms, sort_key
from db.values.accounts import Role
from db.values.piles import STATE_NUMBERS, Pile, Share
from db.values.reading import CaseState
from db.values.worklist import CaseFilter, CaseOrder
from tests.helpers.chance import OFTEN, REFUSED, SELDOM, Chance
from tests.helpers.rows import (
    OPENED,
    SAYS_BENIGN,
    SAYS_MALIGNANT,
)
from tests.helpers.worklists import whole_worklist
from tests.helpers.world import add_person, make_case, make_world

_ACTS = 100
_ACCESSIONS = ("S24-2", "S24-10", "s24-10", "Ä-1", "a1", "A-1", "B_1", "H26-100%", "007", "7", "7b", "Ж-1", "²", "S24")


def listed_to_adjudicate(sessions: Sessions) -> set[int]:
    """Return the cases that wait for an adjudicator, as their list finds them by the piles of readers."""
    with sessions.read() as session:
        return set(session.scalars(case_state.cases_to_adjudicate()))


def waiting_one_by_one(sessions: Sessions) -> set[int]:
    with sessions.read() as session:
        cases = session.scalars(select(tables.Case.id)).all()
        return {case_id for case_id in cases if case_state.waits_for_adjudication(session, case_id)}


def known_and_by_the_rule(sessions: Sessions, account_id: int) -> tuple[set[int], set[int]]:
    """Return the cases whose readings are counted for a reader, and those that are to be."""
    read = aliased(tables.Read)
    with sessions.read() as session:
        without = frozenset(cases_with_undo(session, account_id))
        counted = set(session.scalars(select_cases(session, account_id, without)))
        finished = finished_cases(account_id, undo_window(session))
        ruled = select(read.case_id).where(read.case_id.in_(finished), is_first_of_reading(read))
        return counted, set(session.scalars(ruled))


def differences(sessions: Sessions) -> list[str]:
    with sessions.read() as session:
        return list(find_differences(session))


def test_whatever_people_do_in_whatever_order_the_worklists_are_what_follows_from_the_rows(
    sessions: Sessions,
) -> None:
    world = make_world(sessions, cases=6, readers=3, can_sign_in=True)
    with sessions.begin() as session:
        planner = add_person(session, "the planner", Role.ADMINISTRATOR)
    dice = random.Random(2)  # noqa: S311 (a test, no secret)
    chance, done = Chance(world, planner, dice), set()
    counted_once: set[int] = set()
    for _ in range(_ACTS):
        act = dice.choice(OFTEN + SELDOM)
        try:
            with sessions.begin() as session:
                act(session, chance)
        except REFUSED:
            continue
        done.add(act.__name__)
        assert differences(sessions) == [], act.__name__
        assert listed_to_adjudicate(sessions) == waiting_one_by_one(sessions), act.__name__
        counted, ruled = known_and_by_the_rule(sessions, dice.choice(world.readers))
        assert counted == ruled, act.__name__
        counted_once |= counted
    assert counted_once
    assert len(done) >= len({*OFTEN, *SELDOM}) - 4, "most of the acts are allowed at some time"


def test_a_list_says_what_was_written_earlier_in_the_same_transaction(sessions: Sessions) -> None:
    world = make_world(sessions, cases=2)
    with sessions.begin() as session:
        store.reads.record_first_read(session, world.cases[0], world.reader, SAYS_MALIGNANT, OPENED)
        assert store.worklist.state_counts(session, world.reader)[CaseState.REVEALED] == 1
        assert store.worklist.find_next_case(session, world.reader) == world.cases[1]


def test_what_is_rolled_back_leaves_no_trace_on_a_worklist(sessions: Sessions) -> None:
    world = make_world(sessions)

    def read_and_fail() -> None:
        with sessions.begin() as session:
            store.reads.record_first_read(session, world.case_id, world.reader, SAYS_MALIGNANT, OPENED)
            assert store.worklist.state_counts(session, world.reader)[CaseState.REVEALED] == 1
            raise RuntimeError

    with pytest.raises(RuntimeError):
        read_and_fail()
    with sessions.read() as session:
        assert store.worklist.state_counts(session, world.reader)[CaseState.READY] == 1


def test_an_account_that_begins_to_read_gets_all_cases_and_one_that_stops_has_none(sessions: Sessions) -> None:
    world = make_world(sessions, cases=3, can_sign_in=True)
    with sessions.begin() as session:
        add_person(session, "the planner", Role.ADMINISTRATOR)
        late = add_person(session, "dr. late", Role.RESEARCHER)
    rows = tables.WorklistCase

    def listed() -> int:
        with sessions.read() as session:
            return len(session.scalars(select(rows.case_id).where(rows.account_id == late)).all())

    assert listed() == 0
    for role, number in ((Role.READER, 3), (Role.ADJUDICATOR, 3), (Role.RESEARCHER, 0)):
        with sessions.begin() as session:
            store.accounts.set_role(session, None, "dr. late", role)
        assert listed() == number
    assert len(world.cases) == 3


def test_readers_who_begin_in_one_transaction_get_all_cases_though_one_of_them_has_read(sessions: Sessions) -> None:
    world = make_world(sessions, cases=3)
    with sessions.begin() as session:
        first, second = (add_person(session, name, Role.READER) for name in ("dr. x", "dr. y"))
        store.reads.record_first_read(session, world.case_id, first, SAYS_MALIGNANT, OPENED)
    with sessions.read() as session:
        assert [sum(store.worklist.state_counts(session, reader).values()) for reader in (first, second)] == [3, 3]


def test_pages_of_a_long_list_are_those_of_a_short_one(sessions: Sessions, monkeypatch: pytest.MonkeyPatch) -> None:
    """Short lists are sorted at once, long ones by an index."""
    world = make_world(sessions, cases=9, readers=3)
    with sessions.begin() as session:
        for case_id in world.cases[:6]:
            store.reads.record_first_read(session, case_id, world.reader, SAYS_MALIGNANT, OPENED)
        for case_id in world.cases[:4]:
            said = SAYS_BENIGN if case_id % 2 else SAYS_MALIGNANT
            store.reads.record_final_read(session, case_id, world.reader, said, OPENED)
        store.reads.record_first_read(session, world.cases[0], world.readers[1], SAYS_MALIGNANT, OPENED)
        store.planning.set_priority(session, world.reader, [world.cases[5], world.cases[7]], urgent=True)
        store.open_case.open_case(session, world.cases[8], world.reader)
        store.open_case.open_case(session, world.cases[6], world.readers[1])
        make_case(session, world.reader, magnification="40X")
    filters = (
        CaseFilter(),
        CaseFilter(states=[CaseState.READY, CaseState.IN_READING]),
        CaseFilter(states=[CaseState.FINAL, CaseState.DISCORDANT]),
        CaseFilter(magnification="40X"),
        CaseFilter(text="c-00"),
        CaseFilter(since=OPENED),
        CaseFilter(until=OPENED),
    )

    def lists() -> list[list[int]]:
        with sessions.read() as session:
            return [
                [row.id for row in whole_worklist(session, world.reader, wanted, order=order, size=4)]
                for wanted in filters
                for order in CaseOrder
            ]

    short = lists()
    assert any(short)
    monkeypatch.setattr(store_worklist, "FEW", -1)
    assert lists() == short


def test_a_text_that_very_many_case_numbers_begin_with_lists_the_first_of_them(
    sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = make_world(sessions, cases=5)
    for module in (store_worklist, listed_cases):
        monkeypatch.setattr(module, "FEW", 2)
        monkeypatch.setattr(module, "FOUND", 2)
    with sessions.read() as session:
        page = store.worklist.worklist(session, world.reader, CaseFilter(text="c-"))
        exact = store.worklist.worklist(session, world.reader, CaseFilter(text="4"))
        parts = store.worklist.worklist(session, world.reader, CaseFilter(text="0004"))
    assert (page.cut, page.total, [row.id for row in page.rows]) == (True, None, list(world.cases[:3]))
    assert (exact.cut, exact.total, exact.rows) == (False, 0, ())
    assert (parts.cut, [row.id for row in parts.rows]) == (False, [world.cases[3]])


def test_bytes_sort_case_numbers_as_people_count(sessions: Sessions) -> None:
    assert sorted(_ACCESSIONS, key=sort_key) == sorted(_ACCESSIONS, key=make_natural_key)


@pytest.mark.parametrize(
    ("words", "found"),
    [("s24", True), ("24", True), ("10", True), ("S24-1", True), ("-10", False), ("0", False), ("4-10", False)],
)
def test_a_search_finds_a_case_number_from_each_of_its_parts_on(words: str, found: bool) -> None:
    low, high = search_range(words)
    assert any(low <= term < high for term in search_terms("S24-10")) is found


def test_the_number_of_a_pile_says_what_it_holds() -> None:
    """Numbers are stored: those of today must mean the same for ever."""
    piles = [Pile(state, urgent, share) for state in STATE_NUMBERS for urgent in (False, True) for share in Share]
    assert [Pile.of_number(pile.number) for pile in piles] == piles
    assert {*STATE_NUMBERS} == {*CaseState}
    assert Pile(CaseState.FINAL, urgent=True, share=Share.OTHERS).number == 59


def test_the_check_finds_what_was_changed_by_hand_and_makes_it_anew(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sessions = open_database(database_url, data=tmp_path)
    world = make_world(sessions, cases=2)
    monkeypatch.setenv("SECOND_READ_DATABASE", database_url)
    monkeypatch.setenv("SECOND_READ_DATA", str(tmp_path))

    def run(*words: str) -> tuple[int, str]:
        result = CliRunner().invoke(app, ["check", *words])
        return result.exit_code, result.output

    assert run() == (0, "The worklists and the counts of agreement match the cases and reads.\n")
    with sessions.begin() as session:
        session.execute(text("UPDATE worklist_cases SET pile = 54 WHERE case_id = :case"), {"case": world.cases[0]})
        session.execute(text("DELETE FROM worklist_cases WHERE case_id = :case"), {"case": world.cases[1]})
        session.execute(text("DELETE FROM case_sort_keys"))
    status, words = run()
    assert status == 1
    for found in (
        "should be ready",
        "but is final",
        "is not listed",
        "is not found or sorted",
        "in worklist group 54",
        "--rebuild",
    ):
        assert found in words
    assert run("--rebuild")[0] == 0
    assert run()[0] == 0
    assert differences(sessions) == []
    assert run("--rebuild", "backup.tar")[0] == 2
    sessions.dispose()


def test_no_case_holds_what_the_model_said_before_its_reader_may_know(sessions: Sessions) -> None:
    world = make_world(sessions, cases=3)
    with sessions.begin() as session:
        store.reads.record_first_read(session, world.cases[0], world.reader, SAYS_MALIGNANT, OPENED)
        store.reads.record_first_read(session, world.cases[1], world.reader, SAYS_MALIGNANT, OPENED)
        store.reads.record_final_read(session, world.cases[1], world.reader, SAYS_MALIGNANT, OPENED)
    row = tables.WorklistCase
    with sessions.read() as session:
        kept = session.execute(select(row.account_id, row.case_id, row.uncertainty, row.concordance)).all()
    told = {(account, case): (x is not None, y is not None) for account, case, x, y in kept}
    mine = world.reader
    assert {key for key, what in told.items() if what[0]} == {(mine, world.cases[0]), (mine, world.cases[1])}
    assert {key for key, what in told.items() if what[1]} == {(mine, world.cases[1])}
