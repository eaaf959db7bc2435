"""What agreement counts is kept with every write, leaves out what may be withdrawn, and can be checked."""

from datetime import timedelta

import pytest
from sqlalchemy import text

from core import clock
from core.labels import Malignancy
from db import store
from db.database import Sessions
from db.projection import comparisons
from db.projection.check import find_differences
from db.projection.write import rebuild
from db.queries import compared_cases
from db.values.agreement import ComparedReadings, ReadCase
from tests.helpers.rows import BENIGN, OPENED, SAYS_BENIGN, SAYS_MALIGNANT
from tests.helpers.tampering import without_triggers
from tests.helpers.world import World, make_world


@pytest.fixture
def world(sessions: Sessions) -> World:
    """Three cases that two of three readers have finished: the first two alike, the third otherwise."""
    world = make_world(sessions, cases=3, readers=3)
    for case_id, said in zip(world.cases, (SAYS_MALIGNANT, SAYS_MALIGNANT, SAYS_BENIGN), strict=True):
        for reader in world.readers[:2]:
            world.read(reader, case_id, said)
    return world


def counts(world: World, account_id: int, comparison: ComparedReadings = ComparedReadings.MODEL) -> list[int]:
    """Return how many cases are alike, for each group."""
    with world.sessions.read() as session:
        groups = store.agreement.alike_readings(session, account_id, comparison)
        behind = store.agreement.cases_behind(session, account_id, comparison, [[one.key for one in groups]])
        assert bool(groups) is store.agreement.has_readings(session, account_id)
    found = [one.readings[0].copies for one in groups]
    assert len(behind.cases) == sum(found)
    return found


@pytest.mark.parametrize("comparison", list(ComparedReadings))
def test_a_case_counts_from_when_its_reader_can_no_longer_withdraw(
    world: World, monkeypatch: pytest.MonkeyPatch, comparison: ComparedReadings
) -> None:
    assert counts(world, world.readers[0], comparison) == []
    now = clock.now
    monkeypatch.setattr(clock, "now", lambda: now() + timedelta(minutes=2))
    assert counts(world, world.readers[0], comparison) == [2, 1]


def test_what_others_save_later_is_counted_as_it_stands(world: World) -> None:
    reader, other, third = world.readers
    world.end_undo(other)
    assert counts(world, other) == [2, 1]
    with world.sessions.begin() as session:
        last = store.reads.own_reads(session, reader)[-1]
        store.reads.withdraw_read(session, last.id, reader)
    assert counts(world, other) == [2, 1]
    world.end_undo(reader)
    assert counts(world, reader) == [2], "the third case is not finished any more"
    world.read(third, world.case_id, SAYS_BENIGN)
    assert (counts(world, reader), counts(world, other)) == ([1, 1], [1, 1, 1])


def test_what_was_written_in_the_same_transaction_counts(sessions: Sessions) -> None:
    world = make_world(sessions)
    with sessions.begin() as session:
        store.reads.record_first_read(session, world.case_id, world.reader, SAYS_MALIGNANT, OPENED)
        assert not store.agreement.has_readings(session, world.reader)
        store.reads.record_final_read(session, world.case_id, world.reader, SAYS_MALIGNANT, OPENED)
        assert store.agreement.has_readings(session, world.reader)


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (
            "UPDATE compared_cases SET by_reveal = 1 WHERE case_id = 1",
            "case number 1 is counted differently from how it was read",
        ),
        ("DELETE FROM compared_cases WHERE case_id = 2 AND account_id > 0", "case number 2 is counted differently"),
        (
            "UPDATE compared_groups SET cases = 7 WHERE comparison = 'by_model'",
            "with the same labels of readers and model, but counts 7",
        ),
        (
            "UPDATE compared_groups SET key = 'x' WHERE comparison = 'by_habits'",
            "with the same votes and amendments, but counts 0",
        ),
        ("DELETE FROM compared_groups", "labels and confidences of readers, but counts 0"),
    ],
)
def test_the_check_finds_what_was_changed_by_hand_and_it_is_made_anew(
    world: World, sessions: Sessions, monkeypatch: pytest.MonkeyPatch, change: str, found: str
) -> None:
    monkeypatch.setattr(comparisons, "_MOST_GROUPS", 1)
    world.end_undo(world.readers[0])
    with sessions.begin() as session:
        session.execute(text(change))
    with sessions.read() as session:
        assert found in "\n".join(find_differences(session))
    with sessions.begin() as session:
        rebuild(session)
    assert counts(world, world.readers[0]) == [2, 1]


def test_a_lost_count_keeps_nobody_from_saving(world: World, sessions: Sessions) -> None:
    world.end_undo(world.readers[0])
    with sessions.begin() as session:
        session.execute(text("DELETE FROM compared_groups"))
    world.amend(world.readers[0], SAYS_BENIGN)
    with sessions.read() as session:
        given: dict[int, Malignancy] = {world.case_id: "benign"}
        assert store.agreement.alike_readings(session, world.readers[0], ComparedReadings.REVEAL, given) == []
    with sessions.begin() as session:
        rebuild(session)


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE reads SET vote = 'perhaps' WHERE stage = 'final'",
        "UPDATE reads SET label = x'ff', confidence = 'very'",
        "UPDATE reads SET shown_probability = 'abc', shown_threshold = x'ff' WHERE stage = 'final'",
        "UPDATE cases SET magnification = CAST(x'ff41' AS TEXT)",
    ],
)
def test_a_value_that_was_damaged_keeps_nobody_from_saving_and_the_check_goes_on(
    world: World, sessions: Sessions, database_url: str, change: str
) -> None:
    if sessions.dialect == "postgresql":
        pytest.skip("PostgreSQL refuses such values by their types")
    with without_triggers(database_url) as connection:
        connection.execute(text(change))
    third = world.readers[2]
    with sessions.begin() as session:
        store.reads.record_first_read(session, world.case_id, third, BENIGN, OPENED)
    with sessions.read() as session:
        assert "case number 2 is counted differently from how it was read" in "\n".join(find_differences(session))
    with sessions.begin() as session:
        rebuild(session)
    with sessions.read() as session:
        assert list(find_differences(session)) == []


def test_cases_with_very_many_keys_are_found_like_those_with_few(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.end_undo(world.readers[0])
    few = cases_behind_all(world)
    monkeypatch.setattr(compared_cases, "_FEW_NUMBERS", 0)
    assert cases_behind_all(world) == few
    assert len(few) == 3


def cases_behind_all(world: World) -> list[ReadCase]:
    """Find the cases behind all keys, each of which is asked for twice, one case to a page."""
    found: list[ReadCase] = []
    with world.sessions.read() as session:
        kinds = store.agreement.alike_readings(session, world.readers[0], ComparedReadings.READERS)
        keys = [one.key for one in kinds] * 2
        while True:
            page = store.agreement.cases_behind(
                session, world.readers[0], ComparedReadings.READERS, [keys], after=found[-1] if found else None, size=1
            )
            found += page.cases
            if page.last is None:
                return found
