"""What the worklists show is kept with every write, and is at any time what follows from the rows."""

import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from sqlalchemy import select, text
from sqlalchemy.orm import Session
from typer.testing import CliRunner

from core.natural_order import make_natural_key
from core.results import Analysis
from db import store, tables
from db.__main__ import app
from db.database import Sessions, open_database
from db.errors import CaseChangedError, InStudyError, NotAllowedError, NotRevealedError
from db.projection.check import find_differences
from db.queries import listed_cases
from db.store import worklist as store_worklist
from db.values.accessions import search_range, search_terms, sort_key
from db.values.adjudication import Amendment
from db.values.piles import STATE_NUMBERS, Pile, Share
from db.values.reading import Arm, CaseState, Role
from db.values.studies import StudyPlan
from db.values.worklist import CaseFilter, CaseOrder
from tests.helpers.rows import (
    CANNOT_ASSESS,
    MALIGNANT,
    MODEL,
    OPENED,
    QUALITY,
    RULING,
    SAYS_BENIGN,
    SAYS_MALIGNANT,
    analysis,
)
from tests.helpers.worklists import whole_worklist
from tests.helpers.world import World, add_person, make_case, make_world

_REFUSED = (CaseChangedError, InStudyError, NotAllowedError, NotRevealedError, ValueError)
_ACTS = 100
_ACCESSIONS = ("S24-2", "S24-10", "s24-10", "Ä-1", "a1", "A-1", "B_1", "H26-100%", "007", "7", "7b", "Ж-1", "²", "S24")


@dataclass(frozen=True, slots=True)
class Chance:
    """Who does something with which case, and how the dice fall."""

    world: World
    planner: int
    dice: random.Random

    @property
    def case(self) -> int:
        return self.dice.choice(self.world.cases)

    @property
    def who(self) -> int:
        return self.dice.choice((*self.world.readers, *self.world.adjudicators))


def read_first(session: Session, by: Chance) -> None:
    opinion = by.dice.choice((SAYS_MALIGNANT, CANNOT_ASSESS, replace(MALIGNANT, confidence=1)))
    store.reads.record_first_read(session, by.case, by.who, opinion, OPENED)


def read_to_the_end(session: Session, by: Chance) -> None:
    opinion = by.dice.choice((SAYS_MALIGNANT, SAYS_BENIGN, CANNOT_ASSESS))
    store.reads.record_final_read(session, by.case, by.who, opinion, OPENED)


def amend(session: Session, by: Chance) -> None:
    store.reads.amend_read(session, by.case, by.who, by.dice.choice((SAYS_MALIGNANT, SAYS_BENIGN)), OPENED)


def withdraw(session: Session, by: Chance) -> None:
    who = by.who
    for read in store.reads.own_reads(session, who)[-1:]:
        store.reads.withdraw_read(session, read.id, who)


def sign_off(session: Session, by: Chance) -> None:
    case, who = by.case, by.who
    store.reads.end_undo(session, who)
    session.flush()
    view = store.sign_offs.sign_offs_of(session, case, who)
    if view.proposed is not None:
        store.sign_offs.sign_off(session, case, who, view.proposed, "")
    elif view.versions:
        amended = Amendment("benign", None, f"note {by.dice.random()}", why="looked again")
        replaces = view.versions[-1].version
        store.sign_offs.amend_sign_off(session, case, who, amended, replaces_version=replaces)


def settle(session: Session, by: Chance) -> None:
    case, who = by.case, by.world.adjudicator
    opened = store.adjudication.open_adjudication(session, case, who)
    seen = [read.read_id for read in opened.reads]
    store.adjudication.record_consensus(session, case, who, RULING, OPENED, seen=seen)


def plan(session: Session, by: Chance) -> None:
    store.planning.assign(session, by.planner, [by.case], by.who, active=by.dice.random() < 0.7)
    store.planning.set_priority(session, by.planner, [by.case], urgent=by.dice.random() < 0.5)


def plan_study(session: Session, by: Chance) -> None:
    name = f"study {by.dice.random()}"
    store.studies.make_study(session, by.planner, StudyPlan(name, (by.who,), (by.case,), (Arm.UNAIDED,)))


def close_study(session: Session, by: Chance) -> None:
    for study in session.scalars(select(tables.Study.id).where(tables.Study.closed_at.is_(None))).all():
        store.studies.close_study(session, by.planner, study)


def change_account(session: Session, by: Chance) -> None:
    name = session.get_one(tables.Account, by.who).name
    store.accounts.set_disabled(session, by.planner, name, disabled=by.dice.random() < 0.3)
    other = session.get_one(tables.Account, by.world.readers[-1]).name
    store.accounts.set_role(session, by.planner, other, by.dice.choice(list(Role)))


def take_in(session: Session, by: Chance) -> None:
    who = by.world.reader
    case_id = store.cases.add_case(session, who, accession=None, magnification="40X")
    intake = store.intakes.begin_intake(session, who, case_id, 1)
    if by.dice.random() < 0.5:
        store.intakes.end_intake(session, who, intake)


def add_image(session: Session, by: Chance) -> None:
    make_case(session, by.world.reader, images=by.dice.choice((1, 2)))


def work(session: Session, by: Chance) -> None:
    job = store.jobs.claim_job(session, "w")
    if job is None:
        return
    match by.dice.choice(("found", "blank", "failed", "released")):
        case "found":
            result = analysis(by.dice.random())
            store.jobs.finish_job(session, job, "w", result, model=MODEL, heatmap=None)
        case "blank":
            blank = Analysis(460, 700, QUALITY, reason="the image is blank")
            store.jobs.finish_job(session, job, "w", blank, model=MODEL, heatmap=None)
        case "failed":
            store.jobs.fail_job(session, job, "w", "damaged")
        case _:
            store.jobs.release_jobs(session, "w")


def analyse_again(session: Session, by: Chance) -> None:
    image = session.scalar(select(tables.Image.id).where(tables.Image.case_id == by.case))
    assert image is not None
    store.jobs.queue_again(session, by.who, image)


def open_a_case(session: Session, by: Chance) -> None:
    store.open_case.open_case(session, by.case, by.who)


def end_undo(session: Session, by: Chance) -> None:
    store.reads.end_undo(session, by.who)


_OFTEN: list[Callable[[Session, Chance], None]] = [read_first, read_to_the_end] * 4
_SELDOM: list[Callable[[Session, Chance], None]] = [
    *(amend, withdraw, sign_off, settle, plan, plan_study, close_study, change_account, take_in, add_image),
    *(work, work, analyse_again, open_a_case, end_undo),
]


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
    for _ in range(_ACTS):
        act = dice.choice(_OFTEN + _SELDOM)
        try:
            with sessions.begin() as session:
                act(session, chance)
        except _REFUSED:
            continue
        done.add(act.__name__)
        assert differences(sessions) == [], act.__name__
    assert len(done) >= len({*_OFTEN, *_SELDOM}) - 4, "most of the acts are allowed at some time"


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

    assert run() == (0, "The worklists agree with the cases and reads.\n")
    with sessions.begin() as session:
        session.execute(text("UPDATE worklist_cases SET pile = 54 WHERE case_id = :case"), {"case": world.cases[0]})
        session.execute(text("DELETE FROM worklist_cases WHERE case_id = :case"), {"case": world.cases[1]})
        session.execute(text("DELETE FROM case_sort_keys"))
    status, words = run()
    assert status == 1
    for found in ("is ready", "not final", "is not listed", "is not found or sorted", "on pile 54", "--rebuild"):
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
