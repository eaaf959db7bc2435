"""Studies as their planner makes, sees and closes them."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from core.results import Analysis
from db import store
from db.errors import CaseChangedError, NotAllowedError, UnknownCaseError
from db.reading_models import SignOff, Study, StudyPlace
from db.session import Sessions
from db.study_values import CaseChoice, StudyRow
from db.values import Role
from tests.helpers.stored import BENIGN, OPENED, QUALITY, analyse_all, at_once, make_case, stored_image
from tests.helpers.studied import CROSSOVER, Ward, own_sessions, sessions, ward

__all__ = ["own_sessions", "sessions"]

_PASSWORD = "a long sentence about trees"


def found(room: Ward) -> list[StudyRow]:
    """Give the studies of this planner, oldest first."""
    with room.sessions.read() as session:
        mine = f"planner {room.number}"
        return [one for one in reversed(store.studies(session, room.planner)) if one.created_by == mine]


def test_a_case_without_a_result_cannot_be_in_a_study_and_one_signed_out_can(sessions: Sessions) -> None:
    room = ward(sessions, cases=3)
    with sessions.begin() as session:
        unreadable = make_case(session, room.planner)
    analyse_all(sessions, result=Analysis(460, 700, QUALITY, None, reason="no tissue"))
    with sessions.begin() as session:
        waiting = make_case(session, room.planner)
        session.add(
            SignOff(
                case_id=room.cases[0],
                version=1,
                account_id=room.planner,
                label="benign",
                note="",
                why="",
                saved_at=OPENED,
            )
        )
    plan = replace(room.plan(), case_ids=(*room.cases, unreadable, waiting))
    with pytest.raises(ValueError, match=r"C-\d+ is unreadable.*; C-\d+ is still being analysed: leave them out"):
        room.make(plan)
    assert found(room) == []
    with sessions.read() as session:
        obstacles = store.preview_study(session, room.planner, plan).obstacles
    assert [one.case_id for one in obstacles] == [unreadable, waiting]
    room.make(plan.without(obstacles))
    assert [one.total for one in found(room)] == [3]


def test_a_case_that_a_reader_has_read_in_routine_is_named_and_can_be_left_out(sessions: Sessions) -> None:
    room = ward(sessions, cases=9, readers=2)
    with sessions.begin() as session:
        for case in room.cases[:7]:
            store.record_first_read(session, case, room.readers[1], BENIGN, OPENED)
    plan = room.plan()
    with pytest.raises(ValueError, match=r"C-\d+ was read by dr\. b \d+ in routine.*; and 2 more cases"):
        room.make(plan)
    room.make(replace(plan, reader_ids=room.readers[:1], name=f"alone {room.number}"))
    with sessions.read() as session:
        obstacles = store.preview_study(session, room.planner, plan).obstacles
    # Those of dr. a are in the study of before by now.
    assert [one.case_id for one in obstacles] == list(room.cases)
    assert obstacles[8].why == f"is already in the open study alone {room.number} for dr. a {room.number}"


def test_a_case_in_an_open_study_of_a_reader_is_free_again_when_it_is_closed(sessions: Sessions) -> None:
    room = ward(sessions, readers=2)
    first = room.make(replace(room.plan(), reader_ids=room.readers[:1]))
    room.make(replace(room.plan(), reader_ids=room.readers[1:], name=f"other reader {room.number}"))
    with pytest.raises(ValueError, match=r"already in the open study pilot \d+ for dr\. a"):
        room.make(room.plan(name=f"another {room.number}"))
    room.close(first)
    room.make(replace(room.plan(), reader_ids=room.readers[:1], name=f"another {room.number}"))


def test_a_name_is_given_once_and_nothing_is_left_of_a_study_that_was_refused(sessions: Sessions) -> None:
    room = ward(sessions, cases=2)
    study = room.make(replace(room.plan(), case_ids=room.cases[:1]))
    with pytest.raises(ValueError, match=f"already a study {room.name}"):
        room.make(replace(room.plan(), case_ids=room.cases[1:]))
    with pytest.raises(ValueError, match="no case number 1000000"):
        room.make(replace(room.plan(name=f"other {room.number}"), case_ids=(10**6,)))
    with sessions.read() as session:
        places = select(StudyPlace.study_id).where(StudyPlace.account_id == room.readers[0])
        assert session.scalars(places).all() == [study]


def test_only_those_who_may_read_and_sign_in_are_readers(own_sessions: Sessions) -> None:
    room = ward(own_sessions)
    with own_sessions.begin() as session:
        made = {role: store.add_signing_account(session, None, f"the {role}", role, _PASSWORD).id for role in Role}
        gone = store.add_signing_account(session, None, "gone", Role.READER, _PASSWORD).id
        store.set_disabled(session, None, "gone", disabled=True)
    able = (made[Role.READER], made[Role.ADJUDICATOR])
    planner = made[Role.ADMINISTRATOR]
    with own_sessions.begin() as session:
        assert [one.id for one in store.study_readers(session, planner)] == [able[1], able[0]]
        for unable in (made[Role.RESEARCHER], planner, gone, room.readers[0], 999):
            with pytest.raises(ValueError, match="only readers and adjudicators"):
                store.make_study(session, planner, replace(room.plan(), reader_ids=(able[0], unable)))
        study = store.make_study(session, planner, replace(room.plan(), reader_ids=able))
    for role in set(Role) - {Role.ADMINISTRATOR}:
        by = made[role]
        asked: list[Callable[[Session], object]] = [
            partial(store.make_study, account_id=by, plan=room.plan()),
            partial(store.close_study, account_id=by, study_id=study),
            partial(store.studies, account_id=by),
            partial(store.study_readers, account_id=by),
            partial(store.cases_for_study, account_id=by, wanted=CaseChoice()),
            partial(store.cases_named, account_id=by, accessions=["C-0001"]),
            partial(store.preview_study, account_id=by, plan=room.plan()),
        ]
        with own_sessions.begin() as session:
            for refused in asked:
                with pytest.raises(NotAllowedError):
                    refused(session)


def test_the_planner_sees_how_far_readers_are_and_nothing_of_what_they_say(sessions: Sessions) -> None:
    room = ward(sessions, cases=2, readers=2)
    study = room.make(room.plan(CROSSOVER, washout_days=30))
    room.finish(study)
    room.finish(study)
    room.finish(study, room.readers[1])
    (row,) = found(room)
    assert (row.done, row.total, row.closed_at, row.created_by) == (3, 8, None, f"planner {room.number}")
    assert [(part.reader, part.round, part.done, part.of) for part in row.progress] == [
        (f"dr. a {room.number}", 1, 2, 2),
        (f"dr. a {room.number}", 2, 0, 2),
        (f"dr. b {room.number}", 1, 1, 2),
        (f"dr. b {room.number}", 2, 0, 2),
    ]
    assert "malignant" not in str(row)


def test_a_study_is_closed_once_and_by_its_number(sessions: Sessions) -> None:
    room = ward(sessions)
    study = room.make(room.plan())
    room.close(study)
    with pytest.raises(CaseChangedError, match=f"{room.name} was already closed on 20"):
        room.close(study)
    with pytest.raises(UnknownCaseError, match="no study number 1000000"):
        room.close(10**6)
    with sessions.read() as session:
        assert session.get_one(Study, study).closed_at is not None


def test_making_and_closing_is_on_the_audit_trail_with_the_rows_that_were_made(sessions: Sessions) -> None:
    room = ward(sessions)
    study = room.make(room.plan())
    room.close(study)
    with sessions.read() as session:
        closed, made = store.audit_trail(session, subject=room.name)
    assert (made.action, made.account, closed.action) == ("study made", f"planner {room.number}", "study closed")


def test_of_planners_who_want_the_same_case_for_a_reader_one_gets_it(sessions: Sessions) -> None:
    room = ward(sessions, cases=4)
    backwards = replace(room.plan(), case_ids=room.cases[::-1])
    made = at_once(
        6, lambda n: room.make(replace(backwards if n % 2 else room.plan(), name=f"study {n} of {room.number}"))
    )
    assert sum(isinstance(one, int) for one in made) == 1, made
    refused = [one for one in made if not isinstance(one, int)]
    assert all("already in the open study" in str(one) for one in refused)


def test_a_study_and_a_routine_read_at_once_never_both_get_the_case(sessions: Sessions) -> None:
    room = ward(sessions, cases=6)

    def race(number: int) -> object:
        case = room.cases[number // 2]
        if number % 2:
            return room.make(replace(room.plan(name=f"study {number} of {room.number}"), case_ids=(case,)))
        with sessions.begin() as session:
            return store.record_first_read(session, case, room.readers[0], BENIGN, OPENED)

    ends = at_once(12, race)
    for number in range(0, 12, 2):
        assert sum(isinstance(one, Exception) for one in ends[number : number + 2]) == 1


def test_cases_are_chosen_by_what_is_known_of_them_without_the_model(own_sessions: Sessions) -> None:
    room = ward(own_sessions, cases=2)
    with own_sessions.begin() as session:
        other = make_case(session, room.planner, magnification="400X")
        store.add_case(session, room.planner, accession="no image", magnification="100X")
        demo = store.add_case(session, room.planner, accession="made", magnification="100X", demonstration=True)
        store.add_image(session, demo, stored_image("demo"))
    now = datetime.now(UTC)
    with own_sessions.read() as session:

        def chosen(**wanted: object) -> tuple[int, ...]:
            return store.cases_for_study(session, room.planner, CaseChoice(**wanted))  # type: ignore[arg-type]

        assert chosen() == (*room.cases, other, demo)
        assert chosen(magnification="400X") == (other,)
        assert chosen(demonstration=True) == (demo,)
        assert chosen(demonstration=False) == (*room.cases, other)
        assert chosen(since=now - timedelta(days=1), until=now) == chosen()
        assert chosen(since=now) == chosen(until=now - timedelta(days=1)) == ()
        assert store.cases_named(session, room.planner, ["C-0002", "nowhere", "C-0001"]) == [
            room.cases[1],
            None,
            room.cases[0],
        ]
        with pytest.raises(ValueError, match="at most 5000"):
            store.cases_named(session, room.planner, ["C-0001"] * 5_001)


def test_the_single_reader_plans_and_reads_alone(sessions: Sessions) -> None:
    room = ward(sessions)
    with sessions.begin() as session:
        alone = store.single_reader(session)
        assert alone in store.study_readers(session, alone.id)
        study = store.make_study(session, alone.id, replace(room.plan(), reader_ids=(alone.id,)))
        assert store.open_place(session, study, alone.id).case is not None
