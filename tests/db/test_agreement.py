"""Readings leave the store only for the cases that the one who asks has finished."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import event, select

from core.results import Reading
from db import store, tables
from db.database import Sessions
from db.values.reading import OnScreen, Opinion, Vote
from tests.helpers.rows import BENIGN, MALIGNANT, MODEL, OPENED, sign_off_row, study_rows
from tests.helpers.world import add_sign_in, analyse_all, make_case, make_reader


@pytest.fixture
def three_cases(sessions: Sessions) -> tuple[int, int, list[int]]:
    """Make two readers and three analysed cases that the model calls malignant."""
    with sessions.begin() as session:
        one, other = make_reader(session, "dr. a"), make_reader(session, "dr. b")
        cases = [make_case(session, one, magnification=power) for power in ("40X", "100X", None)]
    analyse_all(sessions, 0.8)
    return one, other, cases


def first(sessions: Sessions, case_id: int, account_id: int, opinion: Opinion = BENIGN) -> None:
    with sessions.begin() as session:
        store.reads.record_first_read(session, case_id, account_id, opinion, OPENED)


def final(sessions: Sessions, case_id: int, account_id: int, opinion: Opinion = MALIGNANT) -> None:
    with sessions.begin() as session:
        store.reads.record_final_read(session, case_id, account_id, opinion, OPENED)


def given(sessions: Sessions, account_id: int) -> list[Reading]:
    """Return the readings that the page of agreement shows, which ends Undo."""
    with sessions.begin() as session:
        store.reads.end_undo(session, account_id)
    with sessions.read() as session:
        return store.agreement.finished_readings(session, account_id)


def labels(sessions: Sessions, account_id: int) -> dict[int, str]:
    """Return the reference labels of the page."""
    with sessions.begin() as session:
        store.reads.end_undo(session, account_id)
    with sessions.read() as session:
        return dict(store.adjudication.adjudicated_labels(session, account_id).labels)


def references(sessions: Sessions, account_id: int, study_id: int | None = None) -> list[str | None]:
    """Return the reference labels of a reader's export of their own reads."""
    with sessions.begin() as session:
        if not store.accounts.has_accounts(session):
            for account in session.scalars(select(tables.Account.id)).all():
                add_sign_in(session, account)
    with sessions.read() as session:
        export = store.exports.exported_reads(session, account_id, study_id=study_id)
    return [case.reference.label for case in export.cases if case.reference]


def test_of_a_case_that_is_not_finished_nothing_is_given(
    sessions: Sessions, three_cases: tuple[int, int, list[int]]
) -> None:
    one, other, (finished, begun, unread) = three_cases
    for case_id in (finished, begun, unread):
        first(sessions, case_id, other)
        final(sessions, case_id, other)
    assert given(sessions, one) == []
    first(sessions, finished, one)
    first(sessions, begun, one)
    assert given(sessions, one) == [], "a first read opens the model to this reader, and the others only when final"
    final(sessions, finished, one)
    assert [(reading.case_id, reading.reader) for reading in given(sessions, one)] == [
        (finished, "dr. a"),
        (finished, "dr. b"),
    ]
    assert len(given(sessions, other)) == 5, "the other reader has finished them all"


def test_a_reading_holds_both_reads_and_what_the_model_said(
    sessions: Sessions, three_cases: tuple[int, int, list[int]]
) -> None:
    one, _, (case_id, *_) = three_cases
    with sessions.begin() as session:
        opened = datetime.now(UTC) - timedelta(seconds=30)
        store.reads.record_first_read(session, case_id, one, BENIGN, opened)
        store.reads.record_final_read(session, case_id, one, replace(MALIGNANT, vote=Vote.YES), opened)
    (found,) = given(sessions, one)
    assert (found.magnification, found.demonstration, found.iteration) == ("40X", False, 1)
    assert (found.first.label, found.first.confidence, found.first.model) == ("benign", 4, None)
    assert found.first.seconds == pytest.approx(30, abs=10)
    assert found.final == found.standing
    assert found.final is not None
    assert (found.final.label, found.final.confidence, found.final.model) == ("malignant", 2, "malignant")
    assert (found.vote, found.model_version) == ("yes", MODEL.version)


