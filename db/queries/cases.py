"""Rows of cases and images, and locks on cases."""

from collections.abc import Sequence
from typing import Literal

from sqlalchemy import select
from sqlalchemy.orm import Session

from core.results import Quality, QualityFinding
from db import tables
from db.errors import UnknownCaseError
from db.values.reading import LARGEST_ID


def lock_case(session: Session, case_id: int) -> tables.Case:
    """Return the row of a case, locked until the transaction ends.

    SQLite has no row locks and needs none: there is only one writing session at a time.
    """
    check_id(case_id)
    query = select(tables.Case).where(tables.Case.id == case_id).with_for_update(key_share=True)
    case = session.scalar(query.execution_options(populate_existing=True))
    if case is None:
        raise UnknownCaseError(f"there is no case number {case_id}")
    return case


def case_row(session: Session, case_id: int) -> tables.Case:
    """Return the row of a case, or raise UnknownCaseError."""
    check_id(case_id)
    case = session.get(tables.Case, case_id)
    if case is None:
        raise UnknownCaseError(f"there is no case number {case_id}")
    return case


def image_row(session: Session, image_id: int) -> tables.Image:
    """Return the row of an image, or raise UnknownCaseError."""
    check_id(image_id)
    image = session.get(tables.Image, image_id)
    if image is None:
        raise UnknownCaseError(f"there is no image number {image_id}")
    return image


def quality_of(row: tables.Image) -> Quality:
    """Return the quality that was measured at intake, and what was noticed when the file was read."""
    findings = tuple(QualityFinding(_finding_kind(finding["kind"]), finding["message"]) for finding in row.findings)
    return Quality(row.sharpness, row.tissue_fraction, findings)


def write_findings(findings: Sequence[QualityFinding]) -> list[dict[str, str]]:
    """Return findings as they are stored."""
    return [{"kind": finding.kind, "message": finding.message} for finding in findings]


def _finding_kind(stored: str) -> Literal["unreadable", "warning", "note"]:
    if stored == "unreadable":
        return "unreadable"
    return "note" if stored == "note" else "warning"


def check_id(number: int) -> None:
    """Refuse a number that no row can have.

    Raises:
        UnknownCaseError: If it is one.
    """
    if not 0 < number <= LARGEST_ID:
        raise UnknownCaseError(f"there is no case or image number {number}")
