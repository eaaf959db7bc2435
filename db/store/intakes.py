"""Intakes: images received together. A case is incomplete until they end, and takes images until it is opened."""

from collections.abc import Sequence
from datetime import UTC, datetime

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

from core.wording import count_words
from db import tables
from db.audit.seals import seal
from db.audit.trail import record_event
from db.errors import CaseChangedError, NotAllowedError, UnknownCaseError
from db.queries.cases import lock_case
from db.queries.intakes import is_open_intake, ordered_images, refuse_opened
from db.queries.permissions import require_permission
from db.values.accounts import Permission
from db.values.audit import Action
from db.values.intakes import OpenIntake, OwnCase

_MOST_OWN_CASES = 200  # the newest ones; older cases have nearly always been opened


def begin_intake(session: Session, account_id: int, case_id: int | None, images: int) -> int:
    """Record that images were received for a case, which is incomplete until `end_intake`; return the intake's id.

    With `case_id` None, every image becomes a case of its own, which is complete at once.

    Raises:
        NotAllowedError: If this account may not see cases.
        UnknownCaseError: If there is no such case.
        CaseChangedError: If somebody has opened the case.
        ValueError: If the case is another account's.
    """
    require_permission(session, account_id, Permission.READ_CASES)
    case = _lock_own_case(session, account_id, case_id) if case_id is not None else None
    row = tables.Intake(case_id=case_id, account_id=account_id, images=images, begun_at=datetime.now(UTC))
    session.add(row)
    subject = case.accession if case else f"{count_words(images, 'image')}, a case for each"
    record_event(session, account_id, Action.INTAKE_BEGUN, subject, content=seal(session, row))
    return row.id


def end_intake(session: Session, by: int, intake_id: int) -> None:
    """End an intake, whether or not all its images were stored; ending it again changes nothing.

    An earlier intake of the case that was interrupted ends with it if as many images as it received have joined since.

    Raises:
        NotAllowedError: If this account neither received the images nor may plan reading.
        UnknownCaseError: If there is no such intake.
    """
    intake = session.get(tables.Intake, intake_id)
    if intake is None:
        raise UnknownCaseError(f"there is no intake number {intake_id}")
    if intake.account_id != by:
        require_permission(session, by, Permission.PLAN_READING)
    # First the case, then the intake, as when an image is added.
    case = lock_case(session, intake.case_id) if intake.case_id is not None else None
    session.refresh(intake, with_for_update={"key_share": True})
    subject = case.accession if case else f"{count_words(intake.images, 'image')}, a case for each"
    _end(session, by, intake, subject)
    if case is not None:
        for earlier in _open_intakes(session, case.id):
            if _joined_since(session, earlier) >= earlier.images:
                _end(session, by, earlier, subject)


def add_to_intake(session: Session, intake_id: int, position: int, image_id: int) -> None:
    """Record as which image an image of an intake was stored.

    Raises:
        CaseChangedError: If the intake has ended meanwhile.
    """
    # Locked until the end of this transaction: the end is sealed with the images that joined before it.
    session.get_one(tables.Intake, intake_id, with_for_update={"key_share": True})
    ended = session.get(tables.IntakeEnd, intake_id)
    if ended is not None:
        who = session.get_one(tables.Account, ended.account_id).name
        raise CaseChangedError(f"{who} has completed the case without this image")
    session.add(tables.IntakeImage(image_id=image_id, intake_id=intake_id, position=position))
    session.flush()


def open_intakes(session: Session, account_id: int) -> list[OpenIntake]:
    """Return the intakes that have not ended, oldest first: everybody's for a planner, otherwise one's own.

    They are either being stored now or were interrupted; the database cannot know which.

    Raises:
        NotAllowedError: If this account may neither see cases nor plan reading.
    """
    query = select(tables.Intake, tables.Case.accession, tables.Account.name).where(is_open_intake())
    if not _may_plan(session, account_id):
        require_permission(session, account_id, Permission.READ_CASES)
        query = query.where(tables.Intake.account_id == account_id)
    query = query.join(tables.Account, tables.Account.id == tables.Intake.account_id)
    query = query.outerjoin(tables.Case, tables.Case.id == tables.Intake.case_id)
    return [
        OpenIntake(
            id=row.id,
            case_id=row.case_id,
            accession=accession,
            uploader=name,
            begun_at=row.begun_at,
            received=row.images,
            missing=_missing(session, row),
        )
        for row, accession, name in session.execute(query.order_by(tables.Intake.id))
    ]


