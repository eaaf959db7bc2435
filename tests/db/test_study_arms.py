"""What a reader sees of the model and what can be saved, in each arm of a study."""

from dataclasses import replace

import pytest

from db import store, tables
from db.database import Sessions
from db.errors import CaseChangedError
from db.values.reading import Arm, Region, RegionKind, Stage, Vote
from tests.helpers.rows import BENIGN, CROSSOVER, MALIGNANT, OPENED
from tests.helpers.world import make_study_world, place_of, predictions_shown


def test_unaided_gives_one_blind_read_and_never_shows_the_model(shared_sessions: Sessions) -> None:
    world = make_study_world(shared_sessions, cases=2)
    study = world.make_study(world.plan_study((Arm.UNAIDED,)))
    opened = world.open_place(study)
    assert opened.case is not None
    assert (opened.case.reveal, opened.case.first_read) == (None, None)
    read = world.read_at_place(place_of(opened))
    assert (read.stage, read.model_visible, read.place_id) == (Stage.FIRST, False, place_of(opened))
    following = world.open_place(study)
    assert following.case is not None
    assert following.case.id != opened.case.id
    assert following.case.reveal is None
    world.finish_place(study)
    done = world.open_place(study)
    assert (done.case, done.study.place, done.study.done, done.study.total) == (None, None, 2, 2)
    assert not any(world.sees_heatmaps(case, world.readers[0]) for case in world.cases)
    world.close_study(study)
    assert not any(world.sees_heatmaps(case, world.readers[0]) for case in world.cases)
    assert "revealed" not in [action for action, _ in world.actions_of_reader()]


def test_blind_first_shows_the_model_after_the_first_read_at_this_place_only(shared_sessions: Sessions) -> None:
    world = make_study_world(shared_sessions, cases=2)
    study = world.make_study(world.plan_study((Arm.BLIND_FIRST, Arm.BLIND_FIRST)))
    opened = world.open_place(study)
    assert opened.case is not None
    assert opened.case.reveal is None
    assert not world.sees_heatmaps(opened.case.id, world.readers[0])
    first = world.read_at_place(place_of(opened), BENIGN)
    again = world.open_place(study)
    assert again.case is not None
    assert place_of(again) == place_of(opened)
    assert (again.case.first_read, again.case.reveal is not None) == (first, True)
    assert [case for case in world.cases if world.sees_heatmaps(case, world.readers[0])] == [opened.case.id]
    final = world.read_at_place(place_of(again), MALIGNANT, seen=predictions_shown(again))
    assert (final.stage, final.model_visible) == (Stage.FINAL, True)
    world.finish_place(study)
    for _ in world.cases:
        second = world.open_place(study).case
        assert second is not None
        assert (second.first_read, second.reveal) == (None, None), "what was seen in round 1 opens nothing in round 2"
        assert not any(world.sees_heatmaps(case, world.readers[0]) for case in world.cases)
        world.finish_place(study)


def test_model_first_shows_the_model_at_once_and_gives_one_read(shared_sessions: Sessions) -> None:
    world = make_study_world(shared_sessions, cases=2)
    study = world.make_study(world.plan_study((Arm.MODEL_FIRST,)))
    opened = world.open_place(study)
    assert opened.case is not None
    assert opened.case.reveal is not None
    assert [case for case in world.cases if world.sees_heatmaps(case, world.readers[0])] == [opened.case.id]
    read = world.read_at_place(place_of(opened), seen=predictions_shown(opened))
    assert (read.stage, read.model_visible) == (Stage.FINAL, True)
    assert place_of(world.open_place(study)) != place_of(opened)
    assert world.count_reads() == 1


def test_in_a_crossover_each_round_shows_what_its_arm_shows(shared_sessions: Sessions) -> None:
    world = make_study_world(shared_sessions, cases=2, readers=2)
    study = world.make_study(replace(world.plan_study(CROSSOVER), counterbalanced=True))
    for reader, order in zip(world.readers, (CROSSOVER, CROSSOVER[::-1]), strict=True):
        for arm in order:
            for _ in world.cases:
                opened = world.finish_place(study, reader)
                assert opened.study.place is not None
                assert opened.case is not None
                assert (opened.study.place.arm, opened.case.reveal is not None) == (arm, arm is Arm.MODEL_FIRST)


def test_what_contradicts_a_model_that_was_seen_needs_a_reason(shared_sessions: Sessions) -> None:
    world = make_study_world(shared_sessions)
    study = world.make_study(world.plan_study((Arm.MODEL_FIRST, Arm.UNAIDED)))
    opened = world.open_place(study)
    with pytest.raises(ValueError, match="choose a reason"):
        world.read_at_place(place_of(opened), BENIGN, seen=predictions_shown(opened))
    said = replace(BENIGN, reason="wrong_area", vote=Vote.NO)
    assert world.read_at_place(place_of(opened), said, seen=predictions_shown(opened)).opinion == said
    for _ in world.cases[1:]:
        world.finish_place(study)
    unaided = world.open_place(study)
    with pytest.raises(ValueError, match="has not been shown"):
        world.read_at_place(place_of(unaided), said)
    assert world.read_at_place(place_of(unaided), BENIGN).opinion == BENIGN


@pytest.mark.parametrize(("arm", "seen", "how"), [(Arm.UNAIDED, (), "with"), (Arm.MODEL_FIRST, None, "without")])
def test_an_arm_takes_only_the_form_that_it_has(
    shared_sessions: Sessions, arm: Arm, seen: tuple[int, ...] | None, how: str
) -> None:
    world = make_study_world(shared_sessions)
    place = place_of(world.open_place(world.make_study(world.plan_study((arm,)))))
    with pytest.raises(ValueError, match=f"the arm {arm} has no read {how} the model's opinion"):
        world.read_at_place(place, seen=seen)
    assert world.count_reads() == 0


def test_a_final_read_before_the_first_one_is_refused(shared_sessions: Sessions) -> None:
    world = make_study_world(shared_sessions)
    place = place_of(world.open_place(world.make_study(world.plan_study())))
    with pytest.raises(CaseChangedError, match="first opinion before"):
        world.read_at_place(place, seen=())


def test_regions_and_the_time_of_editing_are_kept(shared_sessions: Sessions) -> None:
    world = make_study_world(shared_sessions)
    opened = world.open_place(world.make_study(world.plan_study((Arm.UNAIDED,))))
    assert opened.case is not None
    marked = replace(BENIGN, regions=(Region(opened.case.images[0].id, RegionKind.POINT, ((3.0, 4.0),)),))
    with shared_sessions.begin() as session:
        read = store.study_reading.record_study_read(
            session, place_of(opened), world.readers[0], marked, OPENED, seen=None, edit_seconds=12.5
        )
    assert (read.opinion, read.edit_seconds) == (marked, 12.5)


def test_opening_reveal_and_reads_are_on_the_audit_trail_with_their_place(shared_sessions: Sessions) -> None:
    world = make_study_world(shared_sessions, cases=1)
    study = world.make_study(world.plan_study((Arm.MODEL_FIRST, Arm.BLIND_FIRST)))
    for _ in range(3):
        world.open_place(study)
    for _ in range(2):
        world.finish_place(study)
    with shared_sessions.read() as session:
        accession = session.get_one(tables.Case, world.cases[0]).accession
    one, two = (f"{accession}, study {study}, round {number}, case 1" for number in (1, 2))
    assert world.actions_of_reader() == [
        ("case opened", one),
        ("revealed", one),
        ("final read saved", one),
        ("case opened", two),
        ("first read saved", two),
        ("case opened", two),
        ("revealed", two),
        ("final read saved", two),
    ]
