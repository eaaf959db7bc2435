"""Reading in a study: one case after another in the drawn order, without going back.

As in the reader studies of grand-challenge.org with default settings: no navigation between cases, and answers cannot
be changed. No case is skipped, and no read amended or withdrawn; a reader may leave at any time and continue at the
same place.
"""

from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from db import tables
from db.audit.trail import record_event, record_opening, record_reveal
from db.errors import CaseChangedError, UnknownCaseError
from db.queries.cases import case_row, lock_case
from db.queries.confirmed_models import without_unmet_model
from db.queries.model_opinion import reveal_of, scopes_of
from db.queries.permissions import require_permission
from db.queries.reader_knowledge import is_informed
from db.queries.reads import NewRead, add_read, check_blind, check_reason, current_read
from db.queries.study_places import current_place, is_finished, place_subject, shows_model, washout_ends
from db.store.open_case import case_images
from db.store.reads import return_if_same
from db.values.accounts import Permission
from db.values.audit import Action
from db.values.reading import Arm, CaseState, CaseView, OnScreen, Opinion, Place, Read, Stage
from db.values.studies import OpenedPlace, OwnStudy


def own_studies(session: Session, account_id: int) -> list[OwnStudy]:
    """Return the studies in which this account reads, open studies first, then oldest first.

    Raises:
        NotAllowedError: If this account may not read cases.
    """
    require_permission(session, account_id, Permission.READ_CASES)
    place = tables.StudyPlace
    query = select(tables.Study).where(
        tables.Study.id.in_(select(place.study_id).where(place.account_id == account_id))
    )
    return [
        _own_study(session, row, account_id)
        for row in session.scalars(query.order_by(tables.Study.closed_at.is_not(None), tables.Study.id))
    ]


def reads_in_studies(session: Session, account_id: int) -> bool:
    """Return whether this account is a reader of any study, open or closed.

    Raises:
        NotAllowedError: If this account may not read cases.
    """
    require_permission(session, account_id, Permission.READ_CASES)
    return (
        session.scalar(select(tables.StudyPlace.id).where(tables.StudyPlace.account_id == account_id).limit(1))
        is not None
    )


def open_place(session: Session, study_id: int, account_id: int, *, met_only: bool = False) -> OpenedPlace:
    """Open the current case of a reader in a study and record it; the arm decides whether it shows the model's opinion.

    With `met_only` that is left out until this reader has confirmed the explanation of the model.
    There is no case during a washout, after the last case, and in a closed study. Needs a writing session for the
    audit trail.

    Raises:
        NotAllowedError: If this account may not read cases.
        UnknownCaseError: If this account does not read in this study.
    """
    require_permission(session, account_id, Permission.READ_CASES)
    study = _own_study(session, _study_of(session, study_id, account_id), account_id)
    if study.place is None or study.rests_until is not None:
        return OpenedPlace(study, None)
    return OpenedPlace(study, _open_case_at(session, study.place, met_only=met_only))


def record_study_read(
    session: Session,
    place_id: int,
    account_id: int,
    opinion: Opinion,
    opened_at: datetime,
    *,
    seen: OnScreen | None = None,
    edit_seconds: float | None = None,
) -> Read:
    """Save a reader's opinion at a place of a study; a double click returns the same read.

    `seen` is what was on the screen of the model, or None for a form that does not show it.
    With `seen` the read is the final one of its place, without it a first, blind one. The arms without the model and
    with the model first have one read; the arm that begins blind has both.

    Raises:
        NotAllowedError: If this account may not read cases.
        UnknownCaseError: If this account has no such place.
        CaseChangedError: If another opinion was saved here, or this is no longer the place to read.
        ValueError: If the arm has no such read, or a reason is missing.
    """
    require_permission(session, account_id, Permission.READ_CASES)
    row = session.get(tables.StudyPlace, place_id)
    if row is None or row.account_id != account_id:
        raise UnknownCaseError(f"you have no study case number {place_id}")
    case = lock_case(session, row.case_id)
    stage = _stage(row.arm, seen)
    existing = current_read(session, row.case_id, account_id, stage, place_id=place_id)
    if existing:
        return return_if_same(existing, opinion)
    place = _require_open_place(session, row)
    if stage is Stage.FIRST:
        check_blind(opinion)
    elif not shows_model(session, place, row.case_id):
        raise CaseChangedError("save your first opinion before the final one")
    reveal = reveal_of(session, row.case_id, among=seen.predictions) if seen else None
    check_reason(opinion, reveal)
    informed = is_informed(session, row.case_id, account_id)
    new = NewRead(
        row.case_id, account_id, stage, opinion, opened_at, edit_seconds, place_id=place_id, informed=informed
    )
    shown = scopes_of(session, row.case_id, reveal, among=seen.scopes) if seen else ()
    saved = add_read(session, new, reveal, shown)
    action = Action.FIRST_READ if stage is Stage.FIRST else Action.FINAL_READ
    record_event(session, account_id, action, place_subject(case.accession, place), content=saved.seal)
    return saved.read