def test_an_amendment_changes_what_stands_and_makes_no_new_reading(
    sessions: Sessions, three_cases: tuple[int, int, list[int]]
) -> None:
    one, _, (case_id, *_) = three_cases
    first(sessions, case_id, one)
    final(sessions, case_id, one)
    for opinion in (replace(BENIGN, reason="quality"), Opinion(None, None), replace(BENIGN, reason="context")):
        with sessions.begin() as session:
            store.reads.amend_read(session, case_id, one, opinion, OPENED)
    (found,) = given(sessions, one)
    assert (found.final and found.final.label, found.standing and found.standing.label) == ("malignant", "benign")


def test_a_reader_who_has_only_begun_is_there_with_the_first_read(
    sessions: Sessions, three_cases: tuple[int, int, list[int]]
) -> None:
    one, other, (case_id, *_) = three_cases
    first(sessions, case_id, other, MALIGNANT)
    first(sessions, case_id, one)
    final(sessions, case_id, one)
    theirs = given(sessions, one)[1]
    assert (theirs.reader, theirs.first.label, theirs.final) == ("dr. b", "malignant", None)


def test_a_final_read_without_a_result_has_no_model(sessions: Sessions) -> None:
    with sessions.begin() as session:
        reader = make_reader(session)
        case_id = make_case(session, reader)
        store.reads.record_first_read(session, case_id, reader, BENIGN, OPENED)
        store.reads.record_final_read(session, case_id, reader, BENIGN, OPENED)
    (found,) = given(sessions, reader)
    assert found.final is not None
    assert (found.final.model, found.model_version) == (None, None)


def test_a_case_that_was_read_in_a_study_only_tells_nothing_of_what_others_said_in_routine(
    sessions: Sessions, three_cases: tuple[int, int, list[int]]
) -> None:
    one, other, (case_id, *_) = three_cases
    first(sessions, case_id, other)
    final(sessions, case_id, other)
    with sessions.begin() as session:
        session.add_all(study_rows(case_id, one, other))
        session.flush()
        store.study_reading.record_study_read(session, 1, one, BENIGN, OPENED)
    with sessions.begin() as session:
        store.study_reading.record_study_read(session, 1, one, MALIGNANT, OPENED, seen=OnScreen())
        session.get_one(tables.Study, 1).closed_at = OPENED
        session.add_all(sign_off_row(case_id, other, version) for version in (1, 2))
    assert given(sessions, one) == []
    assert labels(sessions, one) == {}
    assert references(sessions, one) == []
    assert references(sessions, one, study_id=1) == [], "the reference label is what others said, too"
    assert labels(sessions, other) == {case_id: "benign"}


def test_who_has_no_last_word_does_not_learn_the_label_of_the_sign_off(
    sessions: Sessions, three_cases: tuple[int, int, list[int]]
) -> None:
    one, other, (case_id, *_) = three_cases
    first(sessions, case_id, one)
    first(sessions, case_id, other)
    final(sessions, case_id, other)
    with sessions.begin() as session:
        session.add(sign_off_row(case_id, other))
    assert (given(sessions, one), labels(sessions, one), references(sessions, one)) == ([], {}, [])
    with sessions.read() as session:
        view = store.sign_offs.sign_offs_of(session, case_id, one)
    assert (view.versions, view.consensus, view.proposed) == ((), None, None)
    assert labels(sessions, other) == {case_id: "benign"}
    assert references(sessions, other) == ["benign"]


def test_all_readings_come_in_one_query_by_the_indexes(
    sessions: Sessions, three_cases: tuple[int, int, list[int]]
) -> None:
    one, other, cases = three_cases
    for reader in (one, other):
        for case_id in cases:
            first(sessions, case_id, reader)
            final(sessions, case_id, reader)
    assert len(given(sessions, one)) == 6
    asked: list[tuple[str, object]] = []
    with sessions.read() as session:
        engine = session.get_bind()

        def note(_c: object, _k: object, statement: str, parameters: object, *_: object) -> None:
            if "FROM reads JOIN" in statement:  # the readings, not whether one can be withdrawn
                asked.append((statement, parameters))

        event.listen(engine, "before_cursor_execute", note)
        assert len(store.agreement.finished_readings(session, one)) == 6
        event.remove(engine, "before_cursor_execute", note)
        assert len(asked) == 1
        if sessions.dialect == "sqlite":
            statement, parameters = asked[0]
            assert isinstance(parameters, tuple)
            plan = session.connection().exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
            assert not [row for row in plan if "SCAN reads" in row[-1] or "SCAN read_predictions" in row[-1]]
