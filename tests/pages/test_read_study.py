"""The page Study: one case after the other, and of the model what the arm shows."""

from datetime import UTC, datetime

import pytest
from streamlit.testing.v1 import AppTest

from db import store
from db.values.reading import Arm, Opinion, Read, Stage
from db.values.studies import StudyPlan
from tests.helpers.app_pages import press, visit, words_on
from tests.helpers.world import World
from tests.pages.test_read_case import TELLTALES

_SHOWN = ("Model says", "/heatmap", "0.81")


@pytest.fixture
def cases(world: World) -> tuple[int, ...]:
    """Three analysed cases that the model calls malignant with 0.81."""
    made = tuple(world.add_case(seed, accession=f"NAMED-{seed}") for seed in (1, 2, 3))
    world.analyse(0.8125)
    return made


def make(world: World, cases: tuple[int, ...], *arms: Arm, washout_days: float = 0) -> int:
    plan = StudyPlan("pilot *one*", (world.reader,), cases, arms, washout_days, seed=7)
    with world.sessions.begin() as session:
        return store.studies.make_study(session, world.reader, plan)


def begin(world: World, study: int) -> AppTest:
    return visit("read_study.py", study=str(study))


def saved(world: World, study: int) -> list[Read]:
    """Close the study, and give all that was read in it."""
    with world.sessions.begin() as session:
        store.studies.close_study(session, world.reader, study)
        return store.reads.own_reads(session, world.reader)


def test_a_study_waits_in_the_list_and_the_first_case_opens(world: World, cases: tuple[int, ...]) -> None:
    make(world, cases, Arm.BLIND_FIRST)
    tab = visit("read_study.py")
    assert "0 of 3 read" in words_on(tab)
    press(tab, "Start")
    words = words_on(tab)
    assert "**STUDY** pilot \\\\*one\\\\*" in words
    assert "blind first &nbsp;·&nbsp; round 1 &nbsp;·&nbsp; case 1 of 3 &nbsp;·&nbsp; no going back" in words
    assert "NAMED" not in words, "a case could be known again by its number"
    assert "Skip to next" not in words


def test_without_a_study_the_page_is_not_there_and_nothing_else_changes(world: World, cases: tuple[int, ...]) -> None:
    assert "**ROUTINE**" in words_on(visit("read_case.py", case=str(cases[0])))


def test_unaided_sends_nothing_of_the_model_from_the_first_case_to_the_last(
    world: World, cases: tuple[int, ...]
) -> None:
    study = make(world, cases, Arm.UNAIDED)
    tab = begin(world, study)
    for number in (1, 2, 3):
        words = words_on(tab)
        assert f"case {number} of 3" in words
        assert "/images/" in words, "the tissue itself is there"
        assert not [telltale for telltale in TELLTALES if telltale in words]
        press(tab, "○", "3", "Save and open next case")
    words = words_on(tab)
    assert "all cases read" in words
    assert not [telltale for telltale in TELLTALES if telltale in words]
    reads = saved(world, study)
    assert [(read.stage, read.model_visible, read.opinion) for read in reads] == [
        (Stage.FIRST, False, Opinion("benign", 3))
    ] * 3


def test_blind_first_shows_the_model_after_the_first_opinion_and_hides_it_for_the_next_case(
    world: World, cases: tuple[int, ...]
) -> None:
    study = make(world, cases, Arm.BLIND_FIRST)
    tab = begin(world, study)
    assert not [telltale for telltale in TELLTALES if telltale in words_on(tab)]
    press(tab, "○", "2", "Save and reveal")
    assert all(words in words_on(tab) for words in _SHOWN)
    press(tab, "Keep mine", "Save and open next case")
    assert "Choose a reason" in tab.error[0].value
    press(tab, "Change to ▲", "Save and open next case")
    words = words_on(tab)
    assert "case 2 of 3" in words
    assert not [telltale for telltale in TELLTALES if telltale in words]
    assert [(read.stage, read.opinion.label) for read in saved(world, study)] == [
        (Stage.FIRST, "benign"),
        (Stage.FINAL, "malignant"),
    ]


def test_model_first_shows_the_model_at_once_and_saves_one_opinion(world: World, cases: tuple[int, ...]) -> None:
    study = make(world, cases, Arm.MODEL_FIRST)
    tab = begin(world, study)
    assert all(words in words_on(tab) for words in _SHOWN)
    press(tab, "○", "3", "Save and open next case")
    assert "Choose a reason" in tab.error[0].value
    next(box for box in tab.selectbox if "model" in box.label).set_value("wrong_area")
    press(tab, "Yes", "Save and open next case")
    assert "case 2 of 3" in words_on(tab)
    (read,) = saved(world, study)
    assert (read.stage, read.model_visible, read.opinion.reason) == (Stage.FINAL, True, "wrong_area")


