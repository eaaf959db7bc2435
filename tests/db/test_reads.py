"""A reader's opinions are saved once, before and after the reveal, and never changed."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from sqlalchemy import func, select

from db import store, tables
from db.database import Sessions
from db.errors import CaseChangedError, NotRevealedError, UnknownCaseError
from db.queries import reads
from db.values.reading import OnScreen, Opinion, Read, Stage, Vote
from tests.helpers.concurrency import at_once
from tests.helpers.rows import BENIGN, MALIGNANT, OPENED
from tests.helpers.world import Reader, analyse_all, make_case, make_reader, make_study_world, ready_case, revealed_case

CANNOT_ASSESS = Opinion(None, None, note="crushed")


def first(sessions: Sessions, reader: Reader, opinion: Opinion = BENIGN) -> Read:
    with sessions.begin() as session:
        return store.reads.record_first_read(session, reader.case_id, reader.account_id, opinion, OPENED)


def final(sessions: Sessions, reader: Reader, opinion: Opinion = MALIGNANT) -> Read:
    with sessions.begin() as session:
        return store.reads.record_final_read(session, reader.case_id, reader.account_id, opinion, OPENED)


def amend(sessions: Sessions, reader: Reader, opinion: Opinion, replaces: int | None = None) -> Read:
    with sessions.begin() as session:
        return store.reads.amend_read(session, reader.case_id, reader.account_id, opinion, OPENED, replaces=replaces)


def count_reads(sessions: Sessions) -> int:
    with sessions.read() as session:
        return session.scalar(select(func.count()).select_from(tables.Read)) or 0


@pytest.mark.parametrize("opinion", [BENIGN, MALIGNANT, CANNOT_ASSESS])
def test_a_first_read_keeps_the_opinion_and_both_times_and_never_saw_the_model(
    sessions: Sessions, opinion: Opinion
) -> None:
    reader = ready_case(sessions)
    before = datetime.now(UTC)
    read = first(sessions, reader, opinion)
    assert (read.stage, read.opinion, read.opened_at, read.reader) == (Stage.FIRST, opinion, OPENED, "dr. a")
    assert not read.model_visible
    assert before <= read.saved_at <= datetime.now(UTC)
    with sessions.begin() as session:
        assert store.open_case.open_case(session, reader.case_id, reader.account_id).first_read == read


def test_a_double_click_gives_one_read(sessions: Sessions) -> None:
    reader = ready_case(sessions)
    assert first(sessions, reader) == first(sessions, reader)
    assert final(sessions, reader) == final(sessions, reader)
    assert count_reads(sessions) == 2


def test_ten_clicks_at_once_give_one_read(sessions: Sessions) -> None:
    reader = ready_case(sessions)
    firsts = at_once(10, lambda _: first(sessions, reader))
    assert len(set(firsts)) == 1
    assert isinstance(firsts[0], Read)
    finals = at_once(10, lambda _: final(sessions, reader))
    assert len(set(finals)) == 1
    assert isinstance(finals[0], Read)
    assert count_reads(sessions) == 2


def test_two_windows_with_different_labels_keep_the_first_one(sessions: Sessions) -> None:
    reader = ready_case(sessions)
    saved = first(sessions, reader, BENIGN)
    with pytest.raises(
        CaseChangedError, match=r"your first opinion .* already saved \(benign, .*\) and cannot be replaced"
    ):
        first(sessions, reader, MALIGNANT)
    decided = final(sessions, reader, MALIGNANT)
    with pytest.raises(CaseChangedError, match=r"your final opinion .* \(malignant, "):
        final(sessions, reader, replace(BENIGN, reason="quality"))
    with sessions.begin() as session:
        view = store.open_case.open_case(session, reader.case_id, reader.account_id)
    assert (view.first_read, view.final_read) == (saved, decided)


def test_two_windows_at_the_same_moment_keep_exactly_one(sessions: Sessions) -> None:
    reader = ready_case(sessions)
    said = at_once(8, lambda n: first(sessions, reader, BENIGN if n % 2 else MALIGNANT))
    assert {type(one) for one in said} == {Read, CaseChangedError}
    assert count_reads(sessions) == 1


def test_twenty_readers_at_once_lose_no_read(sessions: Sessions) -> None:
    case = ready_case(sessions)
    with sessions.begin() as session:
        readers = [Reader(make_reader(session, f"dr. {n}"), case.case_id) for n in range(20)]

    def read_it(number: int) -> None:
        first(sessions, readers[number])
        final(sessions, readers[number])

    assert at_once(20, read_it) == [None] * 20
    assert count_reads(sessions) == 40


def test_a_final_read_needs_a_first_one(sessions: Sessions) -> None:
    reader = ready_case(sessions)
    with pytest.raises(NotRevealedError, match="first opinion before the final"):
        final(sessions, reader)
    with pytest.raises(NotRevealedError, match="first opinion before the final"):
        amend(sessions, reader, MALIGNANT)
    assert count_reads(sessions) == 0


def test_a_final_read_points_at_every_prediction_it_saw(sessions: Sessions) -> None:
    reader = revealed_case(sessions, images=3)
    read = final(sessions, reader)
    assert read.model_visible
    assert read.supersedes is None
    with sessions.read() as session:
        query = select(tables.ReadPrediction.prediction_id).where(tables.ReadPrediction.read_id == read.id)
        seen = session.scalars(query).all()
        row = session.get_one(tables.Read, read.id)
    assert len(seen) == 3
    assert row.shown_probability == pytest.approx(0.8)
    assert row.shown_threshold == 0.41


def test_contradicting_the_model_needs_a_reason_and_agreeing_does_not(sessions: Sessions) -> None:
    reader = revealed_case(sessions, malignant=0.8)
    with pytest.raises(ValueError, match="your opinion is benign, the model's is malignant: choose a reason"):
        final(sessions, reader, BENIGN)
    with pytest.raises(ValueError, match="unknown reason 'because'"):
        final(sessions, reader, replace(BENIGN, reason="because"))
    with pytest.raises(ValueError, match="describe the reason in the note"):
        final(sessions, reader, replace(BENIGN, reason="other", note="  "))
    assert final(sessions, reader, replace(BENIGN, reason="other", note="clip artefact")).model_visible


@pytest.mark.parametrize("opinion", [MALIGNANT, CANNOT_ASSESS, replace(MALIGNANT, vote=Vote.NO)])
def test_agreeing_or_not_assessing_needs_no_reason(sessions: Sessions, opinion: Opinion) -> None:
    reader = revealed_case(sessions, malignant=0.8)
    assert final(sessions, reader, opinion).opinion == opinion


def test_without_a_result_of_the_model_there_is_nothing_to_contradict(sessions: Sessions) -> None:
    with sessions.begin() as session:
        account_id = make_reader(session)
        reader = Reader(account_id, make_case(session, account_id))
    first(sessions, reader)
    read = final(sessions, reader, BENIGN)
    assert not read.model_visible
    analyse_all(sessions, 0.9)
    assert final(sessions, reader, BENIGN) == read


def test_a_result_that_came_after_the_page_was_drawn_was_not_seen(sessions: Sessions) -> None:
    reader = revealed_case(sessions, malignant=0.9)
    with sessions.begin() as session:
        read = store.reads.record_final_read(
            session, reader.case_id, reader.account_id, BENIGN, OPENED, seen=OnScreen()
        )
    assert not read.model_visible


@pytest.mark.parametrize("answer", [replace(BENIGN, vote=Vote.YES), replace(BENIGN, reason="quality")])
def test_a_first_read_cannot_answer_the_model(sessions: Sessions, answer: Opinion) -> None:
    reader = ready_case(sessions)
    with pytest.raises(ValueError, match="cannot have a reason or a vote"):
        first(sessions, reader, answer)


def test_a_case_without_images_cannot_be_read(sessions: Sessions) -> None:
    with sessions.begin() as session:
        account_id = make_reader(session)
        reader = Reader(account_id, make_case(session, account_id, images=0))
    with pytest.raises(ValueError, match="case C-0001 has no image"):
        first(sessions, reader)


def test_an_unknown_case_cannot_be_read(sessions: Sessions) -> None:
    with pytest.raises(UnknownCaseError, match="no case number 99"):
        first(sessions, Reader(1, 99))


def test_a_time_of_opening_without_a_time_zone_is_refused(sessions: Sessions) -> None:
    reader = ready_case(sessions)
    with sessions.begin() as session, pytest.raises(ValueError, match="needs a time zone"):
        store.reads.record_first_read(session, reader.case_id, reader.account_id, BENIGN, OPENED.replace(tzinfo=None))


def test_an_amendment_is_a_new_read_on_top_of_the_old_ones(sessions: Sessions) -> None:
    reader = revealed_case(sessions)
    with pytest.raises(ValueError, match="no final opinion on case C-0001 to amend"):
        amend(sessions, reader, MALIGNANT)
    one = final(sessions, reader)
    two = amend(sessions, reader, replace(BENIGN, reason="context"))
    three = amend(sessions, reader, CANNOT_ASSESS)
    assert (one.supersedes, two.supersedes, three.supersedes) == (None, one.id, two.id)
    assert amend(sessions, reader, CANNOT_ASSESS) == three
    with pytest.raises(ValueError, match="choose a reason"):
        amend(sessions, reader, BENIGN)
    with sessions.begin() as session:
        assert store.open_case.open_case(session, reader.case_id, reader.account_id).final_read == three
    assert count_reads(sessions) == 4


def test_an_amendment_of_an_opinion_amended_elsewhere_is_refused(sessions: Sessions) -> None:
    reader = revealed_case(sessions)
    one = final(sessions, reader)
    two = amend(sessions, reader, CANNOT_ASSESS, replaces=one.id)
    with pytest.raises(CaseChangedError, match="cannot assess"):
        amend(sessions, reader, replace(BENIGN, reason="quality"), replaces=one.id)
    assert amend(sessions, reader, MALIGNANT, replaces=two.id).supersedes == two.id


def test_amendments_at_once_form_one_chain(sessions: Sessions) -> None:
    reader = revealed_case(sessions)
    final(sessions, reader)
    made = at_once(8, lambda n: amend(sessions, reader, replace(MALIGNANT, note=f"version {n}")))
    assert len({read.supersedes for read in made if isinstance(read, Read)}) == 8


def test_every_step_of_a_read_is_on_the_audit_trail_once(sessions: Sessions) -> None:
    reader = ready_case(sessions)
    for step in (first, first, final, final):
        with sessions.begin() as session:
            store.open_case.open_case(session, reader.case_id, reader.account_id)
        step(sessions, reader)
    amend(sessions, reader, CANNOT_ASSESS)
    with sessions.read() as session:
        actions = [event.action for event in reversed(store.audit.audit_trail(session, subject="C-0001"))]
    assert actions == [
        "case added",
        "image added",
        "case opened",
        "first read saved",
        "case opened",
        "revealed",
        "final read saved",
        "case opened",
        "read amended",
    ]


def test_own_reads_are_the_same_however_few_come_at_once(sessions: Sessions, monkeypatch: pytest.MonkeyPatch) -> None:
    world = make_study_world(sessions, cases=3, readers=2)
    with sessions.begin() as session:
        for case_id in world.cases:
            for reader in world.readers:
                store.reads.record_first_read(session, case_id, reader, BENIGN, OPENED)
    monkeypatch.setattr(reads, "AT_ONCE", 2)
    with sessions.read() as session:
        own = store.reads.own_reads(session, world.reader)
        assert list(store.reads.each_own_read(session, world.reader)) == own
    assert [read.case_id for read in own] == list(world.cases)
