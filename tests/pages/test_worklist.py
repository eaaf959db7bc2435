"""The worklist: what waits, what is read, and nothing of the model in between."""

from datetime import UTC, datetime, timedelta

import pytest

from db import store
from db.store.worklist import PAGE
from db.values.reading import Opinion
from db.values.worklist import CaseOrder
from pages.ui.worklist import write_waiting_time
from tests.helpers.app_pages import Place, press, visit, visit_from, words_on
from tests.helpers.world import World, make_case


def test_an_empty_worklist_offers_two_ways_to_begin(world: World) -> None:
    tab = visit("worklist.py")
    assert [button.label for button in tab.button] == ["Upload images", "Create a demo case"]


def test_the_cases_stand_with_their_state(world: World) -> None:
    world.add_case(1, 2)
    world.analyse()
    world.add_case(3, magnification=None)
    frame = visit("worklist.py").dataframe[0].value
    assert list(frame["Case"]) == ["C-0001", "C-0002"]
    assert list(frame["State"]) == ["to read", "being analysed"]
    assert list(frame["Images"]) == ["2", "0 of 1 analysed"]
    assert list(frame["Magnification"]) == ["100X", "not recorded"]


def test_nothing_of_the_model_stands_in_the_worklist(world: World) -> None:
    world.add_case(1)
    world.analyse(0.8125)
    words = words_on(visit("worklist.py"))
    assert not [telltale for telltale in ("0.81", "malignant", "0123456789ab") if telltale in words]


def test_filters_narrow_the_table_and_say_when_nothing_is_left(world: World) -> None:
    world.add_case(1, accession="S26-100")
    world.add_case(2, accession="S26-200", magnification="400X")
    tab = visit("worklist.py")
    tab.text_input[0].set_value("200").run()
    assert list(tab.dataframe[0].value["Case"]) == ["S26-200"]
    tab.selectbox[0].set_value("40X").run()
    assert not tab.dataframe
    assert "No cases match" in words_on(tab)


def test_read_next_opens_the_oldest_case_to_read(world: World) -> None:
    world.add_case(1)
    world.add_case(2)
    world.analyse()
    tab = press(visit("worklist.py"), "Read next")
    assert tab.query_params["case"] == "1"
    assert "Your first opinion" in words_on(tab)


def test_read_next_rests_while_nothing_is_ready(world: World) -> None:
    world.add_case(1)
    tab = visit("worklist.py")
    assert [button.disabled for button in tab.button if button.label == "Read next"] == [True]


def test_a_sorted_and_filtered_list_stays_so_while_a_case_is_visited(world: World) -> None:
    world.add_case(1, accession="b")
    world.add_case(2, accession="a")
    world.add_case(3, accession="c", magnification="400X")
    world.analyse()
    tab = visit("worklist.py")
    tab.selectbox(key="worklist-order").set_value(CaseOrder.ACCESSION).run()
    tab.selectbox(key="worklist-magnification").set_value("100X").run()
    assert list(tab.dataframe[0].value["Case"]) == ["a", "b"]
    tab = press(tab, "Read next")
    assert "Your first opinion" in words_on(tab)
    tab.switch_page("worklist.py").run()
    assert list(tab.dataframe[0].value["Case"]) == ["a", "b"]
    assert list(tab.dataframe[0].value["State"]) == ["to read", "in reading"]


def test_the_orders_that_tell_of_the_model_say_so_and_list_what_was_read(world: World) -> None:
    read = world.add_case(1)
    world.add_case(2)
    world.analyse()
    with world.sessions.begin() as session:
        store.reads.record_first_read(session, read, world.reader, Opinion("benign", 3), datetime.now(UTC))
    tab = visit("worklist.py")
    tab.selectbox(key="worklist-order").set_value(CaseOrder.UNCERTAINTY).run()
    assert list(tab.dataframe[0].value["Case"]) == ["C-0001"]
    assert "Only cases with your first opinion are listed" in words_on(tab)
    tab.selectbox(key="worklist-order").set_value(CaseOrder.DISCORDANCE).run()
    assert not tab.dataframe
    assert "Only cases with your final opinion are listed" in words_on(tab)


def test_the_one_reader_sees_no_word_of_assignments_priorities_and_others(world: World) -> None:
    world.add_case(1)
    world.analyse()
    tab = visit("worklist.py")
    shown = ["Tissue", "Case", "State", "Images", "Magnification", "Waiting", "Added"]
    assert list(tab.dataframe[0].value.columns) == shown
    assert not tab.toggle


