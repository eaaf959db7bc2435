"""A case that a reader has open is offered to others last, and never kept from them."""

from datetime import UTC, datetime, timedelta

import pytest

from db import store, tables
from db.database import Sessions
from db.errors import CaseChangedError, UnknownCaseError
from db.values.reading import CaseState, Holder
from tests.helpers.concurrency import at_once
from tests.helpers.rows import BENIGN, OPENED, SAYS_MALIGNANT, claim_row, sign_off_row
from tests.helpers.stress import amount
from tests.helpers.worklists import whole_worklist
from tests.helpers.world import World, make_world


def held(world: World, account_id: int) -> tuple[int, timedelta] | None:
    """Give the case that a reader has open, and how long that still holds."""
    with world.sessions.read() as session:
        found = session.get(tables.Claim, account_id)
        left = found.expires_at - datetime.now(UTC) if found else timedelta()
        return (found.case_id, left) if found and left > timedelta() else None


def open_it(world: World, account_id: int, case_id: int | None = None) -> tuple[Holder, ...]:
    """Open a case, the first one unless said, and give who else has it open."""
    with world.sessions.begin() as session:
        return store.open_case.open_case(session, case_id or world.cases[0], account_id).open_elsewhere


def following(world: World, account_id: int) -> int | None:
    with world.sessions.read() as session:
        return store.worklist.find_next_case(session, account_id)


def test_opening_a_case_takes_it_and_opening_another_moves_the_claim(sessions: Sessions) -> None:
    world = make_world(sessions, cases=2)
    one, two = world.cases
    assert held(world, world.reader) is None
    open_it(world, world.reader)
    assert held(world, world.reader) is not None
    assert world.state(world.reader, one) is CaseState.IN_READING
    assert world.state(world.readers[1], one) is CaseState.READY
    open_it(world, world.reader, two)
    found = held(world, world.reader)
    assert found is not None
    assert found[0] == two
    assert found[1] > timedelta(minutes=29)
    assert (world.state(world.reader, one), world.state(world.reader, two)) == (CaseState.READY, CaseState.IN_READING)


def test_a_claim_ends_by_itself_and_begins_anew(sessions: Sessions) -> None:
    world = make_world(sessions, cases=2)
    world.add(claim_row(world.readers[1], world.cases[0], minutes_ago=29.9))
    assert following(world, world.reader) == world.cases[1]
    with sessions.begin() as session:
        session.get_one(tables.Claim, world.readers[1]).expires_at = datetime.now(UTC)
    assert following(world, world.reader) == world.cases[0]
    assert open_it(world, world.reader) == ()
    assert world.state(world.readers[1]) is CaseState.READY
    before = datetime.now(UTC)
    (holder,) = open_it(world, world.readers[1])
    assert holder.reader == "dr. a"
    (anew,) = open_it(world, world.reader)
    assert anew.reader == "dr. b"
    assert anew.since >= before


def test_a_claim_is_renewed_by_use_but_not_at_every_click(sessions: Sessions) -> None:
    world = make_world(sessions)
    world.add(claim_row(world.reader, world.cases[0], minutes_ago=0.5))
    with sessions.read() as session:
        since = session.get_one(tables.Claim, world.reader).claimed_at
    for minutes_ago, left in ((0.5, 29.5), (2, 30), (29, 30)):
        with sessions.begin() as session:
            until = datetime.now(UTC) + timedelta(minutes=30 - minutes_ago)
            session.get_one(tables.Claim, world.reader).expires_at = until
        open_it(world, world.reader)
        found = held(world, world.reader)
        assert found is not None
        assert found[1].total_seconds() == pytest.approx(60 * left, abs=10)
    assert open_it(world, world.readers[1]) == (Holder("dr. a", since),), "since when does not move with the renewal"


