"""Where files can be taken along: nowhere before the own last word, and without names unless somebody turns them on."""

import re

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from db import store
from db.values.reading import Opinion
from pages.ui.reading.case_report import name_report
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


def test_a_report_is_named_by_its_case_and_version_and_a_de_identified_one_by_a_neutral_number(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    names: list[str] = []
    drawn = st.download_button

    def draw(label: str, data: object, file_name: str, *rest: object, **more: object) -> bool:
        names.append(file_name)
        return bool(drawn(label, data, file_name, *rest, **more))  # type: ignore[arg-type]

    monkeypatch.setattr(st, "download_button", draw)
    case_id = world.add_case(1, accession="S24/10 Ä")
    world.analyse(0.8125)
    with world.sessions.begin() as session:
        store.reads.record_first_read(session, case_id, world.reader, Opinion("malignant", 3), OPENED)
        store.reads.record_final_read(session, case_id, world.reader, Opinion("malignant", 3), OPENED)
    tab = visit("read_case.py", case=str(case_id))
    pdf, fhir = names[-2:]
    assert re.fullmatch(r"report-\d{6}\.pdf", pdf)
    assert fhir == pdf.replace(".pdf", ".json")
    tab.toggle(key=f"export-named-{case_id}").set_value(True).run()
    assert names[-2:] == ["S24-10-Ä-not-signed-off.pdf", "S24-10-Ä-not-signed-off.json"]
    tab.toggle(key=f"export-named-{case_id}").set_value(False).run()
    assert names[-2:] == [pdf, fhir]


def test_the_name_of_a_report_says_the_version_and_is_a_name_of_a_file() -> None:
    assert name_report("S24-10", 2) == "S24-10-version-2"
    assert name_report("../S24:10?", 0) == "S24-10-not-signed-off"
    assert name_report("<>", 1) == "case-version-1"


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
