"""Images of a study are shown to its reader while their case is to be read, and at no other time."""

from datetime import UTC, datetime, timedelta

from sqlalchemy import select

from db import store, tables
from db.database import Sessions
from db.errors import NotRevealedError
from db.values.reading import Arm
from tests.helpers.rows import CROSSOVER, OPENED
from tests.helpers.world import World, make_study_world, place_of


def _visible(world: World, account_id: int | None = None) -> list[int]:
    """Return the cases of which an account, the first reader unless another is named, may fetch every image."""
    reader = account_id or world.reader
    shown = []
    with world.sessions.read() as session:
        for case in world.cases:
            images = session.scalars(select(tables.Image.id).where(tables.Image.case_id == case)).all()
            try:
                if all(store.open_case.image_file(session, image, reader) for image in images):
                    shown.append(case)
            except NotRevealedError:
                pass
    return shown


def _due(world: World, study: int) -> list[int]:
    opened = world.open_place(study)
    return [opened.case.id] if opened.case else []


def _second_study(world: World, case: int) -> int:
    """Write an open study in which the first reader reads a case without the model."""
    with world.sessions.begin() as session:
        study = tables.Study(
            name=f"{world.study_name} again", seed=1, washout_days=0, counterbalanced=False,
            created_by_id=world.planner, created_at=OPENED,
        )  # fmt: skip
        session.add(study)
        session.flush()
        place = tables.StudyPlace(
            study_id=study.id, account_id=world.reader, case_id=case, round=1, arm=Arm.UNAIDED, iteration=1, position=1
        )
        session.add(place)
        return study.id


def test_only_the_case_to_read_now_can_be_fetched(shared_sessions: Sessions) -> None:
    world = make_study_world(shared_sessions, cases=4, readers=2)
    assert _visible(world) == list(world.cases), "before the study these are cases like others"
    study = world.make_study(world.plan_study((Arm.UNAIDED,)))
    seen = []
    while due := _due(world, study):
        assert _visible(world) == due
        seen += due
        world.finish_place(study)
    assert sorted(seen) == list(world.cases)
    assert _visible(world) == [], "there is no going back to a case that was read"
    assert len(_visible(world, world.readers[1])) == 1
    assert _visible(world, world.planner) == list(world.cases), "who is not in the study reads them in routine"
    world.close_study(study)
    assert _visible(world) == list(world.cases)


def test_during_the_washout_no_image_can_be_fetched(shared_sessions: Sessions) -> None:
    world = make_study_world(shared_sessions, cases=2)
    study = world.make_study(world.plan_study(CROSSOVER, washout_days=28))
    world.backdate_round(study, days=27)
    assert world.open_place(study).case is None
    assert _visible(world) == []


def test_a_case_of_two_studies_is_shown_where_it_is_due_and_its_model_only_if_both_allow_it(
    shared_sessions: Sessions,
) -> None:
    world = make_study_world(shared_sessions, cases=1)
    (case,) = world.cases
    with_model = world.make_study(world.plan_study((Arm.MODEL_FIRST,), name=f"{world.study_name} with"))
    assert world.sees_heatmaps(case, world.reader)
    # No study is made of a case of an open one any more; a database may have some from before.
    without = _second_study(world, case)
    assert not world.sees_heatmaps(case, world.reader), "one study allows it, the other does not"
    assert _visible(world) == [case]
    world.read_at_place(place_of(world.open_place(without)))
    assert _visible(world) == [case], "it is still due in the other study"
    assert not world.sees_heatmaps(case, world.reader), "the other study is open, and its arm never shows the model"
    world.close_study(without)
    assert world.sees_heatmaps(case, world.reader)
    world.close_study(with_model)
    assert not world.sees_heatmaps(case, world.reader)


def test_the_washout_counts_from_the_last_read_of_the_round_before(shared_sessions: Sessions) -> None:
    world = make_study_world(shared_sessions, cases=2)
    study = world.make_study(world.plan_study(CROSSOVER, washout_days=28))
    world.backdate_place(study, days=60)
    world.backdate_place(study, days=20)
    opened = world.open_place(study)
    assert opened.case is None, "60 days after the first read, but 20 after the last one"
    assert opened.study.rests_until is not None
    assert timedelta(days=7) < opened.study.rests_until - datetime.now(UTC) < timedelta(days=9)
