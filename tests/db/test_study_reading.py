"""Reading in a study: one case after the other, never back, a rest between rounds, and many at once."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select

from db import models, store
from db.audit_verify import verify
from db.errors import CaseChangedError, InStudyError, NotAllowedError, UnknownCaseError
from db.reading_models import StudyPlace
from db.reading_values import Arm
from db.session import Sessions
from db.values import Opinion, Read, Role, Stage
from tests.helpers.stored import BENIGN, OPENED, at_once
from tests.helpers.stress import amount
from tests.helpers.studied import CROSSOVER, count_reads, own_sessions, place_of, sees_heatmaps, sessions, shown, ward

__all__ = ["own_sessions", "sessions"]

_PASSWORD = "a long sentence about trees"


def test_nobody_goes_back_skips_or_reads_in_the_place_of_another(sessions: Sessions) -> None:
    room = ward(sessions, readers=2)
    study = room.make(room.plan((Arm.UNAIDED,)))
    past = place_of(room.finish(study))
    with pytest.raises(CaseChangedError, match=r"already saved \(malignant"):
        room.save(past, BENIGN)
    row = StudyPlace
    with sessions.read() as session:
        mine = session.scalars(select(row.id).where(row.account_id == room.readers[0]).order_by(row.position)).all()
        theirs = session.scalars(select(row.id).where(row.account_id == room.readers[1])).first()
    with pytest.raises(CaseChangedError, match="nobody goes back"):
        room.save(mine[2])
    assert theirs is not None
    for wrong in (theirs, 10**6):
        with pytest.raises(UnknownCaseError, match="you have no place"):
            room.save(wrong)
    assert place_of(room.open(study)) == mine[1]
    assert count_reads(room) == 1


def test_one_submission_twice_is_one_read_even_when_the_study_has_gone_on(sessions: Sessions) -> None:
    room = ward(sessions)
    study = room.make(room.plan())
    opened = room.open(study)
    first = room.save(place_of(opened))
    assert room.save(place_of(opened)) == first
    seen = shown(room.open(study))
    final = room.save(place_of(opened), seen=seen)
    assert final.stage is Stage.FINAL, "the same words on the second form are a read of their own"
    room.finish(study)
    room.close(study)
    assert room.save(place_of(opened), seen=seen) == final
    assert room.save(place_of(opened)) == first
    assert count_reads(room) == 4


def test_a_read_of_a_study_is_never_amended_or_taken_back(sessions: Sessions) -> None:
    room = ward(sessions)
    study = room.make(room.plan())
    opened = room.finish(study)
    assert opened.case is not None
    with sessions.read() as session:
        finals = select(models.Read.id).where(
            models.Read.stage == Stage.FINAL, models.Read.account_id == room.readers[0]
        )
        final = session.scalars(finals).one()
    reader = room.readers[0]
    with sessions.begin() as session:
        with pytest.raises(InStudyError, match="belongs to the study pilot"):
            store.amend_read(session, opened.case.id, reader, BENIGN, OPENED)
        with pytest.raises(CaseChangedError, match="could be taken back"):
            store.withdraw_read(session, final, reader)
        with pytest.raises(InStudyError, match="read it there"):
            store.open_case(session, opened.case.id, reader)
        assert store.own_reads(session, reader) == []
    room.close(study)
    with sessions.begin() as session:
        with pytest.raises(CaseChangedError, match="could be taken back"):
            store.withdraw_read(session, final, reader)
        assert len(store.own_reads(session, reader)) == 2
        assert store.open_case(session, opened.case.id, reader).reveal is None


def test_a_round_begins_when_the_washout_is_over(sessions: Sessions) -> None:
    room = ward(sessions, cases=2)
    study = room.make(room.plan(CROSSOVER, washout_days=28))
    room.backdate(study, days=27.99)
    rests = room.open(study)
    assert rests.case is None
    assert rests.study.rests_until is not None
    assert timedelta(0) < rests.study.rests_until - datetime.now(UTC) < timedelta(minutes=15)
    with pytest.raises(CaseChangedError, match=r"round 2 of the study pilot \d+ begins on 20\d\d-"):
        room.save(place_of(rests), seen=())
    assert not any(sees_heatmaps(room, case, room.readers[0]) for case in room.cases)
    with sessions.read() as session:
        (own,) = store.own_studies(session, room.readers[0])
    assert (own.done, own.total, own.rounds, own.rests_until) == (2, 4, 2, rests.study.rests_until)


def test_a_washout_that_is_over_holds_nobody_up(sessions: Sessions) -> None:
    room = ward(sessions, cases=2)
    study = room.make(room.plan(CROSSOVER, washout_days=28))
    room.backdate(study, days=28.01)
    opened = room.finish(study)
    assert opened.study.place is not None
    assert (opened.study.place.round, opened.study.place.position) == (2, 1)
    assert room.finish(study).study.place is not None, "reads of this round begin no washout"


def test_the_washout_of_one_reader_is_not_that_of_another(sessions: Sessions) -> None:
    room = ward(sessions, cases=1, readers=2)
    study = room.make(room.plan(CROSSOVER, washout_days=28))
    room.backdate(study, days=1)
    room.backdate(study, days=30, reader=room.readers[1])
    assert room.open(study).study.rests_until is not None
    assert room.open(study, room.readers[1]).case is not None


def test_nothing_is_read_in_a_closed_study_and_its_model_is_hidden_again(sessions: Sessions) -> None:
    room = ward(sessions)
    study = room.make(room.plan())
    opened = room.open(study)
    room.save(place_of(opened))
    room.close(study)
    closed = room.open(study)
    assert (closed.case, closed.study.place) == (None, None)
    assert closed.study.closed_at is not None
    with pytest.raises(CaseChangedError, match=r"study pilot \d+ was closed on 20"):
        room.save(place_of(opened), seen=())
    assert not any(sees_heatmaps(room, case, room.readers[0]) for case in room.cases)


def test_only_readers_of_a_study_open_it(sessions: Sessions) -> None:
    room = ward(sessions, readers=2)
    study = room.make(replace(room.plan(), reader_ids=room.readers[:1]))
    for wrong in (study, 10**6):
        with pytest.raises(UnknownCaseError, match="you read in no study"):
            room.open(wrong, room.readers[1])
    with sessions.read() as session:
        assert store.own_studies(session, room.readers[1]) == []
        assert [store.reads_in_studies(session, reader) for reader in room.readers] == [True, False]


def test_an_account_that_may_no_longer_read_reads_nowhere(own_sessions: Sessions) -> None:
    room = ward(own_sessions)
    with own_sessions.begin() as session:
        planner = store.add_signing_account(session, None, "head", Role.ADMINISTRATOR, _PASSWORD).id
        reader = store.add_signing_account(session, None, "dr. z", Role.READER, _PASSWORD).id
        study = store.make_study(session, planner, replace(room.plan((Arm.UNAIDED,)), reader_ids=(reader,)))
    place = place_of(room.open(study, reader))
    with own_sessions.begin() as session:
        store.set_role(session, planner, "dr. z", Role.RESEARCHER)
    with pytest.raises(NotAllowedError):
        room.open(study, reader)
    with pytest.raises(NotAllowedError):
        room.save(place, reader=reader)
    with own_sessions.read() as session, pytest.raises(NotAllowedError):
        store.own_studies(session, reader)


def test_reads_of_a_study_count_for_nothing_in_routine(sessions: Sessions) -> None:
    room = ward(sessions, cases=1)
    study = room.make(room.plan())
    room.finish(study)
    room.close(study)
    with sessions.begin() as session:
        view = store.open_case(session, room.cases[0], room.readers[0])
        assert (view.first_read, view.final_read, view.reveal) == (None, None, None)
        store.record_first_read(session, room.cases[0], room.readers[0], BENIGN, OPENED)


@pytest.mark.parametrize("arm", list(Arm))
def test_double_clicks_at_once_make_one_read(sessions: Sessions, arm: Arm) -> None:
    times = amount(200, 8)
    room = ward(sessions, cases=1)
    opened = room.open(room.make(room.plan((arm,))))
    seen = shown(opened) if arm is Arm.MODEL_FIRST else None
    made = at_once(times, lambda _: room.save(place_of(opened), seen=seen))
    assert len({read.id for read in made if isinstance(read, Read)}) == 1, made
    assert count_reads(room) == 1


def test_of_different_opinions_at_once_one_is_kept_and_the_others_are_told(sessions: Sessions) -> None:
    room = ward(sessions, cases=2)
    study = room.make(room.plan((Arm.UNAIDED,)))
    place = place_of(room.open(study))
    made = at_once(8, lambda n: room.save(place, Opinion("benign", 3, note=f"window {n}")))
    assert sum(isinstance(one, Read) for one in made) == 1
    assert sum(isinstance(one, CaseChangedError) for one in made) == 7
    assert count_reads(room) == 1


def test_readers_of_one_study_read_at_once_without_losing_anything(sessions: Sessions) -> None:
    room = ward(sessions, cases=3, readers=6)
    study = room.make(room.plan((Arm.UNAIDED,)))

    def read_all(number: int) -> int:
        reader = room.readers[number]
        for _ in room.cases:
            room.finish(study, reader)
        return room.open(study, reader).study.done

    assert at_once(6, read_all) == [3] * 6
    assert count_reads(room) == 18


def test_a_study_is_closed_before_a_read_or_after_it(sessions: Sessions) -> None:
    room = ward(sessions, cases=1, readers=6)
    study = room.make(room.plan((Arm.UNAIDED,)))
    places = [place_of(room.open(study, reader)) for reader in room.readers]

    def work(number: int) -> object:
        if number == 6:
            room.close(study)
            return None
        return room.save(places[number], reader=room.readers[number])

    *made, closed = at_once(7, work)
    assert closed is None
    assert all(isinstance(one, Read | CaseChangedError) for one in made)
    assert count_reads(room) == sum(isinstance(one, Read) for one in made)


def test_after_a_whole_study_the_audit_trail_tells_of_every_row(own_sessions: Sessions) -> None:
    room = ward(own_sessions, cases=2, readers=2)
    study = room.make(replace(room.plan((Arm.UNAIDED, Arm.BLIND_FIRST, Arm.MODEL_FIRST)), counterbalanced=True))
    for reader in room.readers:
        for _ in range(6):
            room.finish(study, reader)
    room.close(study)
    assert not [finding for finding in verify(own_sessions).findings if finding.row]
    assert count_reads(room) == 2 * (2 + 4 + 2)