def test_a_final_read_and_letting_go_end_a_claim(sessions: Sessions) -> None:
    world = make_world(sessions, cases=3)
    one, two, three = world.cases
    open_it(world, world.reader, one)
    with sessions.begin() as session:
        store.reads.record_first_read(session, one, world.reader, SAYS_MALIGNANT, OPENED)
    assert held(world, world.reader) is not None
    open_it(world, world.readers[1], two)
    with sessions.begin() as session:
        store.reads.record_final_read(session, one, world.reader, SAYS_MALIGNANT, OPENED)
    assert held(world, world.reader) is None
    assert held(world, world.readers[1]) is not None
    open_it(world, world.reader, three)
    with sessions.begin() as session:
        store.claims.release_claim(session, world.reader, one)
    assert held(world, world.reader) is not None, "it is not that one"
    with sessions.begin() as session:
        store.claims.release_claim(session, world.reader)
    assert held(world, world.reader) is None
    assert world.state(world.reader, three) is CaseState.READY


def test_who_looks_at_what_they_have_read_or_what_is_signed_takes_nothing(sessions: Sessions) -> None:
    world = make_world(sessions, cases=2)
    world.read(world.reader, world.cases[0], SAYS_MALIGNANT)
    world.add(sign_off_row(world.cases[1], world.readers[1]))
    open_it(world, world.reader, world.cases[0])
    open_it(world, world.reader, world.cases[1])
    assert held(world, world.reader) is None


def test_what_another_has_open_is_offered_last_and_is_marked(sessions: Sessions) -> None:
    world = make_world(sessions, cases=2)
    one, two = world.cases
    open_it(world, world.readers[1], one)
    assert (following(world, world.reader), following(world, world.readers[1])) == (two, one)
    with sessions.read() as session:
        rows = whole_worklist(session, world.reader)
    assert [(row.id, row.open_with) for row in rows] == [(two, ""), (one, "dr. b")]
    assert rows[1].open_since is not None
    open_it(world, world.adjudicator, two)
    assert following(world, world.reader) == one, "nothing else is left"
    assert [holder.reader for holder in open_it(world, world.reader, two)] == ["dr. j"]


def test_both_readers_of_one_case_are_kept(sessions: Sessions) -> None:
    world = make_world(sessions)
    open_it(world, world.reader)
    open_it(world, world.readers[1])
    world.read(world.reader, world.cases[0], SAYS_MALIGNANT)
    world.read(world.readers[1], world.cases[0], BENIGN)
    with sessions.read() as session:
        assert (
            len(store.reads.own_reads(session, world.reader))
            == len(store.reads.own_reads(session, world.readers[1]))
            == 2
        )


def test_a_case_that_is_not_there_cannot_be_taken(sessions: Sessions) -> None:
    world = make_world(sessions)
    with sessions.begin() as session, pytest.raises(UnknownCaseError):
        store.claims.claim_case(session, 999, world.reader)


@pytest.mark.slow
def test_two_tabs_of_one_reader_leave_one_claim(sessions: Sessions) -> None:
    world = make_world(sessions, cases=2)
    for _ in range(amount(50, 5)):
        done = at_once(4, lambda n: open_it(world, world.reader, world.cases[n % 2]))
        assert not [one for one in done if isinstance(one, Exception)], done
        assert held(world, world.reader) is not None


@pytest.mark.slow
def test_two_readers_who_read_one_case_at_once_are_both_kept(sessions: Sessions) -> None:
    races = amount(500, 8)
    world = make_world(sessions, cases=races)
    for case_id in world.cases:

        def race(number: int, case_id: int = case_id) -> None:
            reader = (world.reader, world.readers[1])[number]
            open_it(world, reader, case_id)
            world.read(reader, case_id, (SAYS_MALIGNANT, BENIGN)[number])

        assert at_once(2, race) == [None, None]
    world.end_undo(world.reader)
    with sessions.read() as session:
        for reader, said in ((world.reader, "malignant"), (world.readers[1], "benign")):
            reads = store.reads.own_reads(session, reader)
            assert len(reads) == 2 * races
            assert {read.opinion.label for read in reads} == {said}
        counts = store.worklist.state_counts(session, world.reader)
    assert counts[CaseState.DISCORDANT] == races
    assert held(world, world.reader) is held(world, world.readers[1]) is None


def test_a_signed_case_refuses_the_read_of_who_had_it_open(sessions: Sessions) -> None:
    world = make_world(sessions)
    open_it(world, world.reader)
    world.add(sign_off_row(world.cases[0], world.readers[1]))
    with pytest.raises(CaseChangedError, match="signed off by dr"):
        world.read(world.reader, world.cases[0], SAYS_MALIGNANT)
