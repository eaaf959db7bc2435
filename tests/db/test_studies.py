"""Studies as their planner makes, sees and closes them."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from core.results import Analysis
from db import store, tables
from db.database import Sessions
from db.errors import CaseChangedError, NotAllowedError, UnknownCaseError
from db.values.accounts import Role
from db.values.studies import CaseChoice, StudyRow
from tests.helpers.concurrency import at_once
from tests.helpers.rows import BENIGN, CROSSOVER, OPENED, QUALITY, stored_image
from tests.helpers.world import World, analyse_all, make_case, make_study_world

_PASSWORD = "a long sentence about trees"


def found(world: World) -> list[StudyRow]:
    """Give the studies of this planner, oldest first."""
    with world.sessions.read() as session:
        mine = f"planner {world.number}"
        return [one for one in reversed(store.studies.studies(session, world.planner)) if one.created_by == mine]


def test_a_case_without_a_result_cannot_be_in_a_study_and_one_signed_out_can(shared_sessions: Sessions) -> None:
    world = make_study_world(shared_sessions, cases=3)
    with shared_sessions.begin() as session:
        unreadable = make_case(session, world.planner)
    analyse_all(shared_sessions, result=Analysis(460, 700, QUALITY, None, reason="no tissue"))
    with shared_sessions.begin() as session:
        waiting = make_case(session, world.planner)
        session.add(
            tables.SignOff(
                case_id=world.cases[0],
                version=1,
                account_id=world.planner,
                label="benign",
                note="",
                why="",
                saved_at=OPENED,
            )
        )
    plan = replace(world.plan_study(), case_ids=(*world.cases, unreadable, waiting))
    with pytest.raises(ValueError, match=r"C-\d+ is unreadable.*; C-\d+ is still being analysed: leave them out"):
        world.make_study(plan)
    assert found(world) == []
    with shared_sessions.read() as session:
        obstacles = store.studies.preview_study(session, world.planner, plan).obstacles
    assert [one.case_id for one in obstacles] == [unreadable, waiting]
    world.make_study(plan.without(obstacles))
    assert [one.total for one in found(world)] == [3]


def test_a_case_that_a_reader_has_read_in_routine_is_named_and_can_be_left_out(shared_sessions: Sessions) -> None:
    world = make_study_world(shared_sessions, cases=9, readers=2)
    with shared_sessions.begin() as session:
        for case in world.cases[:7]:
            store.reads.record_first_read(session, case, world.readers[1], BENIGN, OPENED)
    plan = world.plan_study()
    with pytest.raises(ValueError, match=r"C-\d+ was read in routine reading by dr\. b \d+, .*; and 2 more cases"):
        world.make_study(plan)
    world.make_study(replace(plan, reader_ids=world.readers[:1], name=f"alone {world.number}"))
    with shared_sessions.read() as session:
        obstacles = store.studies.preview_study(session, world.planner, plan).obstacles
    # Those of dr. a are in the study of before by now.
    assert [one.case_id for one in obstacles] == list(world.cases)
    assert obstacles[8].why == f"is already part of the open study alone {world.number} for dr. a {world.number}"


def test_a_case_in_an_open_study_of_a_reader_is_free_again_when_it_is_closed(shared_sessions: Sessions) -> None:
    world = make_study_world(shared_sessions, readers=2)
    first = world.make_study(replace(world.plan_study(), reader_ids=world.readers[:1]))
    world.make_study(replace(world.plan_study(), reader_ids=world.readers[1:], name=f"other reader {world.number}"))
    with pytest.raises(ValueError, match=r"already part of the open study pilot \d+ for dr\. a"):
        world.make_study(world.plan_study(name=f"another {world.number}"))
    world.close_study(first)
    world.make_study(replace(world.plan_study(), reader_ids=world.readers[:1], name=f"another {world.number}"))


def test_a_name_is_given_once_and_nothing_is_left_of_a_study_that_was_refused(shared_sessions: Sessions) -> None:
    world = make_study_world(shared_sessions, cases=2)
    study = world.make_study(replace(world.plan_study(), case_ids=world.cases[:1]))
    with pytest.raises(ValueError, match=f"already a study {world.study_name}"):
        world.make_study(replace(world.plan_study(), case_ids=world.cases[1:]))
    with pytest.raises(ValueError, match="no case number 1000000"):
        world.make_study(replace(world.plan_study(name=f"other {world.number}"), case_ids=(10**6,)))
    with shared_sessions.read() as session:
        places = select(tables.StudyPlace.study_id).where(tables.StudyPlace.account_id == world.readers[0])
        assert session.scalars(places).all() == [study]


def test_only_those_who_may_read_and_sign_in_are_readers(sessions: Sessions) -> None:
    world = make_study_world(sessions)
    with sessions.begin() as session:
        made = {
            role: store.accounts.add_signing_account(session, None, f"the {role}", role, _PASSWORD).id for role in Role
        }
        gone = store.accounts.add_signing_account(session, None, "gone", Role.READER, _PASSWORD).id
        store.accounts.set_disabled(session, None, "gone", disabled=True)
    able = (made[Role.READER], made[Role.ADJUDICATOR])
    planner = made[Role.ADMINISTRATOR]
    with sessions.begin() as session:
        assert [one.id for one in store.studies.study_readers(session, planner)] == [able[1], able[0]]
        for unable in (made[Role.RESEARCHER], planner, gone, world.readers[0], 999):
            with pytest.raises(ValueError, match="only readers and adjudicators"):
                store.studies.make_study(session, planner, replace(world.plan_study(), reader_ids=(able[0], unable)))
        study = store.studies.make_study(session, planner, replace(world.plan_study(), reader_ids=able))
    for role in set(Role) - {Role.ADMINISTRATOR}:
        by = made[role]
        asked: list[Callable[[Session], object]] = [
            partial(store.studies.make_study, account_id=by, plan=world.plan_study()),
            partial(store.studies.close_study, account_id=by, study_id=study),
            partial(store.studies.studies, account_id=by),
            partial(store.studies.study_readers, account_id=by),
            partial(store.studies.cases_for_study, account_id=by, filters=CaseChoice()),
            partial(store.studies.find_cases, account_id=by, accessions=["C-0001"]),
            partial(store.studies.preview_study, account_id=by, plan=world.plan_study()),
        ]
        with sessions.begin() as session:
            for refused in asked:
                with pytest.raises(NotAllowedError):
                    refused(session)


def test_the_planner_sees_how_far_readers_are_and_nothing_of_what_they_say(shared_sessions: Sessions) -> None:
    world = make_study_world(shared_sessions, cases=2, readers=2)
    study = world.make_study(world.plan_study(CROSSOVER, washout_days=30))
    world.finish_place(study)
    world.finish_place(study)
    world.finish_place(study, world.readers[1])
    (row,) = found(world)
    assert (row.done, row.total, row.closed_at, row.created_by) == (3, 8, None, f"planner {world.number}")
    assert [(part.reader, part.round, part.done, part.of) for part in row.progress] == [
        (f"dr. a {world.number}", 1, 2, 2),
        (f"dr. a {world.number}", 2, 0, 2),
        (f"dr. b {world.number}", 1, 1, 2),
        (f"dr. b {world.number}", 2, 0, 2),
    ]
    assert "malignant" not in str(row)


def test_a_study_is_closed_once_and_by_its_number(shared_sessions: Sessions) -> None:
    world = make_study_world(shared_sessions)
    study = world.make_study(world.plan_study())
    world.close_study(study)
    with pytest.raises(CaseChangedError, match=f"{world.study_name} was already closed on 20"):
        world.close_study(study)
    with pytest.raises(UnknownCaseError, match="no study number 1000000"):
        world.close_study(10**6)
    with shared_sessions.read() as session:
        assert session.get_one(tables.Study, study).closed_at is not None


def test_making_and_closing_is_on_the_audit_trail_with_the_rows_that_were_made(shared_sessions: Sessions) -> None:
    world = make_study_world(shared_sessions)
    study = world.make_study(world.plan_study())
    world.close_study(study)
    with shared_sessions.read() as session:
        closed, made = store.audit.audit_trail(session, subject=world.study_name)
    assert (made.action, made.account, closed.action) == ("study made", f"planner {world.number}", "study closed")


def test_of_planners_who_want_the_same_case_for_a_reader_one_gets_it(shared_sessions: Sessions) -> None:
    world = make_study_world(shared_sessions, cases=4)
    backwards = replace(world.plan_study(), case_ids=world.cases[::-1])
    made = at_once(
        6,
        lambda n: world.make_study(
            replace(backwards if n % 2 else world.plan_study(), name=f"study {n} of {world.number}")
        ),
    )
    assert sum(isinstance(one, int) for one in made) == 1, made
    refused = [one for one in made if not isinstance(one, int)]
    assert all("already part of the open study" in str(one) for one in refused)


def test_a_study_and_a_routine_read_at_once_never_both_get_the_case(shared_sessions: Sessions) -> None:
    world = make_study_world(shared_sessions, cases=6)

    def race(number: int) -> object:
        case = world.cases[number // 2]
        if number % 2:
            return world.make_study(
                replace(world.plan_study(name=f"study {number} of {world.number}"), case_ids=(case,))
            )
        with shared_sessions.begin() as session:
            return store.reads.record_first_read(session, case, world.readers[0], BENIGN, OPENED)

    ends = at_once(12, race)
    for number in range(0, 12, 2):
        assert sum(isinstance(one, Exception) for one in ends[number : number + 2]) == 1


def test_cases_are_chosen_by_what_is_known_of_them_without_the_model(sessions: Sessions) -> None:
    world = make_study_world(sessions, cases=2)
    with sessions.begin() as session:
        other = make_case(session, world.planner, magnification="400X")
        store.cases.add_case(session, world.planner, accession="no image", magnification="100X")
        demo = store.cases.add_case(session, world.planner, accession="made", magnification="100X", demonstration=True)
        store.cases.add_image(session, demo, stored_image("demo"))
    now = datetime.now(UTC)
    with sessions.read() as session:

        def chosen(**wanted: object) -> tuple[int, ...]:
            return store.studies.cases_for_study(session, world.planner, CaseChoice(**wanted))  # type: ignore[arg-type]

        assert chosen() == (*world.cases, other, demo)
        assert chosen(magnification="400X") == (other,)
        assert chosen(demonstration=True) == (demo,)
        assert chosen(demonstration=False) == (*world.cases, other)
        assert chosen(since=now - timedelta(days=1), until=now) == chosen()
        assert chosen(since=now) == chosen(until=now - timedelta(days=1)) == ()
        assert store.studies.find_cases(session, world.planner, ["C-0002", "nowhere", "C-0001"]) == [
            world.cases[1],
            None,
            world.cases[0],
        ]
        with pytest.raises(ValueError, match="at most 5000"):
            store.studies.find_cases(session, world.planner, ["C-0001"] * 5_001)


def test_more_cases_than_a_study_may_have_are_refused_before_they_are_listed(
    sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = make_study_world(sessions, cases=3)
    monkeypatch.setattr(store.studies, "MOST_CASES", 3)
    with sessions.read() as session:
        assert store.studies.cases_for_study(session, world.planner, CaseChoice()) == world.cases
        monkeypatch.setattr(store.studies, "MOST_CASES", 2)
        with pytest.raises(ValueError, match="more than 2 cases match"):
            store.studies.cases_for_study(session, world.planner, CaseChoice())


def test_the_single_reader_plans_and_reads_alone(shared_sessions: Sessions) -> None:
    world = make_study_world(shared_sessions)
    with shared_sessions.begin() as session:
        alone = store.accounts.single_reader(session)
        assert alone in store.studies.study_readers(session, alone.id)
        study = store.studies.make_study(session, alone.id, replace(world.plan_study(), reader_ids=(alone.id,)))
        assert store.study_reading.open_place(session, study, alone.id).case is not None