def _stage(arm: Arm, seen: OnScreen | None) -> Stage:
    if (arm is Arm.UNAIDED and seen is not None) or (arm is Arm.MODEL_FIRST and seen is None):
        raise ValueError(f"the arm {arm} has no read {'without' if seen is None else 'with'} the model's opinion")
    return Stage.FIRST if seen is None else Stage.FINAL


def _require_open_place(session: Session, row: tables.StudyPlace) -> Place:
    """Return the place of a row if it is the one to read now.

    Raises:
        CaseChangedError: If it is not; the message says why.
    """
    # Locked until the read is saved: a study is closed either before or after it.
    study = session.get_one(tables.Study, row.study_id, with_for_update={"read": True}, populate_existing=True)
    if study.closed_at is not None:
        raise CaseChangedError(f"the study {study.name} was closed on {_minute(study.closed_at)}")
    place = current_place(session, row.study_id, row.account_id)
    if place is None or place.id != row.id:
        raise CaseChangedError("You continued this study in another window; answers cannot be changed afterwards.")
    if until := washout_ends(session, place):
        raise CaseChangedError(f"round {place.round} of the study {study.name} begins on {_minute(until)}")
    return place


def _study_of(session: Session, study_id: int, account_id: int) -> tables.Study:
    inside = select(tables.StudyPlace.id).where(
        tables.StudyPlace.study_id == study_id, tables.StudyPlace.account_id == account_id
    )
    study = session.scalar(select(tables.Study).where(tables.Study.id == study_id, inside.exists()))
    if study is None:
        raise UnknownCaseError(f"you are not a reader of study number {study_id}")
    return study


def _own_study(session: Session, row: tables.Study, account_id: int) -> OwnStudy:
    mine = (tables.StudyPlace.study_id == row.id, tables.StudyPlace.account_id == account_id)
    rounds, total = session.execute(select(func.max(tables.StudyPlace.round), func.count()).where(*mine)).one()
    done = session.scalar(select(func.count()).select_from(tables.StudyPlace).where(*mine, is_finished()))
    place = current_place(session, row.id, account_id) if row.closed_at is None else None
    return OwnStudy(
        id=row.id,
        name=row.name,
        rounds=rounds,
        done=done or 0,
        total=total,
        place=place,
        rests_until=washout_ends(session, place) if place else None,
        closed_at=row.closed_at,
    )


def _open_case_at(session: Session, place: Place, *, met_only: bool) -> CaseView:
    case = case_row(session, place.case_id)
    first = current_read(session, place.case_id, place.account_id, Stage.FIRST, place_id=place.id)
    shows = shows_model(session, place, place.case_id)
    reveal = reveal_of(session, place.case_id) if shows else None
    scopes = scopes_of(session, place.case_id, reveal) if shows else ()
    view = CaseView(
        id=case.id,
        accession=case.accession,
        magnification=case.magnification,
        demonstration=case.demonstration,
        state=CaseState.REVEALED if reveal or scopes else CaseState.READY,
        images=case_images(session, place.case_id),
        first_read=first,
        final_read=None,
        reveal=reveal,
        scopes=scopes,
    )
    shown = without_unmet_model(session, view, place.account_id) if met_only else view
    record_opening(session, place.account_id, place_subject(case.accession, place))
    if shown.model:
        record_reveal(session, place.account_id, place_subject(case.accession, place))
    return shown


def _minute(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M UTC}"
