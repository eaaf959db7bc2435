"""The page of agreement: figures with the cases behind them, and nothing of a case that is not finished."""

import pytest
from streamlit.testing.v1 import AppTest

from core.labels import Malignancy
from db import store
from db.values.accounts import Role
from db.values.adjudication import ProposedSignOff, Ruling, Severity
from db.values.reading import Opinion
from pages.ui.agreement.choices import VIEWS
from service.intake import CasePlan, add_images
from tests.helpers.app_pages import visit, words_on
from tests.helpers.images.tissue import tissue_png
from tests.helpers.rows import OPENED
from tests.helpers.world import World


def read_through(world: World, case_id: int, first: Malignancy, final: Malignancy, reader: int | None = None) -> None:
    """Read a case to the end; the model says malignant."""
    who = world.reader if reader is None else reader
    reason = None if final == "malignant" else "quality"
    with world.sessions.begin() as session:
        store.reads.record_first_read(session, case_id, who, Opinion(first, 4), OPENED)
        store.reads.record_final_read(session, case_id, who, Opinion(final, 4, reason=reason), OPENED)


def second_reader(world: World, name: str = "dr. b") -> int:
    with world.sessions.begin() as session:
        return store.accounts.add_account(session, name, Role.READER).id


@pytest.fixture
def read_world(world: World) -> World:
    """Three cases that two readers have finished, and two that only the other one has."""
    other = second_reader(world)
    cases = [world.add_case(seed, magnification="40X" if seed == 1 else "100X") for seed in range(1, 6)]
    world.analyse(0.8125)
    read_through(world, cases[0], "benign", "malignant")
    read_through(world, cases[1], "malignant", "malignant")
    read_through(world, cases[2], "benign", "benign")
    for case_id in cases:
        read_through(world, case_id, "benign", "benign", other)
    return world


def turn_to(tab: AppTest, view: str) -> AppTest:
    tab.segmented_control(key="agreement-view").set_value(view).run()
    assert not tab.exception, tab.exception
    return tab


def test_without_a_finished_case_the_page_says_how_one_comes_about(world: World) -> None:
    world.add_case(1)
    world.analyse()
    tab = visit("agreement.py")
    assert "No finished case yet" in words_on(tab)
    assert not tab.dataframe


def test_a_case_counts_only_for_who_has_finished_it(read_world: World) -> None:
    tab = visit("agreement.py")
    assert "3 cases you have finished" in words_on(tab)
    for view in VIEWS:
        words = words_on(turn_to(tab, view))
        assert "C-0001" in words
        assert "C-0004" not in words
        assert "C-0005" not in words


def test_the_model_and_the_others_are_on_no_wire_before_the_final_read(world: World) -> None:
    other = second_reader(world)
    read, begun = world.add_case(1), world.add_case(2, accession="begun")
    world.analyse(0.8125)
    for case_id in (read, begun):
        read_through(world, case_id, "benign", "benign", other)
    with world.sessions.begin() as session:
        store.reads.record_first_read(session, begun, world.reader, Opinion("benign", 3), OPENED)
    words = words_on(visit("agreement.py"))
    assert not [telltale for telltale in ("malignant", "0123456789ab", "dr. b", "begun") if telltale in words]
    read_through(world, read, "benign", "malignant")
    words = words_on(visit("agreement.py"))
    assert "dr. b" in words
    assert "begun" not in words


def test_every_reader_stands_with_rate_interval_and_n(read_world: World) -> None:
    table = visit("agreement.py").dataframe[0].value
    assert list(table["Reader"]) == ["all readers", "dr. b", "reader"]
    assert list(table["Same label before the reveal"]) == [
        "17% [3%, 56%], 1 of 6",
        "0% [0%, 56%], 0 of 3",
        "33% [6%, 79%], 1 of 3",
    ]
    assert list(table["Same label after the reveal"])[2] == "67% [21%, 94%], 2 of 3"
    assert list(table.columns)[1:] == [
        f"{what} {when} the reveal" for when in ("before", "after") for what in ("Same label", "Kappa")
    ]


def test_a_figure_and_a_cell_open_the_cases_behind_them(read_world: World) -> None:
    tab = visit("agreement.py")
    behind = next(box for box in tab.selectbox if box.label.startswith("Cases behind"))
    assert behind.options[0] == "all readings (6)"
    figure = next(words for words in behind.options if words.startswith("reader: same label after"))
    behind.set_value(figure).run()
    shown = tab.dataframe[1].value
    assert list(shown["Case"]) == ["C-0003", "C-0001", "C-0002"], "those that differ come first"
    assert next(iter(shown["After"])) == "○ benign (4/5)"
    cell = next(words for words in behind.options if words.endswith("reader ▲ malignant, model ▲ malignant (1)"))
    next(box for box in tab.selectbox if box.label.startswith("Cases behind")).set_value(cell).run()
    assert list(tab.dataframe[1].value["Case"]) == ["C-0002"]
    assert len(tab.get("plotly_chart")) == 2


def test_two_readers_are_held_against_each_other(read_world: World) -> None:
    tab = turn_to(visit("agreement.py"), "Reader and reader")
    table = tab.dataframe[0].value
    assert list(table["Readers"]) == ["dr. b and reader"]
    assert list(table["Same label before the reveal"]) == ["67% [21%, 94%], 2 of 3"]
    assert "No reader has read a case a second time" in words_on(tab)


def test_one_reader_alone_is_told_what_is_missing(world: World) -> None:
    case_id = world.add_case(1)
    world.analyse()
    read_through(world, case_id, "benign", "malignant")
    tab = turn_to(visit("agreement.py"), "Reader and reader")
    assert "needs a second reader of the same cases" in words_on(tab)
    assert not tab.get("plotly_chart")


