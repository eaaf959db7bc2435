"""What a reader sees of the model and what can be saved, in each arm of a study."""

from dataclasses import replace

import pytest

from db import models, store
from db.errors import CaseChangedError
from db.reading_values import Arm, Region, RegionKind
from db.session import Sessions
from db.values import Stage, Vote
from tests.helpers.stored import BENIGN, MALIGNANT, OPENED
from tests.helpers.studied import CROSSOVER, actions, count_reads, place_of, sees_heatmaps, sessions, shown, ward

__all__ = ["sessions"]


def test_unaided_gives_one_blind_read_and_never_shows_the_model(sessions: Sessions) -> None:
    room = ward(sessions, cases=2)
    study = room.make(room.plan((Arm.UNAIDED,)))
    opened = room.open(study)
    assert opened.case is not None
    assert (opened.case.reveal, opened.case.first_read) == (None, None)
    read = room.save(place_of(opened))
    assert (read.stage, read.model_visible, read.place_id) == (Stage.FIRST, False, place_of(opened))
    following = room.open(study)
    assert following.case is not None
    assert following.case.id != opened.case.id
    assert following.case.reveal is None
    room.finish(study)
    done = room.open(study)
    assert (done.case, done.study.place, done.study.done, done.study.total) == (None, None, 2, 2)
    assert not any(sees_heatmaps(room, case, room.readers[0]) for case in room.cases)
    room.close(study)
    assert not any(sees_heatmaps(room, case, room.readers[0]) for case in room.cases)
    assert "revealed" not in [action for action, _ in actions(room)]


def test_blind_first_shows_the_model_after_the_first_read_at_this_place_only(sessions: Sessions) -> None:
    room = ward(sessions, cases=2)
    study = room.make(room.plan((Arm.BLIND_FIRST, Arm.BLIND_FIRST)))
    opened = room.open(study)
    assert opened.case is not None
    assert opened.case.reveal is None
    assert not sees_heatmaps(room, opened.case.id, room.readers[0])
    first = room.save(place_of(opened), BENIGN)
    again = room.open(study)
    assert again.case is not None
    assert place_of(again) == place_of(opened)
    assert (again.case.first_read, again.case.reveal is not None) == (first, True)
    assert [case for case in room.cases if sees_heatmaps(room, case, room.readers[0])] == [opened.case.id]
    final = room.save(place_of(again), MALIGNANT, seen=shown(again))
    assert (final.stage, final.model_visible) == (Stage.FINAL, True)
    room.finish(study)
    for _ in room.cases:
        second = room.open(study).case
        assert second is not None
        assert (second.first_read, second.reveal) == (None, None), "what was seen in round 1 opens nothing in round 2"
        assert not any(sees_heatmaps(room, case, room.readers[0]) for case in room.cases)
        room.finish(study)


def test_model_first_shows_the_model_at_once_and_gives_one_read(sessions: Sessions) -> None:
    room = ward(sessions, cases=2)
    study = room.make(room.plan((Arm.MODEL_FIRST,)))
    opened = room.open(study)
    assert opened.case is not None
    assert opened.case.reveal is not None
    assert [case for case in room.cases if sees_heatmaps(room, case, room.readers[0])] == [opened.case.id]
    read = room.save(place_of(opened), seen=shown(opened))
    assert (read.stage, read.model_visible) == (Stage.FINAL, True)
    assert place_of(room.open(study)) != place_of(opened)
    assert count_reads(room) == 1


def test_in_a_crossover_each_round_shows_what_its_arm_shows(sessions: Sessions) -> None:
    room = ward(sessions, cases=2, readers=2)
    study = room.make(replace(room.plan(CROSSOVER), counterbalanced=True))
    for reader, order in zip(room.readers, (CROSSOVER, CROSSOVER[::-1]), strict=True):
        for arm in order:
            for _ in room.cases:
                opened = room.finish(study, reader)
                assert opened.study.place is not None
                assert opened.case is not None
                assert (opened.study.place.arm, opened.case.reveal is not None) == (arm, arm is Arm.MODEL_FIRST)


def test_what_contradicts_a_model_that_was_seen_needs_a_reason(sessions: Sessions) -> None:
    room = ward(sessions)
    study = room.make(room.plan((Arm.MODEL_FIRST, Arm.UNAIDED)))
    opened = room.open(study)
    with pytest.raises(ValueError, match="choose a reason"):
        room.save(place_of(opened), BENIGN, seen=shown(opened))
    said = replace(BENIGN, reason="wrong_area", vote=Vote.NO)
    assert room.save(place_of(opened), said, seen=shown(opened)).opinion == said
    for _ in room.cases[1:]:
        room.finish(study)
    unaided = room.open(study)
    with pytest.raises(ValueError, match="has not been seen"):
        room.save(place_of(unaided), said)
    assert room.save(place_of(unaided), BENIGN).opinion == BENIGN


@pytest.mark.parametrize(("arm", "seen"), [(Arm.UNAIDED, ()), (Arm.MODEL_FIRST, None)])
def test_an_arm_takes_only_the_form_that_it_has(sessions: Sessions, arm: Arm, seen: tuple[int, ...] | None) -> None:
    room = ward(sessions)
    place = place_of(room.open(room.make(room.plan((arm,)))))
    with pytest.raises(ValueError, match=f"the arm {arm} has no opinion"):
        room.save(place, seen=seen)
    assert count_reads(room) == 0


def test_a_final_read_before_the_first_one_is_refused(sessions: Sessions) -> None:
    room = ward(sessions)
    place = place_of(room.open(room.make(room.plan())))
    with pytest.raises(CaseChangedError, match="first opinion before"):
        room.save(place, seen=())


def test_regions_and_the_time_of_editing_are_kept(sessions: Sessions) -> None:
    room = ward(sessions)
    opened = room.open(room.make(room.plan((Arm.UNAIDED,))))
    assert opened.case is not None
    marked = replace(BENIGN, regions=(Region(opened.case.images[0].id, RegionKind.POINT, ((3.0, 4.0),)),))
    with sessions.begin() as session:
        read = store.record_study_read(
            session, place_of(opened), room.readers[0], marked, OPENED, seen=None, edit_seconds=12.5
        )
    assert (read.opinion, read.edit_seconds) == (marked, 12.5)


def test_opening_reveal_and_reads_are_on_the_audit_trail_with_their_place(sessions: Sessions) -> None:
    room = ward(sessions, cases=1)
    study = room.make(room.plan((Arm.MODEL_FIRST, Arm.BLIND_FIRST)))
    for _ in range(3):
        room.open(study)
    for _ in range(2):
        room.finish(study)
    with sessions.read() as session:
        accession = session.get_one(models.Case, room.cases[0]).accession
    one, two = (f"{accession}, study {study}, round {number}, case 1" for number in (1, 2))
    assert actions(room) == [
        ("case opened", one),
        ("revealed", one),
        ("final read saved", one),
        ("case opened", two),
        ("first read saved", two),
        ("case opened", two),
        ("revealed", two),
        ("final read saved", two),
    ]