def own_cases(session: Session, account_id: int) -> list[OwnCase]:
    """Return the cases of this account that nobody has opened, newest first: their images can still be changed.

    Raises:
        NotAllowedError: If this account may not see cases.
    """
    require_permission(session, account_id, Permission.READ_CASES)
    event, read, place, image = tables.AuditEvent, tables.Read, tables.StudyPlace, tables.Image
    case = tables.Case
    opened = select(event.id).where(event.subject == case.accession, event.action == Action.CASE_OPENED)
    saved = select(read.id).where(read.case_id == case.id)
    planned = select(place.id).where(place.case_id == case.id)
    has_image = select(image.id).where(image.case_id == case.id)
    newest = (
        select(case)
        .where(case.created_by_id == account_id, ~case.demonstration, has_image.exists())
        .order_by(case.id.desc())
        .limit(_MOST_OWN_CASES)
        .subquery()
    )
    query = select(case.id, case.accession).where(
        case.id.in_(select(newest.c.id)), ~opened.exists(), ~saved.exists(), ~planned.exists()
    )
    return [
        OwnCase(case_id, accession, ordered_images(session, case_id))
        for case_id, accession in session.execute(query.order_by(case.id.desc()))
    ]


def order_images(session: Session, account_id: int, case_id: int, images: Sequence[int]) -> None:
    """Set the order of the images of one's own case; the same order again changes nothing.

    Raises:
        NotAllowedError: If this account may not see cases.
        UnknownCaseError: If there is no such case.
        CaseChangedError: If somebody has opened the case.
        ValueError: If the case is another account's, or these are not its images.
    """
    require_permission(session, account_id, Permission.READ_CASES)
    case = _lock_own_case(session, account_id, case_id)
    before = ordered_images(session, case_id)
    if sorted(before) != sorted(images):
        raise ValueError(f"these are not the images of case {case.accession}: load the page again")
    if list(before) == list(images):
        return
    row = tables.ImageOrder(case_id=case_id, account_id=account_id, images=list(images), at=datetime.now(UTC))
    session.add(row)
    record_event(session, account_id, Action.IMAGES_ORDERED, case.accession, content=seal(session, row))


def _lock_own_case(session: Session, account_id: int, case_id: int) -> tables.Case:
    case = lock_case(session, case_id)
    if case.created_by_id != account_id:
        raise ValueError(f"case {case.accession} was uploaded by somebody else, who alone can change its images")
    refuse_opened(session, case)
    return case


def _end(session: Session, by: int, intake: tables.Intake, subject: str) -> None:
    if session.get(tables.IntakeEnd, intake.id) is None:
        row = tables.IntakeEnd(intake_id=intake.id, account_id=by, at=datetime.now(UTC))
        session.add(row)
        record_event(session, by, Action.INTAKE_ENDED, subject, content=seal(session, row))


def _open_intakes(session: Session, case_id: int) -> Sequence[tables.Intake]:
    query = select(tables.Intake).where(tables.Intake.case_id == case_id, is_open_intake())
    return session.scalars(query.order_by(tables.Intake.id)).all()


def _joined_since(session: Session, intake: tables.Intake) -> int:
    """Count the images that joined the case with this intake or a later one."""
    stored, later = tables.IntakeImage, tables.Intake
    query = select(func.count()).select_from(stored).join(later, later.id == stored.intake_id)
    return session.scalar(query.where(later.case_id == intake.case_id, later.id >= intake.id)) or 0


def _missing(session: Session, intake: tables.Intake) -> tuple[int, ...]:
    stored = set(session.scalars(_stored_positions(intake.id)))
    return tuple(position for position in range(1, intake.images + 1) if position not in stored)


def _stored_positions(intake_id: int) -> Select[int]:
    return select(tables.IntakeImage.position).where(tables.IntakeImage.intake_id == intake_id)


def _may_plan(session: Session, account_id: int) -> bool:
    try:
        require_permission(session, account_id, Permission.PLAN_READING)
    except NotAllowedError:
        return False
    return True
