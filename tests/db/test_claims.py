"""A case that a reader has open is offered to others last, and never kept from them."""

from datetime import UTC, datetime, timedelta

import pytest

from db import store
from db.errors import CaseChangedError, UnknownCaseError
from db.reading_models import Claim
from db.session import Sessions
from db.values import CaseState, Holder
from tests.helpers.stored import OPENED, at_once
from tests.helpers.stress import amount
from tests.helpers.wards import BENIGN, MALIGNANT, Ward, claim, open_ward, sign_off


def held(ward: Ward, account_id: int) -> tuple[int, timedelta] | None:
    """Give the case that a reader has open, and how long that still holds."""
    with ward.sessions.read() as session:
        found = session.get(Claim, account_id)
        left = found.expires_at - datetime.now(UTC) if found else timedelta()
        return (found.case_id, left) if found and left > timedelta() else None


def open_it(ward: Ward, account_id: int, case_id: int | None = None) -> tuple[Holder, ...]:
    """Open a case, the first one unless said, and give who else has it open."""
    with ward.sessions.begin() as session:
        return store.open_case(session, case_id or ward.cases[0], account_id).open_elsewhere


def following(ward: Ward, account_id: int) -> int | None:
    with ward.sessions.read() as session:
        return store.next_case(session, account_id)


def test_opening_a_case_takes_it_and_opening_another_moves_the_claim(sessions: Sessions) -> None:
    ward = open_ward(sessions, cases=2)
    one, two = ward.cases
    assert held(ward, ward.a) is None
    open_it(ward, ward.a)
    assert held(ward, ward.a) is not None
    assert ward.state(ward.a, one) is CaseState.IN_READING
    assert ward.state(ward.b, one) is CaseState.READY
    open_it(ward, ward.a, two)
    found = held(ward, ward.a)
    assert found is not None
    assert found[0] == two
    assert found[1] > timedelta(minutes=29)
    assert (ward.state(ward.a, one), ward.state(ward.a, two)) == (CaseState.READY, CaseState.IN_READING)


def test_a_claim_ends_by_itself_and_begins_anew(sessions: Sessions) -> None:
    ward = open_ward(sessions, cases=2)
    ward.add(claim(ward.b, ward.cases[0], minutes_ago=29.9))
    assert following(ward, ward.a) == ward.cases[1]
    with sessions.begin() as session:
        session.get_one(Claim, ward.b).expires_at = datetime.now(UTC)
    assert following(ward, ward.a) == ward.cases[0]
    assert open_it(ward, ward.a) == ()
    assert ward.state(ward.b) is CaseState.READY
    before = datetime.now(UTC)
    (holder,) = open_it(ward, ward.b)
    assert holder.reader == "dr. a"
    (anew,) = open_it(ward, ward.a)
    assert anew.reader == "dr. b"
    assert anew.since >= before


def test_a_claim_is_renewed_by_use_but_not_at_every_click(sessions: Sessions) -> None:
    ward = open_ward(sessions)
    ward.add(claim(ward.a, ward.cases[0], minutes_ago=0.5))
    with sessions.read() as session:
        since = session.get_one(Claim, ward.a).claimed_at
    for minutes_ago, left in ((0.5, 29.5), (2, 30), (29, 30)):
        with sessions.begin() as session:
            until = datetime.now(UTC) + timedelta(minutes=30 - minutes_ago)
            session.get_one(Claim, ward.a).expires_at = until
        open_it(ward, ward.a)
        found = held(ward, ward.a)
        assert found is not None
        assert found[1].total_seconds() == pytest.approx(60 * left, abs=10)
    assert open_it(ward, ward.b) == (Holder("dr. a", since),), "since when does not move with the renewal"


