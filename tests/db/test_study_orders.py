"""The rounds of a study as they are planned: every reader's arms, and their cases in a drawn order."""

from dataclasses import replace

import pytest
from sqlalchemy import select

from db import store, tables
from db.database import Sessions
from db.store.studies import drawn_order
from db.values.reading import Arm
from db.values.studies import StudyPlan
from tests.helpers.rows import CROSSOVER
from tests.helpers.world import make_study_world


def orders(sessions: Sessions, study: int, reader: int) -> list[list[int]]:
    """Give the cases of each round in the order in which they were stored for a reader."""
    row = tables.StudyPlace
    query = select(row.round, row.case_id).where(row.study_id == study, row.account_id == reader)
    with sessions.read() as session:
        found = session.execute(query.order_by(row.round, row.position)).all()
    return [[case for number, case in found if number == wanted] for wanted in sorted({n for n, _ in found})]


def arms(sessions: Sessions, study: int, reader: int) -> list[tuple[Arm, int]]:
    """Give arm and iteration of each round of a reader."""
    row = tables.StudyPlace
    query = select(row.round, row.arm, row.iteration).where(row.study_id == study, row.account_id == reader).distinct()
    with sessions.read() as session:
        return [(arm, iteration) for _, arm, iteration in session.execute(query.order_by(row.round))]


def test_every_reader_reads_every_case_once_in_every_round_in_an_order_of_their_own(shared_sessions: Sessions) -> None:
    world = make_study_world(shared_sessions, cases=12, readers=3)
    study = world.make_study(world.plan_study(CROSSOVER))
    drawn = [order for reader in world.readers for order in orders(shared_sessions, study, reader)]
    assert all(sorted(order) == list(world.cases) for order in drawn)
    assert len({tuple(order) for order in drawn}) == 6


def test_the_order_is_that_of_the_seed_on_every_machine(shared_sessions: Sessions) -> None:
    plan = StudyPlan("pilot", (3, 4), tuple(range(1, 9)), (Arm.UNAIDED,), seed=7)
    assert drawn_order(plan, 3, 1) == [5, 4, 3, 8, 6, 1, 2, 7]
    assert drawn_order(replace(plan, case_ids=plan.case_ids[::-1]), 3, 1) == drawn_order(plan, 3, 1)
    assert len({tuple(drawn_order(replace(plan, seed=seed), 3, 1)) for seed in range(100)}) == 100
    world = make_study_world(shared_sessions, cases=8)
    made = world.plan_study()
    assert orders(shared_sessions, world.make_study(made), world.readers[0]) == [drawn_order(made, world.readers[0], 1)]


def test_every_place_of_a_case_is_drawn_about_as_often(shared_sessions: Sessions) -> None:
    plan = StudyPlan("pilot", (1,), (1, 2, 3, 4), (Arm.UNAIDED,))
    firsts = [drawn_order(replace(plan, seed=seed), 1, 1)[0] for seed in range(2_000)]
    assert all(abs(firsts.count(case) - 500) < 5 * (2_000 * 0.25 * 0.75) ** 0.5 for case in plan.case_ids)


def test_counterbalanced_readers_begin_with_different_arms(shared_sessions: Sessions) -> None:
    world = make_study_world(shared_sessions, cases=1, readers=3)
    study = world.make_study(replace(world.plan_study(CROSSOVER), counterbalanced=True))
    first, second, third = (arms(shared_sessions, study, reader) for reader in world.readers)
    assert first == third == [(Arm.UNAIDED, 1), (Arm.MODEL_FIRST, 1)]
    assert second == [(Arm.MODEL_FIRST, 1), (Arm.UNAIDED, 1)]


def test_an_arm_that_comes_again_is_a_new_iteration_here_and_in_later_studies(shared_sessions: Sessions) -> None:
    world = make_study_world(shared_sessions, cases=2)
    plan = world.plan_study((Arm.UNAIDED, Arm.BLIND_FIRST, Arm.UNAIDED))
    study = world.make_study(plan)
    assert arms(shared_sessions, study, world.readers[0]) == [(Arm.UNAIDED, 1), (Arm.BLIND_FIRST, 1), (Arm.UNAIDED, 2)]
    read = world.finish_place(study).case
    world.close_study(study)
    again = replace(plan, name=f"again {world.number}")
    with shared_sessions.read() as session:
        # One case was read unaided before; both are read unaided twice.
        assert store.studies.preview_study(session, world.planner, again).repeats == 3
    later = world.make_study(again)
    row = tables.StudyPlace
    with shared_sessions.read() as session:
        query = select(row.case_id, row.iteration).where(row.study_id == later, row.arm == Arm.UNAIDED)
        found = {tuple(each) for each in session.execute(query)}
    assert read is not None
    (other,) = set(world.cases) - {read.id}
    assert found == {(read.id, 2), (read.id, 3), (other, 1), (other, 2)}


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"reader_ids": ()}, "1 to 200 readers, got 0"),
        ({"case_ids": ()}, "1 to 5000 cases, got 0"),
        ({"arms": ()}, "1 to 10 rounds, got 0"),
        ({"reader_ids": tuple(range(101)), "case_ids": tuple(range(1_000))}, "at most 100000 readings, got 101000"),
        ({"reader_ids": (1, 1)}, "listed twice"),
        ({"case_ids": (1, 1)}, "listed twice"),
        ({"name": " "}, "1 to 200 visible characters"),
        ({"name": "a\nb"}, "1 to 200 visible characters"),
        ({"name": "n" * 201}, "1 to 200 visible characters"),
        ({"washout_days": -1.0}, "0 to 3650 days"),
        ({"washout_days": float("nan")}, "0 to 3650 days"),
        ({"seed": -1}, "the seed must be"),
        ({"seed": 2**31}, "the seed must be"),
    ],
)
def test_a_plan_that_makes_no_sense_cannot_be_written_down(changed: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        replace(StudyPlan("pilot", (1,), (1,), (Arm.UNAIDED,)), **changed)  # type: ignore[arg-type]
