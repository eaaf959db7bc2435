"""Reports of one case as files, recorded before they are given out."""

from dataclasses import dataclass

from core.card import Card
from db import store
from db.database import Sessions
from db.files import Files
from db.values.exports import CaseExport
from service.exports.fhir import diagnostic_report


@dataclass(frozen=True, slots=True)
class CaseWanted:
    """Which case is reported to whom, and whether with accession, names and notes."""

    case_id: int
    account_id: int
    named: bool = False


def pdf_report(sessions: Sessions, files: Files, wanted: CaseWanted, card: Card | None) -> bytes:
    """Make the PDF report of a case; `card` is that of the model that spoke, if its checkpoint is at hand.

    Raises:
        NotAllowedError: If this account may not read cases.
        UnknownCaseError: If there is no such case.
        InStudyError: If this reader has to read it in a study.
        NotRevealedError: If this account has neither read the case to the end nor settled it.
    """
    # Half a second to import, and no page needs it to be drawn.
    from service.exports.pdf import case_pdf  # noqa: PLC0415

    found = _found(sessions, wanted)
    data = case_pdf(found, files, card)
    _record(sessions, wanted, found, "PDF report")
    return data


def fhir_report(sessions: Sessions, wanted: CaseWanted) -> bytes:
    """Make the FHIR DiagnosticReport of a case.

    Raises:
        NotAllowedError: If this account may not read cases.
        UnknownCaseError: If there is no such case.
        InStudyError: If this reader has to read it in a study.
        NotRevealedError: If this account has neither read the case to the end nor settled it.
    """
    found = _found(sessions, wanted)
    data = diagnostic_report(found)
    _record(sessions, wanted, found, "FHIR report")
    return data


def _found(sessions: Sessions, wanted: CaseWanted) -> CaseExport:
    with sessions.read() as session:
        return store.exports.exported_case(session, wanted.case_id, wanted.account_id, named=wanted.named)


def _record(sessions: Sessions, wanted: CaseWanted, found: CaseExport, kind: str) -> None:
    with sessions.begin() as session:
        store.exports.record_case_export(session, wanted.account_id, wanted.case_id, found, kind)
