"""Messages of browser tabs: what no page could read is taken out, and all else arrives as it was sent."""

import pytest
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.WidgetStates_pb2 import WidgetState

from pages.ui.incoming import refuse_unreadable

_DEEP = "[" * 20 + "]" * 20


def _sent(*states: WidgetState) -> bytes:
    message = BackMsg()
    message.rerun_script.query_string = "case=1"
    message.rerun_script.widget_states.widgets.extend(states)
    return message.SerializeToString()


def _arrived(*states: WidgetState) -> dict[str, WidgetState]:
    message = BackMsg.FromString(refuse_unreadable(_sent(*states)))
    assert message.rerun_script.query_string == "case=1"
    return {state.id: state for state in message.rerun_script.widget_states.widgets}


@pytest.mark.parametrize(
    "written",
    [
        "",
        "{",
        "not JSON",
        "[" * 100_000,
        '{"a":' * 5_000,
        "9" * 5_000,
        _DEEP,
        r'{"marks": {"note": "a\u0000b"}}',
        r'["\u0000"]',
    ],
    ids=lambda written: written[:12],
)
def test_json_that_cannot_be_read_is_taken_out_and_the_other_widgets_stay(written: str) -> None:
    other = WidgetState(id="note", string_value="typed")
    for bad in (WidgetState(id="viewer", json_value=written), WidgetState(id="viewer", json_trigger_value=written)):
        assert _arrived(other, bad) == {"note": other}


def test_what_our_viewer_sends_arrives_unchanged() -> None:
    marks = '{"marks": {"form": "first-1", "regions": [{"image_id": 1, "points": [[1.5, 2]], "note": "é"}]}}'
    states = (WidgetState(id="viewer", json_value=marks), WidgetState(id="save", trigger_value=True))
    assert _arrived(*states) == {state.id: state for state in states}


def test_nul_is_taken_out_of_texts() -> None:
    choices = WidgetState(id="choices")
    choices.string_array_value.data.extend(["a\0b", "c"])
    arrived = _arrived(WidgetState(id="filter", string_value="S24\0-1"), choices)
    assert arrived["filter"].string_value == "S24-1"
    assert list(arrived["choices"].string_array_value.data) == ["ab", "c"]


def test_other_messages_are_left_alone() -> None:
    message = BackMsg()
    message.clear_cache = True
    for data in (message.SerializeToString(), b"\xff\xff no message", b""):
        assert refuse_unreadable(data) == data
