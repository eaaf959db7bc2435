"""Where a reader stands in a study: which case comes now, and what of the model it may show.

While a study is open its cases belong to it: its readers see them nowhere else, in the order that was drawn for them,
and never go back.
"""

from datetime import UTC, datetime, timedelta

from sqlalchemy import BindParameter, ColumnElement, Integer, Select, bindparam, func, select
from sqlalchemy import case as choose
from sqlalchemy.orm import Session, aliased

from db import models
from db.errors import InStudyError
from db.once import made_once
from db.reading_models import Study, StudyPlace
from db.reading_values import Arm, Place
from db.values import Stage


def open_study_cases(account_id: int | BindParameter[int]) -> Select[int]:
    """Select the ids of the cases that this reader may see only in a study that is still open."""
    return (
        select(StudyPlace.case_id)
        .join(Study, Study.id == StudyPlace.study_id)
        .where(StudyPlace.account_id == account_id, Study.closed_at.is_(None))
    )


def outside_open_studies() -> ColumnElement[bool]:
    """Select the reads that were not given at a place of an open study."""
    place = aliased(StudyPlace)
    inside = (
        select(place.id)
        .join(Study, Study.id == place.study_id)
        .where(place.id == models.Read.place_id, Study.closed_at.is_(None))
    )
    return ~inside.exists()


def refuse_in_study(session: Session, case: models.Case, account_id: int) -> None:
    """Refuse routine reading of a case that this reader has to read in a study.

    Raises:
        InStudyError: With the name of the study.
    """
    study = session.scalar(_study_of(), {"account": account_id, "case": case.id})
    if study is not None:
        raise InStudyError(f"case {case.accession} belongs to the study {study}: read it there")


@made_once
def _study_of() -> Select[str]:
    return (
        select(Study.name)
        .join(StudyPlace, StudyPlace.study_id == Study.id)
        .where(
            StudyPlace.account_id == bindparam("account", type_=Integer()),
            StudyPlace.case_id == bindparam("case", type_=Integer()),
            Study.closed_at.is_(None),
        )
        .limit(1)
    )


def current_place(session: Session, study_id: int, account_id: int) -> Place | None:
    """Give the first place of a study that this reader has not finished; None when all are."""
    query = _places().where(StudyPlace.study_id == study_id, StudyPlace.account_id == account_id, ~finished())
    row = session.execute(query.order_by(StudyPlace.round, StudyPlace.position).limit(1)).first()
    return _place(session, row[0], row[1]) if row else None


def rests_until(session: Session, place: Place) -> datetime | None:
    """Say until when a reader has to wait before the round of this place; None if not at all."""
    if place.round == 1:
        return None
    study = session.get_one(Study, place.study_id)
    before = aliased(StudyPlace)
    last = session.scalar(
        select(func.max(models.Read.saved_at))
        .join(before, before.id == models.Read.place_id)
        .where(before.study_id == place.study_id, before.account_id == place.account_id, before.round < place.round)
    )
    until = last + timedelta(days=study.washout_days) if last else None
    return until if until and until > datetime.now(UTC) else None


def sees_model_in_study(session: Session, case_id: int, account_id: int) -> bool | None:
    """Say whether a reader may see the model's opinion of a case of an open study now; None outside of any."""
    studies = session.scalars(
        select(Study.id)
        .join(StudyPlace, StudyPlace.study_id == Study.id)
        .where(StudyPlace.account_id == account_id, StudyPlace.case_id == case_id, Study.closed_at.is_(None))
        .distinct()
    ).all()
    if not studies:
        return None
    # A case of two open studies shows the model only where both allow it.
    return all(shows_model(session, current_place(session, study, account_id), case_id) for study in studies)


def has_read(session: Session, place_id: int, stage: Stage) -> bool:
    """Say whether a read of this stage was saved at a place."""
    read = models.Read
    return session.scalar(select(read.id).where(read.place_id == place_id, read.stage == stage).limit(1)) is not None


def shows_model(session: Session, place: Place | None, case_id: int) -> bool:
    """Say whether a reader who is at a place sees the model's opinion of a case now."""
    if place is None or place.case_id != case_id or rests_until(session, place):
        return False
    if place.arm is Arm.BLIND_FIRST:
        return has_read(session, place.id, Stage.FIRST)
    return place.arm is Arm.MODEL_FIRST


def finished() -> ColumnElement[bool]:
    """Select the places at which the last read of their arm was saved."""
    last = choose((StudyPlace.arm == Arm.UNAIDED, Stage.FIRST.value), else_=Stage.FINAL.value)
    return select(models.Read.id).where(models.Read.place_id == StudyPlace.id, models.Read.stage == last).exists()


def _places() -> Select[StudyPlace, str]:
    return select(StudyPlace, Study.name).join(Study, Study.id == StudyPlace.study_id)


def _place(session: Session, row: StudyPlace, study: str) -> Place:
    cases = session.scalar(
        select(func.count()).where(
            StudyPlace.study_id == row.study_id,
            StudyPlace.account_id == row.account_id,
            StudyPlace.round == row.round,
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
