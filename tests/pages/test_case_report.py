"""Where files can be taken along: nowhere before the own last word, and without names unless somebody turns them on."""

import pytest
from streamlit.testing.v1 import AppTest

from db import store
from db.values.reading import Opinion
from pages.ui.without_names import readings_without_names
from tests.helpers.app_pages import visit
from tests.helpers.rows import OPENED
from tests.helpers.world import World

_REPORTS = {"PDF report", "FHIR DiagnosticReport"}
_READS = "Reads, scores and regions (ZIP)"


def downloads(tab: AppTest) -> set[str]:
    return {button.proto.label for button in tab.get("download_button")}


@pytest.fixture
def read_case(world: World) -> int:
    case_id = world.add_case(1)
    world.analyse(0.8125)
    return case_id


def test_a_report_is_offered_after_the_final_opinion_only(world: World, read_case: int) -> None:
    address = {"case": str(read_case)}
    assert not downloads(visit("read_case.py", **address)) & _REPORTS
    with world.sessions.begin() as session:
        store.reads.record_first_read(session, read_case, world.reader, Opinion("malignant", 3), OPENED)
    assert not downloads(visit("read_case.py", **address)) & _REPORTS
    with world.sessions.begin() as session:
        store.reads.record_final_read(session, read_case, world.reader, Opinion("malignant", 3), OPENED)
    tab = visit("read_case.py", **address)
    assert downloads(tab) >= _REPORTS
    named = tab.toggle(key=f"export-named-{read_case}")
    assert not named.value
    assert "De-identified." in " ".join(each.value for each in tab.caption)
    named.set_value(True).run()
    assert "Treat them as patient data." in " ".join(each.value for each in tab.caption)


def test_reads_are_offered_on_the_page_of_agreement_without_names_at_first(world: World) -> None:
    tab = visit("agreement.py")
    assert _READS in downloads(tab)
    assert not tab.toggle(key="export-reads-0-named").value
    assert not tab.toggle(key="export-reads-0-clock").value
    assert "De-identified" in " ".join(each.value for each in tab.caption)


def test_nothing_is_made_or_recorded_by_drawing_a_page(world: World, read_case: int) -> None:
    with world.sessions.begin() as session:
        store.reads.record_first_read(session, read_case, world.reader, Opinion("malignant", 3), OPENED)
        store.reads.record_final_read(session, read_case, world.reader, Opinion("malignant", 3), OPENED)
    visit("read_case.py", case=str(read_case))
    visit("agreement.py")
    with world.sessions.begin() as session:
        assert "exported" not in [event.action for event in store.audit.audit_trail(session)]
        assert readings_without_names(store.agreement.finished_readings(session, world.reader))[0].reader == "reader 1"
