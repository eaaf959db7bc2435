"""A reader's position in a study: the case to read now, and whether it may show the model's opinion.

While a study is open, its readers see its cases only there, in the order drawn for them, and cannot go back.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import BindParameter, ColumnElement, Integer, Select, bindparam, func, select
from sqlalchemy import case as choose
from sqlalchemy.orm import InstrumentedAttribute, Session, aliased

from core import clock
from db import tables
from db.errors import InStudyError
from db.queries.cached import cache_statement
from db.values.reading import Arm, Place, Stage


def place_subject(accession: str, place: Place | tables.StudyPlace) -> str:
    """Return the audit trail's name for a case in a study."""
    return f"{accession}, study {place.study_id}, round {place.round}, case {place.position}"


def open_study_cases(account_id: int | BindParameter[int] | InstrumentedAttribute[int]) -> Select[int]:
    """Select the ids of the cases that this reader may see only in an open study."""
    return (
        select(tables.StudyPlace.case_id)
        .join(tables.Study, tables.Study.id == tables.StudyPlace.study_id)
        .where(tables.StudyPlace.account_id == account_id, tables.Study.closed_at.is_(None))
    )


def is_in_open_study(
    case_id: ColumnElement[int] | InstrumentedAttribute[int],
    account_id: int | BindParameter[int] | InstrumentedAttribute[int],
) -> ColumnElement[bool]:
    """Select the cases that this reader may see only in an open study, one case at a time."""
    return open_study_cases(account_id).where(tables.StudyPlace.case_id == case_id).exists()


def is_outside_open_studies() -> ColumnElement[bool]:
    """Select the reads that were not saved in an open study."""
    place = aliased(tables.StudyPlace)
    inside = (
        select(place.id)
        .join(tables.Study, tables.Study.id == place.study_id)
        .where(place.id == tables.Read.place_id, tables.Study.closed_at.is_(None))
    )
    return ~inside.exists()


def refuse_in_study(session: Session, case: tables.Case, account_id: int) -> None:
    """Refuse routine reading of a case that this reader must read in a study.

    Raises:
        InStudyError: If the case belongs to an open study of this reader; the message names the study.
    """
    study = session.scalar(_study_of(), {"account": account_id, "case": case.id})
    if study is not None:
        raise InStudyError(f"case {case.accession} is part of the study {study}: read it there")


@cache_statement
def _study_of() -> Select[str]:
    return (
        select(tables.Study.name)
        .join(tables.StudyPlace, tables.StudyPlace.study_id == tables.Study.id)
        .where(
            tables.StudyPlace.account_id == bindparam("account", type_=Integer()),
            tables.StudyPlace.case_id == bindparam("case", type_=Integer()),
            tables.Study.closed_at.is_(None),
        )
        .limit(1)
    )


def current_place(session: Session, study_id: int, account_id: int) -> Place | None:
    """Return the first place of a study that this reader has not finished; None if all are finished."""
    query = _places().where(
        tables.StudyPlace.study_id == study_id, tables.StudyPlace.account_id == account_id, ~is_finished()
    )
    row = session.execute(query.order_by(tables.StudyPlace.round, tables.StudyPlace.position).limit(1)).first()
    return _place(session, row[0], row[1]) if row else None


def washout_ends(session: Session, place: Place) -> datetime | None:
    """Return when the washout before the round of this place ends; None if the reader need not wait."""
    if place.round == 1:
        return None
    study = session.get_one(tables.Study, place.study_id)
    before = aliased(tables.StudyPlace)
    last = session.scalar(
        select(func.max(tables.Read.saved_at))
        .join(before, before.id == tables.Read.place_id)
        .where(before.study_id == place.study_id, before.account_id == place.account_id, before.round < place.round)
    )
    until = last + timedelta(days=study.washout_days) if last else None
    return until if until and until > clock.now() else None


def open_studies_with(session: Session, case_id: int, account_id: int) -> Sequence[int]:
    """Return the ids of the open studies in which this reader reads a case."""
    query = (
        select(tables.Study.id)
        .join(tables.StudyPlace, tables.StudyPlace.study_id == tables.Study.id)
        .where(
            tables.StudyPlace.account_id == account_id,
            tables.StudyPlace.case_id == case_id,
            tables.Study.closed_at.is_(None),
        )
    )
    return session.scalars(query.distinct()).all()


def has_read(session: Session, place_id: int, stage: Stage) -> bool:
    """Return whether a read of this stage was saved at a place."""
    read = tables.Read
    return session.scalar(select(read.id).where(read.place_id == place_id, read.stage == stage).limit(1)) is not None


def shows_model(session: Session, place: Place | None, case_id: int) -> bool:
    """Return whether a reader at this place may now see the model's opinion of a case."""
    if place is None or place.case_id != case_id or washout_ends(session, place):
        return False
    if place.arm is Arm.BLIND_FIRST:
        return has_read(session, place.id, Stage.FIRST)
    return place.arm is Arm.MODEL_FIRST


def is_finished() -> ColumnElement[bool]:
    """Select the places whose last read, which depends on the arm, was saved."""
    last = choose((tables.StudyPlace.arm == Arm.UNAIDED, Stage.FIRST.value), else_=Stage.FINAL.value)
    return (
        select(tables.Read.id).where(tables.Read.place_id == tables.StudyPlace.id, tables.Read.stage == last).exists()
    )


def _places() -> Select[tables.StudyPlace, str]:
    return select(tables.StudyPlace, tables.Study.name).join(
        tables.Study, tables.Study.id == tables.StudyPlace.study_id
    )


def _place(session: Session, row: tables.StudyPlace, study: str) -> Place:
    cases = session.scalar(
        select(func.count()).where(
            tables.StudyPlace.study_id == row.study_id,
            tables.StudyPlace.account_id == row.account_id,
            tables.StudyPlace.round == row.round,
        )
    )
    return Place(
        id=row.id,
        study_id=row.study_id,
        study=study,
        account_id=row.account_id,
        case_id=row.case_id,
        round=row.round,
        arm=row.arm,
        iteration=row.iteration,
        position=row.position,
        of=cases or 0,
    )
