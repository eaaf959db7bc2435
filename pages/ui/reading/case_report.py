"""The export menu of one case: a PDF and a FHIR report, generated only at the click."""

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
    with st.popover("Export", type="tertiary"):
        named = st.toggle(_INCLUDE_NAMES, key=f"export-named-{case.id}")
        request = CaseReportRequest(case.id, account, named)
        make_pdf, make_fhir = partial(_make_pdf, request, _find_card(case)), partial(_make_fhir, request)
        _draw_download("PDF report", "case-report.pdf", "application/pdf", make_pdf, case.id)
        _draw_download("FHIR DiagnosticReport", "case-report.json", "application/fhir+json", make_fhir, case.id)
        st.caption(f"{_CONTENT} {_WITH_NAMES if named else _WITHOUT_NAMES}")


def _draw_download(label: str, name: str, kind: str, make: partial[bytes], case_id: int) -> None:
    st.download_button(label, make, name, kind, key=f"export-{name}-{case_id}", on_click="ignore")


def _make_pdf(request: CaseReportRequest, card: Card | None) -> bytes:
    return make_pdf_report(resources.sessions(), resources.files(), request, card)


def _make_fhir(request: CaseReportRequest) -> bytes:
    return make_fhir_report(resources.sessions(), request)


def _find_card(case: CaseView) -> Card | None:
    """Return the card of the model that analysed the case; None if another model is in service now."""
    checkpoint = resources.checkpoint()
    return checkpoint.card if case.reveal and case.reveal.model_version == checkpoint.version else None