def test_the_reveal_is_told_against_the_model_or_against_reference_labels(read_world: World) -> None:
    tab = turn_to(visit("agreement.py"), "Effect of the reveal")
    table = tab.dataframe[0].value
    assert list(table["Towards the model"]) == [
        "17% [3%, 56%], 1 of 6",
        "0% [0%, 56%], 0 of 3",
        "33% [6%, 79%], 1 of 3",
    ]
    tab.file_uploader[0].set_value(
        [("labels.csv", b"case,label\nC-0001,benign\nC-0002,ductal carcinoma\n", "text/csv")]
    )
    tab.run()
    assert not tab.exception
    table = tab.dataframe[0].value
    assert list(table["Right → wrong"])[2] == "50% [9%, 91%], 1 of 2"
    assert "○ benign" in list(tab.dataframe[1].value["Reference"])
    tab.file_uploader[0].set_value([("labels.csv", b"case,label\nC-0001,perhaps\n", "text/csv")]).run()
    assert "line 2" in tab.error[0].value


def test_adjudicated_labels_are_the_reference_unless_a_file_is_chosen(read_world: World) -> None:
    signed = read_world.add_case(6)
    read_world.analyse(0.8125)
    read_through(read_world, signed, "benign", "malignant")
    with read_world.sessions.begin() as session:
        store.sign_offs.sign_off(session, signed, read_world.reader, ProposedSignOff("malignant", None, None, 1), "")
    settle(read_world, 3, "benign")
    settle(read_world, 4, "benign")  # which this reader has not finished
    tab = turn_to(visit("agreement.py"), "Effect of the reveal")
    words = words_on(tab)
    assert "adjudicated labels of 2 of 4 cases, 1 by consensus, 1 signed off unanimously" in words
    assert "counts as correct" in words
    assert list(tab.dataframe[0].value["Wrong → right"])[2] == "50% [9%, 91%], 1 of 2"
    assert "C-0004" not in words
    tab.radio(key="agreement-reference-source").set_value("a file").run()
    tab.file_uploader[0].set_value([("labels.csv", b"case,label\nC-0001,benign\n", "text/csv")]).run()
    assert "Reference: labels.csv, 1 of 4 cases" in words_on(tab).replace("\\\\", "").replace("\u2060", "")
    tab.radio(key="agreement-reference-source").set_value("none").run()
    assert "Towards the model" in tab.dataframe[0].value


def settle(world: World, case_id: int, label: Malignancy) -> None:
    """Let an adjudicator read a case blind and settle it."""
    with world.sessions.begin() as session:
        adjudicator = store.accounts.add_account(session, f"prof. {case_id}", Role.ADJUDICATOR).id
        store.reads.record_first_read(session, case_id, adjudicator, Opinion(label, 4), OPENED)
    with world.sessions.begin() as session:
        seen = [read.read_id for read in store.adjudication.open_adjudication(session, case_id, adjudicator).reads]
        ruling = Ruling(label, 4, Severity.MINOR)
        store.adjudication.record_consensus(session, case_id, adjudicator, ruling, OPENED, seen=seen)


def test_filters_narrow_and_say_when_nothing_is_left(read_world: World) -> None:
    tab = visit("agreement.py")
    tab.selectbox(key="agreement-Magnification").set_value("40X").run()
    assert "1 case you have finished" in words_on(tab)
    assert set(tab.dataframe[1].value["Case"]) == {"C-0001"}


def test_a_choice_that_the_filters_take_away_is_forgotten(read_world: World) -> None:
    case_id = read_world.add_case(7, magnification="400X")
    read_through(read_world, case_id, "benign", "benign")
    tab = visit("agreement.py")
    tab.selectbox(key="agreement-whose-Reader and model").set_value("dr. b").run()
    behind = next(box for box in tab.selectbox if box.label.startswith("Cases behind"))
    behind.set_value(next(words for words in behind.options if words.startswith("dr. b before"))).run()
    tab.selectbox(key="agreement-Magnification").set_value("400X").run()
    assert not tab.exception, tab.exception
    assert next(box for box in tab.selectbox if box.label.startswith("Cases behind")).value == "all readings (1)"


def test_generated_demo_cases_stay_apart_until_asked_for(world: World) -> None:
    plan = CasePlan(world.reader, "100X", "generated", demonstration=True)
    demo = next(iter(add_images(world.sessions, world.files, plan, [("a.png", tissue_png(9))]))).case_id
    assert demo is not None
    for case_id in (demo, world.add_case(1)):
        read_through(world, case_id, "benign", "benign")
    tab = visit("agreement.py")
    assert "1 case you have finished" in words_on(tab)
    kinds = tab.selectbox(key="agreement-Cases")
    assert list(kinds.options) == ["uploaded cases", "generated demo cases", "uploaded and demo cases"]
    kinds.set_value("generated demo cases").run()
    assert set(tab.dataframe[1].value["Case"]) == {"generated"}
    tab.selectbox(key="agreement-Cases").set_value("uploaded and demo cases").run()
    assert "2 cases you have finished" in words_on(tab)


def test_an_empty_choice_says_so(read_world: World) -> None:
    case_id = read_world.add_case(7, magnification="400X", accession="late")
    read_through(read_world, case_id, "benign", "benign")
    tab = visit("agreement.py")
    tab.selectbox(key="agreement-Magnification").set_value("400X").run()
    # It had no result when it was read.
    assert list(tab.dataframe[0].value["Same label before the reveal"]) == ["–"]
    assert "no model" in words_on(tab)
