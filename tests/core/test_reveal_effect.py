"""What the reveal does to readers, and how they read."""

from dataclasses import replace

import pytest
from statsmodels.stats.proportion import proportion_confint

from core.labels import Malignancy
from core.reading.reveal_effect import find_changes, measure_effect, measure_habits
from tests.helpers.readings import made_readings, reading, said


def test_every_way_that_a_read_can_turn_is_counted_against_the_reference() -> None:
    readings = [
        reading(1, "benign", "malignant", "malignant"),  # right to wrong
        reading(2, "benign", "malignant", "malignant"),  # wrong to right
        reading(3, "benign", "benign", "malignant"),  # stays right
        reading(4, "malignant", "malignant", "benign"),  # stays wrong
        reading(5, None, "benign", "benign"),  # could not assess it at first
        reading(6, "benign", "benign", "benign"),  # has no reference label
        reading(7, "benign", "benign"),  # saw no model
    ]
    references: dict[int, Malignancy] = {
        1: "benign",
        2: "malignant",
        3: "benign",
        4: "benign",
        5: "benign",
        7: "benign",
    }
    found = measure_effect(readings, references)
    assert found.against == "reference"
    assert [(rate.hits, rate.n) for rate in (found.before, found.after, found.lost, found.gained)] == [
        (2, 4),
        (2, 4),
        (1, 4),
        (1, 4),
    ]
    assert found.left_out == 2
    assert (found.lost.low, found.lost.high) == pytest.approx(proportion_confint(1, 4, method="wilson"))


def test_without_reference_labels_readers_move_towards_the_model_or_away_from_it() -> None:
    readings = [
        reading(1, "benign", "malignant", "malignant"),
        reading(2, "benign", "malignant", "benign"),
        reading(3, "malignant", "malignant", "malignant"),
    ]
    found = measure_effect(readings, {})
    assert found.against == "model"
    assert (found.gained.hits, found.lost.hits, found.before.hits, found.after.hits) == (1, 1, 2, 2)
    assert [(one.before, one.after) for one in find_changes(readings, {})] == [
        (False, True),
        (True, False),
        (True, True),
    ]


def test_the_balance_of_the_reveal_adds_up() -> None:
    readings = made_readings(50)
    some: dict[int, Malignancy] = dict.fromkeys(range(1, 40), "malignant")
    for references in ({}, some):
        found = measure_effect(readings, references)
        assert found.after.hits == found.before.hits + found.gained.hits - found.lost.hits
        assert found.before.n + found.left_out == len(readings)


def test_an_amendment_does_not_undo_what_the_reveal_did() -> None:
    followed = reading(1, "benign", "malignant", "malignant")
    amended = replace(followed, standing=said("benign", "malignant"))
    assert measure_effect([amended], {1: "benign"}).lost.hits == 1
    assert measure_habits([amended, reading(2, "benign", "benign", "benign")]).amended.hits == 1


def test_only_the_first_time_counts_for_the_reveal() -> None:
    readings = [reading(1, "benign", "malignant", "malignant", iteration=i) for i in (1, 2)]
    assert measure_effect(readings, {}).gained.n == 1


def test_habits_tell_time_maps_and_their_numbers() -> None:
    readings = [
        replace(
            reading(case, "benign", "benign", "benign"),
            first=said("benign", seconds=10.0 * case),
            vote="yes" if case < 4 else "unsure" if case < 6 else None,
        )
        for case in range(1, 8)
    ]
    found = measure_habits([*readings, reading(8, "benign")])
    assert (found.first_seconds.value, found.first_seconds.n) == (35, 8)
    assert (found.final_seconds.value, found.final_seconds.n) == (20, 7)
    assert (found.maps_useful.hits, found.maps_useful.n) == (3, 5)
    assert (found.amended.hits, found.amended.n) == (0, 7)
    assert measure_habits([]).first_seconds.n == 0