def test_a_final_read_and_letting_go_end_a_claim(sessions: Sessions) -> None:
    ward = open_ward(sessions, cases=3)
    one, two, three = ward.cases
    open_it(ward, ward.a, one)
    with sessions.begin() as session:
        store.record_first_read(session, one, ward.a, MALIGNANT, OPENED)
    assert held(ward, ward.a) is not None
    open_it(ward, ward.b, two)
    with sessions.begin() as session:
        store.record_final_read(session, one, ward.a, MALIGNANT, OPENED)
    assert held(ward, ward.a) is None
    assert held(ward, ward.b) is not None
    open_it(ward, ward.a, three)
    with sessions.begin() as session:
        store.release_claim(session, ward.a, one)
    assert held(ward, ward.a) is not None, "it is not that one"
    with sessions.begin() as session:
        store.release_claim(session, ward.a)
    assert held(ward, ward.a) is None
    assert ward.state(ward.a, three) is CaseState.READY


def test_who_looks_at_what_they_have_read_or_what_is_signed_takes_nothing(sessions: Sessions) -> None:
    ward = open_ward(sessions, cases=2)
    ward.read(ward.a, ward.cases[0], MALIGNANT)
    ward.add(sign_off(ward.cases[1], ward.b))
    open_it(ward, ward.a, ward.cases[0])
    open_it(ward, ward.a, ward.cases[1])
    assert held(ward, ward.a) is None


def test_what_another_has_open_is_offered_last_and_is_marked(sessions: Sessions) -> None:
    ward = open_ward(sessions, cases=2)
    one, two = ward.cases
    open_it(ward, ward.b, one)
    assert (following(ward, ward.a), following(ward, ward.b)) == (two, one)
    with sessions.read() as session:
        rows = store.worklist(session, ward.a)
    assert [(row.id, row.open_with) for row in rows] == [(two, ""), (one, "dr. b")]
    assert rows[1].open_since is not None
    open_it(ward, ward.adjudicator, two)
    assert following(ward, ward.a) == one, "nothing else is left"
    assert [holder.reader for holder in open_it(ward, ward.a, two)] == ["dr. j"]


def test_both_readers_of_one_case_are_kept(sessions: Sessions) -> None:
    ward = open_ward(sessions)
    open_it(ward, ward.a)
    open_it(ward, ward.b)
    ward.read(ward.a, ward.cases[0], MALIGNANT)
    ward.read(ward.b, ward.cases[0], BENIGN)
    with sessions.read() as session:
        assert len(store.own_reads(session, ward.a)) == len(store.own_reads(session, ward.b)) == 2


def test_a_case_that_is_not_there_cannot_be_taken(sessions: Sessions) -> None:
    ward = open_ward(sessions)
    with sessions.begin() as session, pytest.raises(UnknownCaseError):
        store.claim_case(session, 999, ward.a)


@pytest.mark.slow
def test_two_tabs_of_one_reader_leave_one_claim(sessions: Sessions) -> None:
    ward = open_ward(sessions, cases=2)
    for _ in range(amount(50, 5)):
        done = at_once(4, lambda n: open_it(ward, ward.a, ward.cases[n % 2]))
        assert not [one for one in done if isinstance(one, Exception)], done
        assert held(ward, ward.a) is not None


@pytest.mark.slow
def test_two_readers_who_read_one_case_at_once_are_both_kept(sessions: Sessions) -> None:
    races = amount(500, 8)
    ward = open_ward(sessions, cases=races)
    for case_id in ward.cases:

        def race(number: int, case_id: int = case_id) -> None:
            reader = (ward.a, ward.b)[number]
            open_it(ward, reader, case_id)
            ward.read(reader, case_id, (MALIGNANT, BENIGN)[number])

        assert at_once(2, race) == [None, None]
    with sessions.read() as session:
        for reader, said in ((ward.a, "malignant"), (ward.b, "benign")):
            reads = store.own_reads(session, reader)
            assert len(reads) == 2 * races
            assert {read.opinion.label for read in reads} == {said}
        counts = store.state_counts(session, ward.a)
    assert counts[CaseState.DISCORDANT] == races
    assert held(ward, ward.a) is held(ward, ward.b) is None


def test_a_signed_case_refuses_the_read_of_who_had_it_open(sessions: Sessions) -> None:
    ward = open_ward(sessions)
    open_it(ward, ward.a)
    ward.add(sign_off(ward.cases[0], ward.b))
    with pytest.raises(CaseChangedError, match="signed out by dr"):
        ward.read(ward.a, ward.cases[0], MALIGNANT)
