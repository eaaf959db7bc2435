"""The export menu of one case: a PDF and a FHIR report, generated only at the click."""

import re
import secrets
from functools import partial

import streamlit as st

from core.card import Card
from db import store
from db.values.reading import CaseView
from pages.ui import resources
from service.exports.case_report import CaseReportRequest, make_fhir_report, make_pdf_report

_INCLUDE_NAMES = "Include accession, names and notes"
_CONTENT = "The reports contain the opinions of all readers of this case."
_WITH_NAMES = "Treat them as patient data."
_WITHOUT_NAMES = "De-identified."


def draw_case_export(case: CaseView) -> None:
    """Draw the export menu for a reader who has finished the case or adjudicated it; names are left out by default."""
    account = resources.account().id
    with resources.sessions().read() as session:
        if not store.exports.may_export_case(session, case.id, account):
            return
        versions = store.sign_offs.sign_offs_of(session, case.id, account).versions
    with st.popover("Export", type="tertiary"):
        named = st.toggle(_INCLUDE_NAMES, key=f"export-named-{case.id}")
        request = CaseReportRequest(case.id, account, named)
        make_pdf, make_fhir = partial(_make_pdf, request, _find_card(case)), partial(_make_fhir, request)
        name = name_report(case.accession, len(versions)) if named else f"report-{_draw_number(case.id)}"
        _draw_download("PDF report", f"{name}.pdf", "application/pdf", make_pdf, case.id)
        _draw_download("FHIR DiagnosticReport", f"{name}.json", "application/fhir+json", make_fhir, case.id)
        st.caption(f"{_CONTENT} {_WITH_NAMES if named else _WITHOUT_NAMES}")


def name_report(accession: str, version: int) -> str:
    """Return the name of the file of a report, without its ending; version 0 is a case that is not signed off."""
    # Not every system takes every character in the name of a file.
    number = re.sub(r"[^\w.-]+", "-", accession).strip("-.") or "case"
    return f"{number}-version-{version}" if version else f"{number}-not-signed-off"


def _draw_number(case_id: int) -> int:
    """Draw a number that tells nothing of the case; in this session it stays the same."""
    return int(st.session_state.setdefault(f"report-number-{case_id}", 100_000 + secrets.randbelow(900_000)))


def _draw_download(label: str, name: str, kind: str, make: partial[bytes], case_id: int) -> None:
    st.download_button(label, make, name, kind, key=f"export-{kind}-{case_id}", on_click="ignore")


def _make_pdf(request: CaseReportRequest, card: Card | None) -> bytes:
    return make_pdf_report(resources.sessions(), resources.files(), request, card)


def _make_fhir(request: CaseReportRequest) -> bytes:
    return make_fhir_report(resources.sessions(), request)


def _find_card(case: CaseView) -> Card | None:
    """Return the card of the model that analysed the case; None if another model is in service now."""
    checkpoint = resources.checkpoint()
    return checkpoint.card if case.reveal and case.reveal.model_version == checkpoint.version else None
