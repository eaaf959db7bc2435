"""Which images a program may get a prediction of: none of a case that somebody still has to read without the model."""

from datetime import UTC, datetime

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from core.identifiers import fold_identifier
from db import tables
from db.audit.seals import seal
from db.audit.trail import record_event
from db.errors import StillBlindError, UnknownCaseError
from db.queries.cases import lock_case
from db.queries.permissions import require_permission
from db.values.accounts import Permission
from db.values.audit import Action
from db.values.words import check_words

_LONGEST_REASON = 200  # characters; the width of the column


def refuse_still_blind(session: Session, *, source_sha256: str, file_sha256: str | None) -> None:
    """Refuse an image that is in a case of which a read without the model may still be saved.

    That is every case that is not signed off or is in an open study, unless an administrator has opened it. An image is
    recognised by the bytes of its file and by its pixels as an upload stores them.

    Raises:
        StillBlindError: If it is in such a case.
    """
    image, case_id = tables.Image, tables.Image.case_id
    permit, signed, place, study = tables.PredictionPermit, tables.SignOff, tables.StudyPlace, tables.Study
    opened = select(permit.id).where(permit.case_id == case_id)
    signed_off = select(signed.id).where(signed.case_id == case_id)
    in_study = (
        select(place.id)
        .join(study, study.id == place.study_id)
        .where(place.case_id == case_id, study.closed_at.is_(None))
    )
    same = image.source_sha256 == source_sha256
    query = select(case_id).where(
        or_(same, image.file_sha256 == file_sha256) if file_sha256 else same,
        ~opened.exists(),
        or_(~signed_off.exists(), in_study.exists()),
    )
    blind = session.scalar(query.order_by(case_id).limit(1))
    if blind is not None:
        raise StillBlindError(blind)


def open_to_predictions(session: Session, by: int | None, case: str, why: str) -> None:
    """Let programs ask for predictions of the images of a case from now on; a second time changes nothing.

    Args:
        session: A session that writes.
        by: The administrator; None for a command.
        case: The accession of the case, however it is written.
        why: The reason, for the audit trail.

    Raises:
        NotAllowedError: If `by` is not an administrator.
        UnknownCaseError: If there is no such case.
        ValueError: If the reason is missing, too long, or has invisible characters.
    """
    require_permission(session, by, Permission.ADMINISTER)
    reason = check_words("the reason", why, _LONGEST_REASON)
    if reason is None:
        raise ValueError("say why: the reason is kept in the audit trail")
    number = tables.CaseNumber
    found = session.scalar(select(number.case_id).where(number.folded == fold_identifier(case)).limit(1))
    if found is None:
        raise UnknownCaseError(f"there is no case {case}")
    row = lock_case(session, found)
    permit = tables.PredictionPermit
    if session.scalar(select(permit.id).where(permit.case_id == found)) is None:
        made = permit(case_id=found, account_id=by, why=reason, at=datetime.now(UTC))
        session.add(made)
        record_event(session, by, Action.OPENED_TO_PREDICTIONS, row.accession, content=seal(session, made))
