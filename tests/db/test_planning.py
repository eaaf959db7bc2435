"""Who plans the reading says who reads what and what is urgent; the worklist follows."""

import pytest
from sqlalchemy import select

from db import store, tables
from db.database import Sessions
from db.errors import NotAllowedError, UnknownCaseError
from db.values.accounts import Role
from db.values.worklist import AssignableReader, CaseFilter, PlanFilter, PlannedCase
from tests.helpers.rows import BENIGN, OPENED, SAYS_MALIGNANT, claim_row, sign_off_row
from tests.helpers.worklists import whole_worklist
from tests.helpers.world import PASSWORD, World, analyse_all, make_case, make_world

pytestmark = pytest.mark.usefixtures("quick_passwords")


@pytest.fixture
def planned(sessions: Sessions) -> tuple[World, int]:
    """Give readers who can sign in, four cases, and an administrator."""
    with sessions.begin() as session:
        signing = [
            store.accounts.add_signing_account(session, None, name, role, PASSWORD).id
            for name, role in (("dr. a", Role.READER), ("dr. b", Role.READER), ("dr. j", Role.ADJUDICATOR))
        ]
        administrator = store.accounts.add_signing_account(session, None, "office", Role.ADMINISTRATOR, PASSWORD).id
        store.accounts.add_signing_account(session, None, "r. c", Role.RESEARCHER, PASSWORD)
        cases = tuple(make_case(session, signing[0]) for _ in range(4))
    analyse_all(sessions, 0.8)
    return World(sessions, (signing[0], signing[1]), (signing[2],), cases), administrator


def following(world: World, account_id: int, after: int | None = None, *, passed: tuple[int, ...] = ()) -> int | None:
    with world.sessions.read() as session:
        return store.worklist.find_next_case(session, account_id, after, passed=passed)


def listed(world: World, account_id: int, wanted: CaseFilter | None = None) -> list[int]:
    with world.sessions.read() as session:
        return [row.id for row in whole_worklist(session, account_id, wanted or CaseFilter())]


def test_urgent_comes_first_then_mine_then_nobodys_and_never_what_is_only_for_others(
    planned: tuple[World, int],
) -> None:
    world, office = planned
    nobodys, theirs, mine, urgent = world.cases
    with world.sessions.begin() as session:
        assert store.planning.assign(session, office, [theirs], world.readers[1], active=True) == 1
        assert store.planning.assign(session, office, [mine], world.reader, active=True) == 1
        assert store.planning.set_priority(session, office, [urgent], urgent=True) == 1
    assert listed(world, world.reader) == [urgent, mine, nobodys, theirs]
    assert listed(world, world.reader, CaseFilter(mine=True)) == [mine]
    offered: list[int] = []
    while (case_id := following(world, world.reader)) is not None:
        offered.append(case_id)
        world.read(world.reader, case_id, SAYS_MALIGNANT)
    assert offered == [urgent, mine, nobodys]
    assert following(world, world.readers[1]) == urgent, "each reader has an order of their own"
    with world.sessions.begin() as session:
        store.planning.assign(session, office, [theirs], world.reader, active=True)
    assert following(world, world.reader) == theirs, "it is for both"


def test_a_case_once_begun_is_offered_even_if_it_now_belongs_to_another(planned: tuple[World, int]) -> None:
    world, office = planned
    with world.sessions.begin() as session:
        store.reads.record_first_read(session, world.cases[0], world.reader, SAYS_MALIGNANT, OPENED)
        store.planning.assign(session, office, world.cases, world.readers[1], active=True)
    assert following(world, world.reader) == world.cases[0]


def test_what_was_passed_over_comes_back_when_all_else_is_done(planned: tuple[World, int]) -> None:
    world, office = planned
    with world.sessions.begin() as session:
        store.planning.set_priority(session, office, [world.cases[2]], urgent=True)
    passed: list[int] = []
    for _ in range(7):
        case_id = following(world, world.reader, passed[-1] if passed else None, passed=tuple(passed))
        assert case_id is not None
        passed = [*(one for one in passed if one != case_id), case_id]
    one, two, urgent, four = world.cases
    assert passed == [two, urgent, four, one], "urgent, four, one, two, and round again"


def test_the_same_order_again_changes_nothing_and_every_change_is_recorded(planned: tuple[World, int]) -> None:
    world, office = planned
    both = world.cases[:2]
    with world.sessions.begin() as session:
        assert store.planning.assign(session, office, [*both, *both], world.reader, active=True) == 2
        assert store.planning.assign(session, office, both, world.reader, active=True) == 0
        assert store.planning.assign(session, office, both, world.readers[1], active=False) == 0
        assert store.planning.assign(session, office, both[:1], world.reader, active=False) == 1
        assert store.planning.set_priority(session, office, both, urgent=False) == 0
        assert store.planning.set_priority(session, office, both[:1], urgent=True) == 1
        events = [(one.account, one.action, one.subject) for one in store.audit.audit_trail(session)[:4]]
        assert len(session.scalars(select(tables.Assignment)).all()) == 3
    assert events == [
        ("office", "priority set", "C-0001 urgent"),
        ("office", "assignment withdrawn", "C-0001 from dr. a"),
        ("office", "case assigned", "C-0002 to dr. a"),
        ("office", "case assigned", "C-0001 to dr. a"),
    ]
    assert listed(world, world.reader, CaseFilter(mine=True)) == [both[1]]


