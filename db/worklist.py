"""The cases as one reader sees them: which wait, which are read, which comes next.

Cases are given in the order of work: to read, in reading, still being analysed, unreadable, then the
finished ones; the oldest first within each. Nothing of the model enters before the reader's own first
read. A case without any image is left out.
"""

from collections.abc import Collection
from datetime import datetime

from sqlalchemy import ColumnElement, Row, Select, Subquery, case, func, literal_column, not_, select
from sqlalchemy.orm import Session, aliased

from db import models
from db.access_values import Permission
from db.permissions import need
from db.values import CaseRow, CaseState, JobState, Stage

_ORDER = (
    CaseState.READY,
    CaseState.REVEALED,
    CaseState.WAITING,
    CaseState.UNREADABLE,
    CaseState.DISCORDANT,
    CaseState.FINAL,
)
_PENDING = (JobState.QUEUED, JobState.RUNNING)

_Found = Select[int, str]  # case id and state


def worklist(
    session: Session,
    account_id: int,
    *,
    text: str | None = None,
    states: Collection[CaseState] | None = None,
    magnification: str | None = None,
) -> list[CaseRow]:
    """Give the cases for one reader, in the order of work; `text` is looked for in the accession."""
    need(session, account_id, Permission.READ_CASES)
    cases, state, progress = _cases(account_id)
    row = models.Case
    images: ColumnElement[int] = progress.c.images
    analysed: ColumnElement[int] = progress.c.analysed
    query = cases.with_only_columns(
        row.id, state, row.accession, row.magnification, images, analysed, row.created_at, row.demonstration
    )
    if text and text.strip():
        query = query.where(row.accession.icontains(text.strip(), autoescape=True))
    if states is not None:
        query = query.where(state.in_([s.value for s in states]))
    if magnification is not None:
        query = query.where(row.magnification == magnification)
    return [_case_row(found) for found in session.execute(query.order_by(_rank(state), row.id))]


def state_counts(session: Session, account_id: int) -> dict[CaseState, int]:
    """Count this reader's cases by state; every state is there, if only with 0."""
    need(session, account_id, Permission.READ_CASES)
    cases = _cases(account_id)[0].subquery()
    counts = session.execute(select(cases.c.state, func.count()).group_by(cases.c.state))
    return dict.fromkeys(CaseState, 0) | {CaseState(state): count for state, count in counts}


def next_case(session: Session, account_id: int, after: int | None = None) -> int | None:
    """Give the case to read next: the oldest ready one, then the oldest left between first and final read.

    With `after`, those that came later than this case are offered first, and the case itself never.
    """
    need(session, account_id, Permission.READ_CASES)
    query, state, _ = _cases(account_id)
    query = query.where(state.in_([CaseState.READY.value, CaseState.REVEALED.value]))
    order: list[ColumnElement[int]] = [_rank(state)]
    if after is not None:
        query = query.where(models.Case.id != after)
        order.append(case((models.Case.id > after, 0), else_=1))
    found = session.execute(query.order_by(*order, models.Case.id).limit(1)).first()
    return found[0] if found else None


def case_state(session: Session, case_id: int, account_id: int) -> CaseState:
    """Say how far one case has come for one reader."""
    found = session.execute(_cases(account_id, case_id)[0]).first()
    # A case without images is not on the worklist, and nothing of it can be analysed.
    return CaseState(found[1]) if found else CaseState.UNREADABLE


def _cases(account_id: int, case_id: int | None = None) -> tuple[_Found, ColumnElement[str], Subquery]:
    """Select id and state of the cases, with the state and the progress to filter and order by."""
    progress = _progress(case_id)
    first, final, newer = aliased(models.Read), aliased(models.Read), aliased(models.Read)
    state = _state(first, final, progress)
    replaced = select(newer.id).where(newer.supersedes_id == final.id).exists()
    query = (
        select(models.Case.id, state.label("state"))
        .join(progress, progress.c.case_id == models.Case.id)
        .outerjoin(
            first,
            (first.case_id == models.Case.id) & (first.account_id == account_id) & (first.stage == Stage.FIRST),
        )
        .outerjoin(
            final,
            (final.case_id == models.Case.id)
            & (final.account_id == account_id)
            & (final.stage == Stage.FINAL)
            & not_(replaced),
        )
    )
    return query, state, progress


def _progress(case_id: int | None) -> Subquery:
    """Count per case the images, those whose job is over, those still to come and those with a prediction."""
    predicted = select(models.Prediction.image_id).distinct().subquery()
    pending = models.Job.state.in_(_PENDING)
    query = (
        select(
            models.Image.case_id,
            func.count().label("images"),
            func.sum(case((pending, 0), else_=1)).label("analysed"),
            func.count(predicted.c.image_id).label("predicted"),
        )
        .join(models.Job, models.Job.image_id == models.Image.id)
        .outerjoin(predicted, predicted.c.image_id == models.Image.id)
        .group_by(models.Image.case_id)
    )
    if case_id is not None:
        query = query.where(models.Image.case_id == case_id)
    return query.subquery()


def _state(first: type[models.Read], final: type[models.Read], progress: Subquery) -> ColumnElement[str]:
    model_says_malignant = final.shown_probability >= final.shown_threshold
    differs = final.label.is_not(None) & final.model_visible & ((final.label == "malignant") != model_says_malignant)
    return case(
        (final.id.is_not(None) & differs, _text(CaseState.DISCORDANT)),
        (final.id.is_not(None), _text(CaseState.FINAL)),
        (first.id.is_not(None), _text(CaseState.REVEALED)),
        (progress.c.analysed < progress.c.images, _text(CaseState.WAITING)),
        (progress.c.predicted > 0, _text(CaseState.READY)),
        else_=_text(CaseState.UNREADABLE),
    )


def _text(state: CaseState) -> ColumnElement[str]:
    # Written into the statement: PostgreSQL cannot tell the type of a CASE made of parameters only.
    return literal_column(f"'{state.value}'")


def _rank(state: ColumnElement[str]) -> ColumnElement[int]:
    return case({s.value: rank for rank, s in enumerate(_ORDER)}, value=state)


def _case_row(found: Row[int, str, str, str | None, int, int, datetime, bool]) -> CaseRow:
    case_id, state, accession, magnification, images, analysed, created_at, demonstration = found
    return CaseRow(
        id=case_id,
        accession=accession,
        magnification=magnification,
        images=int(images),
        analysed=int(analysed),
        state=CaseState(state),
        created_at=created_at,
        demonstration=demonstration,
    )
