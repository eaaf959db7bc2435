"""Reading in a study: one case after the other, never back, a rest between rounds, and many at once."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select

from db import store, tables
from db.audit.verify import verify
from db.database import Sessions
from db.errors import CaseChangedError, InStudyError, NotAllowedError, UnknownCaseError
from db.values.accounts import Role
from db.values.reading import Arm, Opinion, Read, Stage
from tests.helpers.concurrency import at_once
from tests.helpers.rows import BENIGN, CROSSOVER, OPENED
from tests.helpers.stress import amount
from tests.helpers.world import make_study_world, place_of, predictions_shown

_PASSWORD = "a long sentence about trees"


def test_nobody_goes_back_skips_or_reads_in_the_place_of_another(shared_sessions: Sessions) -> None:
    world = make_study_world(shared_sessions, readers=2)
    study = world.make_study(world.plan_study((Arm.UNAIDED,)))
    past = place_of(world.finish_place(study))
    with pytest.raises(CaseChangedError, match=r"already saved \(malignant"):
        world.read_at_place(past, BENIGN)
    row = tables.StudyPlace
    with shared_sessions.read() as session:
        mine = session.scalars(select(row.id).where(row.account_id == world.readers[0]).order_by(row.position)).all()
        theirs = session.scalars(select(row.id).where(row.account_id == world.readers[1])).first()
    with pytest.raises(CaseChangedError, match="continued this study in another window"):
        world.read_at_place(mine[2])
    assert theirs is not None
    for wrong in (theirs, 10**6):
        with pytest.raises(UnknownCaseError, match="you have no study case number"):
            world.read_at_place(wrong)
    assert place_of(world.open_place(study)) == mine[1]
    assert world.count_reads() == 1


def test_one_submission_twice_is_one_read_even_when_the_study_has_gone_on(shared_sessions: Sessions) -> None:
    world = make_study_world(shared_sessions)
    study = world.make_study(world.plan_study())
    opened = world.open_place(study)
    first = world.read_at_place(place_of(opened))
    assert world.read_at_place(place_of(opened)) == first
    seen = predictions_shown(world.open_place(study))
    final = world.read_at_place(place_of(opened), seen=seen)
    assert final.stage is Stage.FINAL, "the same words on the second form are a read of their own"
    world.finish_place(study)
    world.close_study(study)
    assert world.read_at_place(place_of(opened), seen=seen) == final
    assert world.read_at_place(place_of(opened)) == first
    assert world.count_reads() == 4


def test_a_read_of_a_study_is_never_amended_or_taken_back(shared_sessions: Sessions) -> None:
    world = make_study_world(shared_sessions)
    study = world.make_study(world.plan_study())
    opened = world.finish_place(study)
    assert opened.case is not None
    with shared_sessions.read() as session:
        finals = select(tables.Read.id).where(
            tables.Read.stage == Stage.FINAL, tables.Read.account_id == world.readers[0]
        )
        final = session.scalars(finals).one()
    reader = world.readers[0]
    with shared_sessions.begin() as session:
        with pytest.raises(InStudyError, match="is part of the study pilot"):
            store.reads.amend_read(session, opened.case.id, reader, BENIGN, OPENED)
        with pytest.raises(CaseChangedError, match="no final opinion of yours to withdraw"):
            store.reads.withdraw_read(session, final, reader)
        with pytest.raises(InStudyError, match="read it there"):
            store.open_case.open_case(session, opened.case.id, reader)
        assert store.reads.own_reads(session, reader) == []
    world.close_study(study)
    with shared_sessions.begin() as session:
        with pytest.raises(CaseChangedError, match="no final opinion of yours to withdraw"):
            store.reads.withdraw_read(session, final, reader)
        assert len(store.reads.own_reads(session, reader)) == 2
        assert store.open_case.open_case(session, opened.case.id, reader).reveal is None


def test_a_round_begins_when_the_washout_is_over(shared_sessions: Sessions) -> None:
    world = make_study_world(shared_sessions, cases=2)
    study = world.make_study(world.plan_study(CROSSOVER, washout_days=28))
    world.backdate_round(study, days=27.99)
    rests = world.open_place(study)
    assert rests.case is None
    assert rests.study.rests_until is not None
    assert timedelta(0) < rests.study.rests_until - datetime.now(UTC) < timedelta(minutes=15)
    with pytest.raises(CaseChangedError, match=r"round 2 of the study pilot \d+ begins on 20\d\d-"):
        world.read_at_place(place_of(rests), seen=())
    assert not any(world.sees_heatmaps(case, world.readers[0]) for case in world.cases)
    with shared_sessions.read() as session:
        (own,) = store.study_reading.own_studies(session, world.readers[0])
    assert (own.done, own.total, own.rounds, own.rests_until) == (2, 4, 2, rests.study.rests_until)


def test_a_washout_that_is_over_holds_nobody_up(shared_sessions: Sessions) -> None:
    world = make_study_world(shared_sessions, cases=2)
    study = world.make_study(world.plan_study(CROSSOVER, washout_days=28))
    world.backdate_round(study, days=28.01)
    opened = world.finish_place(study)
    assert opened.study.place is not None
    assert (opened.study.place.round, opened.study.place.position) == (2, 1)
    assert world.finish_place(study).study.place is not None, "reads of this round begin no washout"


def test_the_washout_of_one_reader_is_not_that_of_another(shared_sessions: Sessions) -> None:
    world = make_study_world(shared_sessions, cases=1, readers=2)
    study = world.make_study(world.plan_study(CROSSOVER, washout_days=28))
    world.backdate_round(study, days=1)
    world.backdate_round(study, days=30, reader=world.readers[1])
    assert world.open_place(study).study.rests_until is not None
    assert world.open_place(study, world.readers[1]).case is not None


def test_nothing_is_read_in_a_closed_study_and_its_model_is_hidden_again(shared_sessions: Sessions) -> None:
    world = make_study_world(shared_sessions)
    study = world.make_study(world.plan_study())
    opened = world.open_place(study)
    world.read_at_place(place_of(opened))
    world.close_study(study)
    closed = world.open_place(study)
    assert (closed.case, closed.study.place) == (None, None)
    assert closed.study.closed_at is not None
    with pytest.raises(CaseChangedError, match=r"study pilot \d+ was closed on 20"):
        world.read_at_place(place_of(opened), seen=())
    assert not any(world.sees_heatmaps(case, world.readers[0]) for case in world.cases)


def test_only_readers_of_a_study_open_it(shared_sessions: Sessions) -> None:
    world = make_study_world(shared_sessions, readers=2)
    study = world.make_study(replace(world.plan_study(), reader_ids=world.readers[:1]))
    for wrong in (study, 10**6):
        with pytest.raises(UnknownCaseError, match="you are not a reader of study"):
            world.open_place(wrong, world.readers[1])
    with shared_sessions.read() as session:
        assert store.study_reading.own_studies(session, world.readers[1]) == []
        assert [store.study_reading.reads_in_studies(session, reader) for reader in world.readers] == [True, False]


def test_an_account_that_may_no_longer_read_reads_nowhere(sessions: Sessions) -> None:
    world = make_study_world(sessions)
    with sessions.begin() as session:
        planner = store.accounts.add_signing_account(session, None, "head", Role.ADMINISTRATOR, _PASSWORD).id
        reader = store.accounts.add_signing_account(session, None, "dr. z", Role.READER, _PASSWORD).id
        study = store.studies.make_study(
            session, planner, replace(world.plan_study((Arm.UNAIDED,)), reader_ids=(reader,))
        )
    place = place_of(world.open_place(study, reader))
    with sessions.begin() as session:
        store.accounts.set_role(session, planner, "dr. z", Role.RESEARCHER)
    with pytest.raises(NotAllowedError):
        world.open_place(study, reader)
    with pytest.raises(NotAllowedError):
        world.read_at_place(place, reader=reader)
    with sessions.read() as session, pytest.raises(NotAllowedError):
        store.study_reading.own_studies(session, reader)


def test_reads_of_a_study_count_for_nothing_in_routine(shared_sessions: Sessions) -> None:
    world = make_study_world(shared_sessions, cases=1)
    study = world.make_study(world.plan_study())
    world.finish_place(study)
    world.close_study(study)
    with shared_sessions.begin() as session:
        view = store.open_case.open_case(session, world.cases[0], world.readers[0])
        assert (view.first_read, view.final_read, view.reveal) == (None, None, None)
        store.reads.record_first_read(session, world.cases[0], world.readers[0], BENIGN, OPENED)


@pytest.mark.parametrize("arm", list(Arm))
def test_double_clicks_at_once_make_one_read(shared_sessions: Sessions, arm: Arm) -> None:
    times = amount(200, 8)
    world = make_study_world(shared_sessions, cases=1)
    opened = world.open_place(world.make_study(world.plan_study((arm,))))
    seen = predictions_shown(opened) if arm is Arm.MODEL_FIRST else None
    made = at_once(times, lambda _: world.read_at_place(place_of(opened), seen=seen))
    assert len({read.id for read in made if isinstance(read, Read)}) == 1, made
    assert world.count_reads() == 1


def test_of_different_opinions_at_once_one_is_kept_and_the_others_are_told(shared_sessions: Sessions) -> None:
    world = make_study_world(shared_sessions, cases=2)
    study = world.make_study(world.plan_study((Arm.UNAIDED,)))
    place = place_of(world.open_place(study))
    made = at_once(8, lambda n: world.read_at_place(place, Opinion("benign", 3, note=f"window {n}")))
    assert sum(isinstance(one, Read) for one in made) == 1
    assert sum(isinstance(one, CaseChangedError) for one in made) == 7
    assert world.count_reads() == 1


def test_readers_of_one_study_read_at_once_without_losing_anything(shared_sessions: Sessions) -> None:
    world = make_study_world(shared_sessions, cases=3, readers=6)
    study = world.make_study(world.plan_study((Arm.UNAIDED,)))

    def read_all(number: int) -> int:
        reader = world.readers[number]
        for _ in world.cases:
            world.finish_place(study, reader)
        return world.open_place(study, reader).study.done

    assert at_once(6, read_all) == [3] * 6
    assert world.count_reads() == 18


def test_a_study_is_closed_before_a_read_or_after_it(shared_sessions: Sessions) -> None:
    world = make_study_world(shared_sessions, cases=1, readers=6)
    study = world.make_study(world.plan_study((Arm.UNAIDED,)))
    places = [place_of(world.open_place(study, reader)) for reader in world.readers]

    def work(number: int) -> object:
        if number == 6:
            world.close_study(study)
            return None
        return world.read_at_place(places[number], reader=world.readers[number])

    *made, closed = at_once(7, work)
    assert closed is None
    assert all(isinstance(one, Read | CaseChangedError) for one in made)
    assert world.count_reads() == sum(isinstance(one, Read) for one in made)


def test_after_a_whole_study_the_audit_trail_tells_of_every_row(sessions: Sessions) -> None:
    world = make_study_world(sessions, cases=2, readers=2)
    study = world.make_study(
        replace(world.plan_study((Arm.UNAIDED, Arm.BLIND_FIRST, Arm.MODEL_FIRST)), counterbalanced=True)
    )
    for reader in world.readers:
        for _ in range(6):
            world.finish_place(study, reader)
    world.close_study(study)
    assert not [finding for finding in verify(sessions).findings if finding.row]
    assert world.count_reads() == 2 * (2 + 4 + 2)
