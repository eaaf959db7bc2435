"""Add cases and their images, and record a magnification that was left out."""

from datetime import UTC, datetime

from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from core.identifiers import fold_identifier
from db import tables
from db.audit.seals import seal
from db.audit.trail import record_event
from db.errors import CaseChangedError
from db.queries.cases import lock_case, write_findings
from db.queries.intakes import refuse_opened
from db.queries.permissions import require_permission
from db.queries.scales import add_scale, scale_of
from db.queries.study_places import refuse_in_study
from db.values.accounts import Permission
from db.values.audit import Action
from db.values.jobs import JobState
from db.values.reading import AddedImage, StoredImage
from db.values.words import check_words

_ACCESSION_LIMIT = 64  # characters; the widths of the columns
_MAGNIFICATION_LIMIT = 32


def add_case(
    session: Session,
    account_id: int,
    *,
    accession: str | None,
    magnification: str | None,
    demonstration: bool = False,
) -> int:
    """Add a case and return its id; without an accession it is numbered C-0001, C-0002, ...

    Raises:
        NotAllowedError: If this account may not see cases.
        ValueError: If the accession is taken, however it was written, or either text is too long or has invisible
            characters.
    """
    require_permission(session, account_id, Permission.READ_CASES)
    magnification = check_words("the magnification", magnification, _MAGNIFICATION_LIMIT)
    requested = check_words("the accession", accession, _ACCESSION_LIMIT)
    case = tables.Case(
        magnification=magnification,
        demonstration=demonstration,
        created_by_id=account_id,
        created_at=datetime.now(UTC),
    )
    if requested:
        _insert_named(session, case, requested)
    else:
        _insert_numbered(session, case)
    record_event(session, account_id, Action.CASE_ADDED, case.accession, content=seal(session, case))
    return case.id


def known_image(session: Session, source_sha256: str) -> str | None:
    """Return the accession of the case that already holds this file; None if none does."""
    existing = _image_by_source(session, source_sha256)
    return existing.already_in if existing else None


def add_image(session: Session, case_id: int, stored: StoredImage) -> AddedImage:
    """Add an image to a case and queue its analysis; a file that is already in a case is not added again.

    Raises:
        UnknownCaseError: If there is no such case.
        CaseChangedError: If somebody has opened the case, so that it takes no more images.
    """
    case = lock_case(session, case_id)
    refuse_opened(session, case)
    existing = _image_by_source(session, stored.source_sha256)
    if existing:
        return existing
    image = _new_image(case_id, _next_position(session, case_id), stored)
    try:
        with session.begin_nested():
            session.add(image)
    except IntegrityError:
        # On PostgreSQL another upload of the same file may have been saved after we looked.
        existing = _image_by_source(session, stored.source_sha256)
        if existing is None:
            raise
        return existing
    session.add(
        tables.Job(image_id=image.id, state=JobState.QUEUED, attempts=0, queued_at=image.added_at),
    )
    record_event(session, case.created_by_id, Action.IMAGE_ADDED, case.accession, content=seal(session, case))
    if stored.scale:
        row = add_scale(session, case.created_by_id, image.id, stored.scale)
        subject = f"{case.accession} image {image.position}: {scale_of(session, image.id)}"
        record_event(session, case.created_by_id, Action.SCALE_SET, subject, content=seal(session, row))
    return AddedImage(image.id)


def remembered_magnification(session: Session, account_id: int) -> str | None:
    """Return the magnification of the last case that this account added, not counting demonstration cases."""
    require_permission(session, account_id, Permission.READ_CASES)
    case = tables.Case
    query = select(case.magnification).where(case.created_by_id == account_id, ~case.demonstration)
    return session.scalar(query.order_by(case.id.desc()).limit(1))


def set_magnification(session: Session, account_id: int, case_id: int, magnification: str) -> None:
    """Record the magnification of a case that was added without one.

    Raises:
        NotAllowedError: If this account may not see cases.
        UnknownCaseError: If there is no such case.
        InStudyError: If this reader must read the case in a study.
        CaseChangedError: If a magnification is recorded already; it stays.
        ValueError: If it is empty, too long, or has invisible characters.
    """
    require_permission(session, account_id, Permission.READ_CASES)
    case = lock_case(session, case_id)
    refuse_in_study(session, case, account_id)
    words = check_words("the magnification", magnification, _MAGNIFICATION_LIMIT)
    if words is None:
        raise ValueError("the magnification is empty")
    if case.magnification is not None:
        raise CaseChangedError(f"the magnification of {case.accession} is already recorded: {case.magnification}")
    case.magnification = words
    subject = f"{case.accession}: {words}"
    record_event(session, account_id, Action.MAGNIFICATION_SET, subject, content=seal(session, case))


def _insert_named(session: Session, case: tables.Case, accession: str) -> None:
    case.accession = accession
    if not _insert(session, case):
        taken = _same_number(session, accession)
        if taken is None:
            raise ValueError(f"the case number {accession} was taken a moment ago: try again")
        same = "" if taken == accession else f", which is the same number as {accession}"
        raise ValueError(f"there is already a case {taken}{same}")


def _insert_numbered(session: Session, case: tables.Case) -> None:
    """Number a case and add it; if another writer on PostgreSQL takes the number first, use the next."""
    while True:
        case.automatic_number = _next_number(session)
        case.accession = f"C-{case.automatic_number:04d}"
        if _insert(session, case):
            return


def _insert(session: Session, case: tables.Case) -> bool:
    """Add a case and its number; return False, adding nothing, if another case has the same number."""
    if _same_number(session, case.accession) is not None:
        return False
    try:
        with session.begin_nested():
            session.add(case)
            session.flush()
            folded = fold_identifier(case.accession)
            session.add(tables.CaseNumber(case_id=case.id, folded=folded, shared=False))
    except IntegrityError:
        # On PostgreSQL another upload may have taken the number after we looked.
        if _same_number(session, case.accession) is None:
            raise
        return False
    return True


def _next_number(session: Session) -> int:
    number = (session.scalar(select(func.max(tables.Case.automatic_number))) or 0) + 1
    # Someone may have typed C-0007 as an accession.
    while _same_number(session, f"C-{number:04d}") is not None:
        number += 1
    return number


def _same_number(session: Session, accession: str) -> str | None:
    """Return the accession of the case that has this number, however it was written; None if none has."""
    query = (
        select(tables.Case.accession)
        .join(tables.CaseNumber, tables.CaseNumber.case_id == tables.Case.id)
        .where(tables.CaseNumber.folded == fold_identifier(accession))
    )
    return session.scalar(query.order_by(tables.Case.id).limit(1))


def _image_by_source(session: Session, source_sha256: str) -> AddedImage | None:
    query = (
        select(tables.Image.id, tables.Case.accession)
        .join(tables.Case, tables.Case.id == tables.Image.case_id)
        .where(tables.Image.source_sha256 == source_sha256)
    )
    row = session.execute(query).first()
    return AddedImage(row[0], row[1]) if row else None


def _next_position(session: Session, case_id: int) -> int:
    return (session.scalar(select(func.max(tables.Image.position)).where(tables.Image.case_id == case_id)) or 0) + 1


def _new_image(case_id: int, position: int, stored: StoredImage) -> tables.Image:
    return tables.Image(
        case_id=case_id,
        position=position,
        source_sha256=stored.source_sha256,
        file_sha256=stored.file_sha256,
        height=stored.height,
        width=stored.width,
        sharpness=stored.quality.sharpness,
        tissue_fraction=stored.quality.tissue_fraction,
        findings=write_findings(stored.quality.findings),
        added_at=datetime.now(UTC),
    )
