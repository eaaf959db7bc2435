"""The worklist: what waits, what is read, and nothing of the model in between."""

from tests.reading_room import ReadingRoom, press, room, words_on

__all__ = ["room"]


def test_an_empty_worklist_offers_two_ways_to_begin(room: ReadingRoom) -> None:
    tab = room.visit("worklist.py")
    assert [button.label for button in tab.button] == ["Upload images", "Make a demo case"]


def test_the_cases_stand_with_their_state(room: ReadingRoom) -> None:
    room.add_case(1, 2)
    room.analyse_all()
    room.add_case(3, magnification=None)
    frame = room.visit("worklist.py").dataframe[0].value
    assert list(frame["case"]) == ["C-0001", "C-0002"]
    assert list(frame["state"]) == ["to read", "being analysed"]
    assert list(frame["images"]) == ["2", "0 of 1 analysed"]
    assert list(frame["magnification"]) == ["100X", "not said"]


def test_nothing_of_the_model_stands_in_the_worklist(room: ReadingRoom) -> None:
    room.add_case(1)
    room.analyse_all(0.8125)
    words = words_on(room.visit("worklist.py"))
    assert not [telltale for telltale in ("0.81", "malignant", "0123456789ab") if telltale in words]


def test_filters_narrow_the_table_and_say_when_nothing_is_left(room: ReadingRoom) -> None:
    room.add_case(1, accession="S26-100")
    room.add_case(2, accession="S26-200", magnification="400X")
    tab = room.visit("worklist.py")
    tab.text_input[0].set_value("200").run()
    assert list(tab.dataframe[0].value["case"]) == ["S26-200"]
    tab.selectbox[0].set_value("40X").run()
    assert not tab.dataframe
    assert "No case matches" in words_on(tab)


def test_read_next_opens_the_oldest_case_to_read(room: ReadingRoom) -> None:
    room.add_case(1)
    room.add_case(2)
    room.analyse_all()
    tab = press(room.visit("worklist.py"), "Read next")
    assert tab.query_params["case"] == "1"
    assert "Your first opinion" in words_on(tab)


def test_read_next_rests_while_nothing_is_ready(room: ReadingRoom) -> None:
    room.add_case(1)
    tab = room.visit("worklist.py")
    assert [button.disabled for button in tab.button if button.label == "Read next"] == [True]
