"""A final opinion can be taken back for a minute, as a row on top of it; nothing that was saved is changed."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from db import store, tables
from db.database import Sessions
from db.errors import CaseChangedError
from db.values.reading import CaseState, Opinion, Read, Stage
from tests.helpers.concurrency import at_once
from tests.helpers.rows import BENIGN, MALIGNANT, OPENED
from tests.helpers.world import Reader, make_reader, revealed_case


def final(sessions: Sessions, reader: Reader, opinion: Opinion = MALIGNANT) -> Read:
    with sessions.begin() as session:
        return store.reads.record_final_read(
            session, reader.case_id, reader.account_id, opinion, OPENED, edit_seconds=2.5
        )


def withdraw(sessions: Sessions, read_id: int, account_id: int) -> Read:
    with sessions.begin() as session:
        return store.reads.withdraw_read(session, read_id, account_id)


def own_reads(sessions: Sessions, reader: Reader) -> list[Read]:
    with sessions.read() as session:
        return store.reads.own_reads(session, reader.account_id, case_id=reader.case_id)


def test_a_final_read_taken_back_stays_and_the_case_can_be_finished_again(sessions: Sessions) -> None:
    reader = revealed_case(sessions)
    one = final(sessions, reader)
    taken = withdraw(sessions, one.id, reader.account_id)
    assert (taken.stage, taken.supersedes, taken.opinion) == (Stage.WITHDRAWN, one.id, Opinion(None, None))
    with sessions.begin() as session:
        view = store.open_case.open_case(session, reader.case_id, reader.account_id)
    assert (view.state, view.final_read) == (CaseState.REVEALED, None)
    assert view.first_read is not None
    assert view.reveal is not None
    two = final(sessions, reader, replace(BENIGN, reason="context"))
    assert two.supersedes == taken.id
    assert [read.stage for read in own_reads(sessions, reader)] == [
        Stage.FIRST,
        Stage.FINAL,
        Stage.WITHDRAWN,
        Stage.FINAL,
    ]
    assert own_reads(sessions, reader)[1] == one
    with sessions.read() as session:
        actions = [event.action for event in store.audit.audit_trail(session, subject="C-0001")]
    saved = [action for action in reversed(actions) if action.startswith(("first", "final", "read"))]
    assert saved == ["first read saved", "final read saved", "read withdrawn", "final read saved"]


def test_the_same_words_may_be_saved_again_after_they_were_taken_back(sessions: Sessions) -> None:
    reader = revealed_case(sessions)
    one = final(sessions, reader)
    withdraw(sessions, one.id, reader.account_id)
    two = final(sessions, reader)
    assert two.id != one.id
    assert (two.opinion, two.edit_seconds) == (one.opinion, 2.5)


def test_a_read_is_taken_back_once_and_only_by_its_reader(sessions: Sessions) -> None:
    reader = revealed_case(sessions)
    with sessions.begin() as session:
        stranger = make_reader(session, "dr. b")
    one = final(sessions, reader)
    with pytest.raises(CaseChangedError, match="no final opinion of yours"):
        withdraw(sessions, one.id, stranger)
    withdraw(sessions, one.id, reader.account_id)
    with pytest.raises(CaseChangedError, match="already withdrawn"):
        withdraw(sessions, one.id, reader.account_id)


def test_ten_presses_at_once_take_it_back_once(sessions: Sessions) -> None:
    reader = revealed_case(sessions)
    one = final(sessions, reader)
    answers = at_once(10, lambda _: withdraw(sessions, one.id, reader.account_id))
    assert [type(answer) for answer in answers].count(Read) == 1
    assert {type(answer) for answer in answers} == {Read, CaseChangedError}


def test_a_first_read_cannot_be_taken_back_because_the_model_was_shown(sessions: Sessions) -> None:
    reader = revealed_case(sessions)
    (first,) = own_reads(sessions, reader)
    with pytest.raises(CaseChangedError, match="no final opinion of yours"):
        withdraw(sessions, first.id, reader.account_id)


@pytest.mark.parametrize(("seconds", "refused"), [(61, True), (50, False)])
def test_after_the_grace_time_a_read_is_amended_instead(sessions: Sessions, seconds: int, refused: bool) -> None:
    reader = revealed_case(sessions)
    with sessions.begin() as session:
        row = tables.Read(
            case_id=reader.case_id,
            account_id=reader.account_id,
            stage=Stage.FINAL,
            label="malignant",
            confidence=3,
            note="",
            model_visible=False,
            opened_at=OPENED,
            saved_at=datetime.now(UTC) - timedelta(seconds=seconds),
        )
        session.add(row)
        session.flush()
        read_id = row.id
    if refused:
        with pytest.raises(CaseChangedError, match="only for 60 seconds: amend it instead"):
            withdraw(sessions, read_id, reader.account_id)
    else:
        assert withdraw(sessions, read_id, reader.account_id).supersedes == read_id


def test_an_amended_read_is_no_longer_the_one_to_take_back(sessions: Sessions) -> None:
    reader = revealed_case(sessions)
    one = final(sessions, reader)
    with sessions.begin() as session:
        said = replace(MALIGNANT, note="second thoughts")
        store.reads.amend_read(session, reader.case_id, reader.account_id, said, OPENED, replaces=one.id)
    with pytest.raises(CaseChangedError, match="already withdrawn or replaced"):
        withdraw(sessions, one.id, reader.account_id)
