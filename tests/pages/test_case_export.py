"""Where files can be taken along: nowhere before the own last word, and without names unless somebody turns them on."""

import pytest
from streamlit.testing.v1 import AppTest

from db import store
from db.values import Opinion
from pages.ui.nameless import readings_without_names
from tests.helpers.reading_room import ReadingRoom, room
from tests.helpers.rows import OPENED

__all__ = ["room"]

_REPORTS = {"PDF report", "FHIR DiagnosticReport"}
_READS = "Reads, scores and regions (ZIP)"


def downloads(tab: AppTest) -> set[str]:
    return {button.proto.label for button in tab.get("download_button")}


@pytest.fixture
def read_case(room: ReadingRoom) -> int:
    case_id = room.add_case(1)
    room.analyse_all(0.8125)
    return case_id


def test_a_report_is_offered_after_the_final_opinion_only(room: ReadingRoom, read_case: int) -> None:
    address = {"case": str(read_case)}
    assert not downloads(room.visit("read_case.py", **address)) & _REPORTS
    with room.sessions.begin() as session:
        store.record_first_read(session, read_case, room.reader, Opinion("malignant", 3), OPENED)
    assert not downloads(room.visit("read_case.py", **address)) & _REPORTS
    with room.sessions.begin() as session:
        store.record_final_read(session, read_case, room.reader, Opinion("malignant", 3), OPENED)
    tab = room.visit("read_case.py", **address)
    assert downloads(tab) >= _REPORTS
    named = tab.toggle(key=f"export-named-{read_case}")
    assert not named.value
    assert "De-identified." in " ".join(each.value for each in tab.caption)
    named.set_value(True).run()
    assert "Treat them as patient data." in " ".join(each.value for each in tab.caption)


def test_reads_are_offered_on_the_page_of_agreement_without_names_at_first(room: ReadingRoom) -> None:
    tab = room.visit("agreement.py")
    assert _READS in downloads(tab)
    assert not tab.toggle(key="export-reads-0-named").value
    assert not tab.toggle(key="export-reads-0-clock").value
    assert "De-identified" in " ".join(each.value for each in tab.caption)


def test_nothing_is_made_or_recorded_by_drawing_a_page(room: ReadingRoom, read_case: int) -> None:
    with room.sessions.begin() as session:
        store.record_first_read(session, read_case, room.reader, Opinion("malignant", 3), OPENED)
        store.record_final_read(session, read_case, room.reader, Opinion("malignant", 3), OPENED)
    room.visit("read_case.py", case=str(read_case))
    room.visit("agreement.py")
    with room.sessions.begin() as session:
        assert "exported" not in [event.action for event in store.audit_trail(session)]
        assert readings_without_names(store.finished_readings(session, room.reader))[0].reader == "reader 1"