def test_a_round_that_must_wait_says_until_when(world: World, cases: tuple[int, ...]) -> None:
    study = make(world, cases[:1], Arm.UNAIDED, Arm.MODEL_FIRST, washout_days=28)
    tab = press(begin(world, study), "○", "3", "Save and open next case")
    words = words_on(tab)
    assert "round 2 of 2, model first, starts after the washout on 20" in words
    assert not [button for button in tab.button if button.label in ("Start", "Continue")]
    assert not [telltale for telltale in _SHOWN if telltale in words]


def test_one_may_pause_and_comes_back_to_the_same_case(world: World, cases: tuple[int, ...]) -> None:
    study = make(world, cases, Arm.UNAIDED)
    tab = press(begin(world, study), "○", "3", "Save and open next case", "▲", "Pause")
    assert "1 of 3 read" in words_on(tab)
    assert "study" not in tab.query_params
    press(tab, "Continue")
    assert "case 2 of 3" in words_on(tab)
    assert any(button.label == "✓ ▲ malignant" for button in tab.button), "what was chosen is still there"
    assert len(saved(world, study)) == 1


def test_a_case_read_again_begins_with_an_empty_form(world: World, cases: tuple[int, ...]) -> None:
    study = make(world, cases[:1], Arm.UNAIDED, Arm.UNAIDED)
    tab = begin(world, study)
    tab.text_area[0].set_value("nests on the left")
    press(tab, "○", "3", "Save and open next case")
    assert "round 2 of 2" in words_on(tab)
    assert tab.text_area[0].value == ""
    press(tab, "Save and open next case")
    assert "Choose one of the answers" in tab.error[0].value
    assert len(saved(world, study)) == 1


def test_a_second_window_cannot_change_what_was_said_and_loses_nothing(world: World, cases: tuple[int, ...]) -> None:
    study = make(world, cases, Arm.UNAIDED)
    stale = press(begin(world, study), "▲", "5")
    stale.text_area[0].set_value("nests on the left")
    press(begin(world, study), "○", "3", "Save and open next case")
    press(stale, "Save and open next case")
    assert "case 2 of 3" in words_on(stale)
    assert stale.warning[0].value == "Entered here but not saved: ▲ malignant (5/5) nests on the left"
    press(stale, "○", "1", "Save and open next case")
    assert not stale.warning
    assert [read.opinion for read in saved(world, study)] == [Opinion("benign", 3), Opinion("benign", 1)]


def test_the_same_click_in_two_windows_is_one_read(world: World, cases: tuple[int, ...]) -> None:
    study = make(world, cases, Arm.UNAIDED)
    one, two = (press(begin(world, study), "○", "3") for _ in range(2))
    for tab in (one, two):
        assert "case 2 of 3" in words_on(press(tab, "Save and open next case"))
    assert len(saved(world, study)) == 1


def test_a_study_that_is_closed_meanwhile_keeps_what_was_typed_on_the_screen(
    world: World, cases: tuple[int, ...]
) -> None:
    study = make(world, cases, Arm.UNAIDED)
    tab = press(begin(world, study), "○", "3")
    assert saved(world, study) == []
    press(tab, "Save and open next case")
    assert "closed on 20" in words_on(tab)
    assert tab.warning[0].value == "Entered here but not saved: ○ benign (3/5)"


def test_a_case_of_a_study_is_not_read_in_routine(world: World, cases: tuple[int, ...]) -> None:
    before = press(visit("read_case.py", case=str(cases[0])), "○", "3")
    study = make(world, cases, Arm.UNAIDED)
    press(before, "Save and reveal")
    assert "○ benign (3/5)" in before.warning[0].value
    tab = visit("read_case.py", case=str(cases[0]))
    words = words_on(tab)
    assert "This case belongs to a study" in words
    assert "read_study" in words, "the link"
    assert "/images/" not in words
    assert "No cases are waiting" in words_on(visit("read_case.py"))
    assert saved(world, study) == []


@pytest.mark.parametrize("wrong", ["999", "0", "abc", "-1", "²", "9" * 40])
def test_a_wrong_address_is_no_crash(world: World, cases: tuple[int, ...], wrong: str) -> None:
    make(world, cases, Arm.UNAIDED)
    tab = visit("read_study.py", study=wrong)
    assert "Study not found" in tab.warning[0].value
    assert "Start" in [button.label for button in tab.button]


def test_times_are_stamped_on_the_server(world: World, cases: tuple[int, ...]) -> None:
    study = make(world, cases, Arm.UNAIDED)
    before = datetime.now(UTC)
    press(begin(world, study), "○", "3", "Save and open next case")
    (read,) = saved(world, study)
    assert before <= read.opened_at <= read.saved_at <= datetime.now(UTC)
    assert read.edit_seconds is not None
    assert 0 <= read.edit_seconds <= (read.saved_at - read.opened_at).total_seconds() + 0.1
