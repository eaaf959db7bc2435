"""The page Studies: making a study, looking after it, closing it."""

from collections.abc import Sequence

import pytest
from streamlit.testing.v1 import AppTest

from db import store
from db.values.reading import Arm, Opinion
from db.values.studies import StudyRow
from tests.helpers.app_pages import press, visit, words_on
from tests.helpers.rows import OPENED
from tests.helpers.world import World


@pytest.fixture
def cases(world: World) -> tuple[int, ...]:
    """Two analysed cases of 100X and one of 400X."""
    made = tuple(world.add_case(seed, magnification=power) for seed, power in ((1, "100X"), (2, "100X"), (3, "400X")))
    world.analyse()
    return made


def studies(world: World) -> list[StudyRow]:
    with world.sessions.read() as session:
        return store.studies.studies(session, world.reader)


def give_name(tab: AppTest, name: str) -> AppTest:
    next(field for field in tab.text_input if field.label == "Name").set_value(name).run()
    return tab


def paste(tab: AppTest, lines: Sequence[str]) -> AppTest:
    tab.segmented_control[0].set_value("from a list").run()
    tab.text_area[0].set_value("\n".join(lines)).run()
    return tab


def read_first(world: World, case: int) -> None:
    with world.sessions.begin() as session:
        store.reads.record_first_read(session, case, world.reader, Opinion("benign", 3), OPENED)


def test_the_single_reader_makes_a_study_and_finds_it(world: World, cases: tuple[int, ...]) -> None:
    tab = give_name(visit("studies.py"), "pilot <b>")
    words = words_on(tab)
    assert "There are no studies yet" in words
    assert "**3 readings**: 3 cases, 1 reader, 1 round; 3 for each reader, about 3 min" in words
    press(tab, "Create study")
    (made,) = studies(world)
    assert (made.name, made.total, made.done, made.counterbalanced, made.washout_days) == ("pilot <b>", 3, 0, False, 0)
    assert "The study pilot \\<b\\> was created" in tab.success[0].value
    assert next(field for field in tab.text_input if field.label == "Name").value == ""
    assert "0 of 3 read" in words_on(visit("read_study.py"))


def test_rounds_arms_washout_balance_and_seed_are_kept(world: World, cases: tuple[int, ...]) -> None:
    tab = give_name(visit("studies.py"), "crossover")
    next(field for field in tab.number_input if field.label == "Rounds").set_value(2).run()
    next(box for box in tab.selectbox if box.label == "Arm of round 2").set_value(Arm.MODEL_FIRST).run()
    next(field for field in tab.number_input if field.label.startswith("Washout")).set_value(14.0).run()
    next(field for field in tab.number_input if field.label.startswith("Seed")).set_value(4711).run()
    tab.checkbox[0].check().run()
    assert "6 for each reader" in words_on(tab)
    assert "each round begins 14 days after" in words_on(tab)
    press(tab, "Create study")
    (made,) = studies(world)
    assert (made.seed, made.washout_days, made.counterbalanced) == (4711, 14, True)
    assert [(part.round, part.arm, part.of) for part in made.progress] == [
        (1, Arm.UNAIDED, 3),
        (2, Arm.MODEL_FIRST, 3),
    ]


def test_a_new_seed_is_drawn_for_every_form_and_stays_while_it_is_filled_in(
    world: World, cases: tuple[int, ...]
) -> None:
    seeds = []
    for _ in range(2):
        tab = visit("studies.py")
        seed = next(field for field in tab.number_input if field.label.startswith("Seed")).value
        give_name(tab, "x")
        assert next(field for field in tab.number_input if field.label.startswith("Seed")).value == seed
        seeds.append(seed)
    assert seeds[0] != seeds[1]


def test_cases_are_chosen_by_filter(world: World, cases: tuple[int, ...]) -> None:
    tab = give_name(visit("studies.py"), "pilot")
    next(box for box in tab.selectbox if box.label == "Magnification").set_value("100X").run()
    assert "**2 readings**" in words_on(tab)
    next(box for box in tab.selectbox if box.label == "Kind").set_value("generated demo cases").run()
    assert "1 to 5000 cases, got 0" in words_on(tab)
    assert not [button for button in tab.button if button.label == "Create study"]


def test_a_pasted_list_is_checked_line_by_line(world: World, cases: tuple[int, ...]) -> None:
    tab = paste(give_name(visit("studies.py"), "pilot"), ["C-0001", "", "nowhere *", " C-0003 ", "C-0001"])
    assert tab.error[0].value == "line 3\\: there is no case nowhere \\*  \nline 5\\: C-0001 is already in line 1"
    make = next(button for button in tab.button if button.label == "Create study")
    assert make.disabled
    paste(tab, ["C-0003", "C-0001"])
    press(tab, "Create study")
    assert studies(world)[0].total == 2


def test_a_filter_that_more_cases_match_than_a_study_may_have_says_so(
    world: World, cases: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store.studies, "MOST_CASES", 2)
    tab = give_name(visit("studies.py"), "pilot")
    assert "more than 2 cases match" in tab.error[0].value
    assert "Create study" not in {button.label for button in tab.button}


def test_cases_that_cannot_be_in_it_are_listed_and_left_out_when_asked(world: World, cases: tuple[int, ...]) -> None:
    read_first(world, cases[1])
    world.add_case(9)
    tab = give_name(visit("studies.py"), "pilot")
    assert "2 cases cannot be in this study" in tab.warning[0].value
    words = words_on(tab)
    assert "was read in routine reading by reader" in words
    assert "is still being analysed" in words
    assert not [button for button in tab.button if button.label == "Create study"]
    next(box for box in tab.checkbox if box.label == "Leave them out").check().run()
    press(tab, "Create study")
    assert studies(world)[0].total == 2


def test_what_changed_since_the_preview_is_told_and_nothing_typed_is_lost(world: World, cases: tuple[int, ...]) -> None:
    one, two = (give_name(visit("studies.py"), "pilot") for _ in range(2))
    press(one, "Create study")
    press(two, "Create study")
    assert len(studies(world)) == 1
    assert "3 cases cannot be in this study" in two.warning[0].value
    assert next(field for field in two.text_input if field.label == "Name").value == "pilot"


def test_a_study_is_closed_after_a_confirmation(world: World, cases: tuple[int, ...]) -> None:
    tab = press(give_name(visit("studies.py"), "pilot"), "Create study")
    assert "3 of 3 readings are missing" in words_on(tab)
    press(tab, "Yes, close it")
    assert "The study pilot is closed" in tab.success[0].value
    assert studies(world)[0].closed_at is not None
    assert not [button for button in tab.button if button.label == "Yes, close it"]
    assert "closed on 20" in words_on(visit("read_study.py"))


def test_nothing_of_what_is_said_stands_on_the_page(world: World, cases: tuple[int, ...]) -> None:
    press(give_name(visit("studies.py"), "pilot"), "Create study")
    press(visit("read_study.py", study="1"), "▲", "5", "Save and open next case")
    words = words_on(visit("studies.py"))
    assert "1 of 3 read" in words
    assert "malignant" not in words
