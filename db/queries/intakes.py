"""Which cases are incomplete, which have been opened, and the order of their images."""

from collections.abc import Mapping, Sequence

from sqlalchemy import ColumnElement, Integer, Select, bindparam, or_, select
from sqlalchemy.orm import Session, aliased

from db import tables
from db.audit.chain import pending
from db.errors import CaseChangedError, IncompleteCaseError
from db.queries.cached import cache_statement
from db.values.audit import Action

_CASE = bindparam("case", type_=Integer())


@cache_statement
def incomplete_cases() -> Select[int | None]:
    """Select the ids of the cases with an intake that has not ended."""
    return select(tables.Intake.case_id).where(tables.Intake.case_id.is_not(None), is_open_intake())


def is_open_intake() -> ColumnElement[bool]:
    """Select the intakes that have not ended."""
    return ~select(tables.IntakeEnd.intake_id).where(tables.IntakeEnd.intake_id == tables.Intake.id).exists()


def refuse_incomplete(session: Session, case: tables.Case) -> None:
    """Refuse to open or read a case whose intake has not ended.

    Raises:
        IncompleteCaseError: If the case is incomplete; the message names it.
    """
    if session.scalar(_open_intakes_of(), {"case": case.id}) is not None:
        raise IncompleteCaseError(
            f"case {case.accession} is incomplete: its images are still being stored, or storing them was interrupted"
        )


def refuse_opened(session: Session, case: tables.Case) -> None:
    """Refuse to change the images of a case that somebody has opened, or that is part of a study.

    Lock the case first: whoever opens it for the first time does so as well.

    Raises:
        CaseChangedError: If its images can no longer be changed; the message says why.
    """
    if session.scalar(_places_of(), {"case": case.id}) is not None:
        raise CaseChangedError(f"case {case.accession} is part of a study: its images can no longer be changed")
    if was_opened(session, case):
        raise CaseChangedError(f"somebody has opened case {case.accession}: its images can no longer be changed")


def was_opened(session: Session, case: tables.Case) -> bool:
    """Return whether anybody has ever opened or read a case in routine reading."""
    if any(one.action == Action.CASE_OPENED and one.subject == case.accession for one in pending(session)):
        return True
    return session.scalar(_traces_of(), {"case": case.id, "accession": case.accession}) is not None


def image_places(session: Session, cases: Select[int] | Sequence[int]) -> Mapping[int, int]:
    """Return the place of each image, by id, in the cases whose order was changed; 1 is the first."""
    order, later = tables.ImageOrder, aliased(tables.ImageOrder)
    newer = select(later.id).where(later.case_id == order.case_id, later.id > order.id)
    orders = session.scalars(select(order.images).where(order.case_id.in_(cases), ~newer.exists()))
    return {image: place for images in orders for place, image in enumerate(images, start=1)}


def ordered_images(session: Session, case_id: int) -> tuple[int, ...]:
    """Return the ids of the images of a case in their order."""
    rows = session.execute(_images_of(), {"case": case_id}).all()
    places = image_places(session, select(tables.Case.id).where(tables.Case.id == case_id))
    return tuple(image_id for image_id, _ in sorted(rows, key=lambda row: places.get(row[0], row[1])))


@cache_statement
def _images_of() -> Select[int, int]:
    return select(tables.Image.id, tables.Image.position).where(tables.Image.case_id == _CASE)


@cache_statement
def _open_intakes_of() -> Select[int]:
    return select(tables.Intake.id).where(tables.Intake.case_id == _CASE, is_open_intake()).limit(1)


@cache_statement
def _places_of() -> Select[int]:
    return select(tables.StudyPlace.id).where(tables.StudyPlace.case_id == _CASE).limit(1)


@cache_statement
def _traces_of() -> Select[int]:
    event, read = tables.AuditEvent, tables.Read
    opened = select(event.id).where(event.subject == bindparam("accession"), event.action == Action.CASE_OPENED)
    saved = select(read.id).where(read.case_id == _CASE)
    return select(tables.Case.id).where(tables.Case.id == _CASE, or_(opened.exists(), saved.exists()))
