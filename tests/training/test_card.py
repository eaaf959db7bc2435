"""The threshold that a run locks in its card."""

from dataclasses import replace

import numpy as np
import pytest

from core.labels import IDC
from core.statistics.calibration import sensitivity_threshold, youden_threshold
from core.statistics.predictions import ClassPredictions
from tests.helpers.judgements import made_judgements
from tests.helpers.networks import SMALL_CARD
from training.runs.card import with_figures
from training.runs.plan import Part, RunPlan

PLAN = RunPlan((Part("split", (), ()),), None, (), "patient-wise split")


def held_out() -> ClassPredictions:
    """Make judgements of patients who are all benign or all malignant."""
    return made_judgements(IDC, 300, 30)


def test_without_a_wish_the_threshold_is_youden_s() -> None:
    card = with_figures(SMALL_CARD, held_out(), PLAN)
    main = held_out().binary().only(held_out().magnifications == "100X")
    assert card.threshold == youden_threshold(main)
    assert "sensitivity" not in card.locked_on


@pytest.mark.parametrize("wanted", [0.8, 0.95, 1.0])
def test_a_wanted_sensitivity_is_reached_and_said_where_the_threshold_was_locked(wanted: float) -> None:
    card = with_figures(SMALL_CARD, held_out(), PLAN, wanted)
    main = held_out().binary().only(held_out().magnifications == "100X")
    assert card.threshold == sensitivity_threshold(main, wanted)
    assert np.mean(main.probabilities[main.malignant] >= card.threshold) >= wanted
    assert card.locked_on.endswith(f", for a sensitivity of at least {wanted:.1%} there")


def test_with_one_malignancy_held_out_a_wanted_sensitivity_locks_nothing() -> None:
    every = held_out()
    benign = every.only(~every.binary().malignant)
    card = replace(SMALL_CARD, threshold=0.37)
    found = with_figures(card, benign, PLAN, 0.95)
    assert found.threshold == 0.37
    assert found.locked_on.startswith("nothing")
