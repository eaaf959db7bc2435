"""Reports of one case to take along, made only when they are asked for."""

from functools import partial

import streamlit as st

from core.card import Card
from db import store
from db.values.reading import CaseView
from pages.ui import resources
from service.exports.case_report import CaseWanted, fhir_report, pdf_report

_NAMED = "With accession, names and notes"


def case_export(case: CaseView) -> None:
    """Offer the reports of a case to who has had the last word on it, without names unless they ask for them."""
    account = resources.account().id
    with resources.sessions().read() as session:
        if not store.exports.may_export_case(session, case.id, account):
            return
    with st.popover("Export", type="tertiary"):
        named = st.toggle(_NAMED, key=f"export-named-{case.id}")
        wanted = CaseWanted(case.id, account, named)
        _button("PDF report", "case-report.pdf", "application/pdf", partial(_pdf, wanted, _card(case)), case.id)
        _button("FHIR DiagnosticReport", "case-report.json", "application/fhir+json", partial(_fhir, wanted), case.id)
        st.caption(
            "They hold what every reader of this case said. "
            + ("Treat them as patient data." if named else "De-identified.")
        )


def _button(label: str, name: str, kind: str, make: partial[bytes], case_id: int) -> None:
    st.download_button(label, make, name, kind, key=f"export-{name}-{case_id}", on_click="ignore")


def _pdf(wanted: CaseWanted, card: Card | None) -> bytes:
    return pdf_report(resources.sessions(), resources.files(), wanted, card)


def _fhir(wanted: CaseWanted) -> bytes:
    return fhir_report(resources.sessions(), wanted)


def _card(case: CaseView) -> Card | None:
    """Give the card of the model that spoke, if it is the one in service."""
    checkpoint = resources.checkpoint()
    return checkpoint.card if case.reveal and case.reveal.model_version == checkpoint.version else None