def test_the_plan_tells_who_reads_and_how_far_they_are_and_nothing_of_what_they_say(
    planned: tuple[World, int],
) -> None:
    world, office = planned
    one, two, three, _ = world.cases
    with world.sessions.begin() as session:
        store.planning.assign(session, office, [one], world.readers[1], active=True)
        store.planning.assign(session, office, [one, two], world.reader, active=True)
        store.planning.set_priority(session, office, [two], urgent=True)
    world.read(world.reader, one, BENIGN)
    world.read(world.readers[1], one, SAYS_MALIGNANT)
    world.add(sign_off_row(three, world.reader))
    with world.sessions.read() as session:
        rows = store.planning.cases_to_plan(session, office).rows
        readers = store.planning.assignable_readers(session, office)
        found = store.planning.cases_to_plan(session, office, PlanFilter(CaseFilter(text="0002"))).rows
        assert [row.accession for row in found] == ["C-0002"]
    assert [(row.readers, row.finished, row.urgent, row.signed_off) for row in rows] == [
        (("dr. a", "dr. b"), 2, False, False),
        (("dr. a",), 0, True, False),
        ((), 0, False, True),
        ((), 0, False, False),
    ]
    assert [(row.accession, row.magnification, row.images) for row in rows[:1]] == [("C-0001", "100X", 1)]
    assert readers == [
        AssignableReader(world.reader, "dr. a", 1),
        AssignableReader(world.readers[1], "dr. b", 0),
        AssignableReader(world.adjudicator, "dr. j", 0),
    ]


def test_the_plan_comes_page_by_page_with_every_filter(planned: tuple[World, int]) -> None:
    world, office = planned
    one, two, three, four = world.cases
    with world.sessions.begin() as session:
        store.planning.assign(session, office, [one, four], world.reader, active=True)
    world.add(sign_off_row(three, world.reader))

    def listed_by(wanted: PlanFilter) -> list[int]:
        found: list[PlannedCase] = []
        with world.sessions.read() as session:
            while True:
                page = store.planning.cases_to_plan(session, office, wanted, after=found[-1] if found else None, size=1)
                found += page.rows
                if page.last is None:
                    return [case.id for case in found]
                assert page.last == found[-1]

    assert listed_by(PlanFilter()) == [one, two, three, four]
    assert listed_by(PlanFilter(signed_off=False)) == [one, two, four]
    assert listed_by(PlanFilter(reader=world.reader)) == [one, four]
    assert listed_by(PlanFilter(reader=world.readers[1])) == []
    assert listed_by(PlanFilter(unassigned=True)) == [two, three]
    assert listed_by(PlanFilter(CaseFilter(text="c-000"), unassigned=True, signed_off=False)) == [two]


def test_a_disabled_reader_keeps_no_case_from_the_others(planned: tuple[World, int]) -> None:
    world, office = planned
    with world.sessions.begin() as session:
        store.planning.assign(session, office, world.cases, world.readers[1], active=True)
    assert following(world, world.reader) is None
    with world.sessions.begin() as session:
        store.accounts.set_disabled(session, office, "dr. b", disabled=True)
    assert following(world, world.reader) == world.cases[0]
    with world.sessions.begin() as session:
        assert store.planning.cases_to_plan(session, office).rows[0].readers == ()
        with pytest.raises(ValueError, match="cannot read cases"):
            store.planning.assign(session, office, world.cases, world.readers[1], active=True)
        assert store.planning.assign(session, office, world.cases, world.readers[1], active=False) == 4


def test_only_readers_get_cases_and_only_administrators_give_them(planned: tuple[World, int]) -> None:
    world, office = planned
    for who in (office, 999):
        with world.sessions.begin() as session, pytest.raises(ValueError, match="cannot read cases"):
            store.planning.assign(session, office, world.cases, who, active=True)
    with world.sessions.begin() as session, pytest.raises(UnknownCaseError):
        store.planning.assign(session, office, [999], world.reader, active=True)
    for who in (world.reader, world.adjudicator):
        with world.sessions.begin() as session:
            with pytest.raises(NotAllowedError, match="assign cases"):
                store.planning.assign(session, who, world.cases, world.reader, active=True)
            with pytest.raises(NotAllowedError, match="assign cases"):
                store.planning.set_priority(session, who, world.cases, urgent=True)
            with pytest.raises(NotAllowedError, match="assign cases"):
                store.planning.cases_to_plan(session, who)


def test_a_claim_outweighs_urgency_as_long_as_others_wait(sessions: Sessions) -> None:
    world = make_world(sessions, cases=2)
    with sessions.begin() as session:
        store.planning.set_priority(session, world.reader, [world.cases[0]], urgent=True)
    assert following(world, world.reader) == world.cases[0]
    world.add(claim_row(world.readers[1], world.cases[0]))
    assert following(world, world.reader) == world.cases[1]
