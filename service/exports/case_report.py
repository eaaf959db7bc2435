"""Reports of one case as files; each is recorded in the audit trail before it is returned."""

from dataclasses import dataclass

from core.card import Card
from db import store
from db.database import Sessions
from db.files import Files
from db.values.exports import CaseExport
from service.exports.fhir import write_diagnostic_report


@dataclass(frozen=True, slots=True)
class CaseReportRequest:
    """The case to report, the account that asks for it, and whether to include accession number, names and notes."""

    case_id: int
    account_id: int
    named: bool = False


def make_pdf_report(sessions: Sessions, files: Files, request: CaseReportRequest, card: Card | None) -> bytes:
    """Create the PDF report of a case; `card` is that of the model that was shown, if its checkpoint is available.

    Raises:
        NotAllowedError: If this account may not read cases.
        UnknownCaseError: If there is no such case.
        InStudyError: If this reader has to read it in a study.
        NotRevealedError: If this account has neither read the case to the end nor settled it.
    """
    # Importing takes half a second, and pages do not need it until a report is requested.
    from service.exports.pdf import write_case_pdf  # noqa: PLC0415

    export = _load(sessions, request)
    data = write_case_pdf(export, files, card)
    _record(sessions, request, export, "PDF report")
    return data


def make_fhir_report(sessions: Sessions, request: CaseReportRequest) -> bytes:
    """Create the FHIR DiagnosticReport of a case.

    Raises:
        NotAllowedError: If this account may not read cases.
        UnknownCaseError: If there is no such case.
        InStudyError: If this reader has to read it in a study.
        NotRevealedError: If this account has neither read the case to the end nor settled it.
    """
    export = _load(sessions, request)
    data = write_diagnostic_report(export)
    _record(sessions, request, export, "FHIR report")
    return data


def _load(sessions: Sessions, request: CaseReportRequest) -> CaseExport:
    # The report shows what others said, so the reader's own last word stays as it is from now on.
    with sessions.begin() as session:
        store.reads.end_undo(session, request.account_id, request.case_id)
    with sessions.read() as session:
        return store.exports.exported_case(session, request.case_id, request.account_id, named=request.named)


def _record(sessions: Sessions, request: CaseReportRequest, export: CaseExport, kind: str) -> None:
    with sessions.begin() as session:
        store.exports.record_case_export(session, request.account_id, request.case_id, export, kind)