def test_only_groups_with_cases_are_counted(world: World) -> None:
    world.add_case(1)
    world.add_case(2)
    world.analyse()
    world.add_case(3)
    tab = visit("worklist.py")
    pills = tab.get("button_group")[0]
    assert [option.content for option in pills.proto.options] == ["2 to read", "1 being analysed"]


def test_who_skips_all_cases_sees_each_of_them_once_before_one_comes_again(world: World) -> None:
    cases = [world.add_case(seed) for seed in (1, 2, 3)]
    world.analyse()
    with world.sessions.begin() as session:
        store.planning.set_priority(session, world.reader, [cases[1]], urgent=True)
    tab = visit("read_case.py")
    seen = [tab.query_params["case"]]
    for _ in range(3):
        tab = press(tab, "Skip to next")
        seen.append(tab.query_params["case"])
    assert [one for [one] in seen] == ["2", "3", "1", "2"]
    tab.switch_page("worklist.py").run()
    assert list(tab.dataframe[0].value["Priority"]) == ["urgent", "", ""]


def test_a_long_list_is_turned_page_by_page_and_begins_anew_with_another_filter(world: World) -> None:
    with world.sessions.begin() as session:
        for _ in range(PAGE + 2):
            make_case(session, world.reader)
    tab = visit("worklist.py")
    shown = [list(tab.dataframe[0].value["Case"])]
    assert f"1 to {PAGE} of {PAGE + 2} cases" in words_on(tab)
    assert [tab.button(key=f"worklist-{way}").disabled for way in ("previous", "next")] == [True, False]
    for way in ("next", "previous", "next"):
        tab.button(key=f"worklist-{way}").click().run()
        shown.append(list(tab.dataframe[0].value["Case"]))
    assert [len(page) for page in shown] == [PAGE, 2, PAGE, 2]
    assert shown[0] == shown[2]
    assert shown[0] + shown[1] == [f"C-{number:04d}" for number in range(1, PAGE + 3)]
    assert [tab.button(key=f"worklist-{way}").disabled for way in ("previous", "next")] == [False, True]
    tab.selectbox(key="worklist-order").set_value(CaseOrder.NEWEST).run()
    assert tab.dataframe[0].value["Case"][0] == f"C-{PAGE + 2:04d}"


def test_a_list_of_one_page_has_no_buttons_to_turn_it(world: World) -> None:
    world.add_case(1)
    assert not [button for button in visit("worklist.py").button if "page" in button.label]


@pytest.mark.parametrize(
    ("waited", "words"),
    [
        (timedelta(seconds=-5), "0 min"),
        (timedelta(minutes=59.9), "59 min"),
        (timedelta(hours=1), "1 h"),
        (timedelta(hours=47.9), "47 h"),
        (timedelta(days=2), "2 d"),
    ],
    ids=str,
)
def test_a_waiting_time_is_written_in_its_largest_unit(waited: timedelta, words: str) -> None:
    now = datetime(2026, 11, 20, tzinfo=UTC)
    assert write_waiting_time(now - waited, now) == words


def test_each_case_shows_a_thumbnail_from_the_address_that_asks_who_may_see_it(world: World) -> None:
    world.add_case(1, 2)
    world.add_case(3)
    tab = visit("worklist.py")
    assert list(tab.dataframe[0].value["Tissue"]) == ["images/1/thumbnail", "images/3/thumbnail"]
    assert "data:image" not in words_on(tab), "no pixels are sent with the page"


def test_case_numbers_are_sorted_and_found_as_the_language_of_the_browser_has_them(world: World) -> None:
    for seed, accession in enumerate(("Z-1", "S24-10", "Ä-1", "S24-2"), start=1):
        world.add_case(seed, accession=accession)
    for language, expected in (("de-DE", ["Ä-1", "S24-2", "S24-10", "Z-1"]), ("sv", ["S24-2", "S24-10", "Z-1", "Ä-1"])):
        tab = visit_from(Place(language=language), "worklist.py")
        tab.selectbox(key="worklist-order").set_value(CaseOrder.ACCESSION).run()
        assert list(tab.dataframe[0].value["Case"]) == expected
    tab.text_input(key="worklist-text").set_value("ä").run()
    assert list(tab.dataframe[0].value["Case"]) == ["Ä-1"]
