"""The cases as one reader sees them: which wait, which are read, which comes next.

Nothing of the model, and no order made from it, enters before the reader's own first read. A case without any image
is left out, and so is one that this reader has to read in a study that is open.
"""

from collections.abc import Collection, Sequence

from sqlalchemy import ColumnElement, Row, Select, Subquery, and_, func, select
from sqlalchemy import case as choose
from sqlalchemy.orm import Session

from db import tables
from db.queries.cached import made_once
from db.queries.case_state import ReaderCases, asked_by, reader_cases, wanted_cases
from db.queries.permissions import need
from db.values.accounts import Permission
from db.values.reading import CaseState
from db.values.worklist import CaseFilter, CaseOrder, CaseRow

# What waits for this reader stands first, then what waits for other readers or for the analysis, then what is done.
_TO_DO = (CaseState.READY, CaseState.IN_READING, CaseState.REVEALED, CaseState.FIRST_READ)
_BEGUN = (CaseState.REVEALED, CaseState.FIRST_READ)
_THEN = (
    CaseState.WAITING,
    CaseState.UNREADABLE,
    CaseState.DISCORDANT,
    CaseState.ADJUDICATION,
    CaseState.FINAL,
    CaseState.RESOLVED,
    CaseState.SIGNED_OUT,
    CaseState.AMENDED,
)

_CaseQuery = Select[int, str]  # ids and accessions
_Lines = Select[*tuple[object, ...]]  # the fields of CaseRow, by their names
_Line = Row[*tuple[object, ...]]
_EVERYTHING = CaseFilter()


def by_uncertainty(cases: ReaderCases, query: _CaseQuery) -> _CaseQuery:
    """Keep the cases with this reader's first read, those first whose probability is closest to the threshold.

    Cases without a result of the model come last.
    """
    opinion = _opinions()
    distance: ColumnElement[float] = func.abs(opinion.c.probability - opinion.c.threshold)
    known = query.outerjoin(opinion, opinion.c.case_id == tables.Case.id).where(cases.first.id.is_not(None))
    return known.order_by(_last_without(distance), distance, tables.Case.id)


def by_discordance(cases: ReaderCases, query: _CaseQuery) -> _CaseQuery:
    """Keep the cases with this reader's final read, those first where the model as shown says the most against it.

    Cases that could not be assessed, or were read without the model, come last.
    """
    final = cases.final
    beyond = final.shown_probability - final.shown_threshold
    against = choose((final.label == "benign", beyond), (final.label == "malignant", -beyond))
    return query.where(final.id.is_not(None)).order_by(_last_without(against), against.desc(), tables.Case.id)


def _opinions() -> Subquery:
    """Return the model's probability and threshold by case, of the version that `db.queries.model_opinion` reveals."""
    row = tables.Prediction
    of_versions = (
        select(
            tables.Image.case_id,
            func.avg(row.malignant_probability).label("probability"),
            func.min(row.threshold).label("threshold"),
            func.row_number()
            .over(partition_by=tables.Image.case_id, order_by=(func.count().desc(), func.max(row.id).desc()))
            .label("place"),
        )
        .join(tables.Image, tables.Image.id == row.image_id)
        .group_by(tables.Image.case_id, row.model_version)
        .subquery()
    )
    return select(of_versions).where(of_versions.c.place == 1).subquery()


def _last_without(value: ColumnElement[float]) -> ColumnElement[int]:
    # The databases do not agree on where nothing belongs in an order.
    return choose((value.is_(None), 1), else_=0)


def worklist(
    session: Session, account_id: int, wanted: CaseFilter = _EVERYTHING, *, order: CaseOrder = CaseOrder.WORK
) -> list[CaseRow]:
    """Return the cases for one reader; sorted by what the model says, only those that this reader has read."""
    need(session, account_id, Permission.READ_CASES)
    query = _filtered(_listed(order), wanted)
    return [_case_row(found) for found in session.execute(query, asked_by(account_id))]


def state_counts(session: Session, account_id: int) -> dict[CaseState, int]:
    """Count this reader's cases by state; every state is there, if only with 0."""
    need(session, account_id, Permission.READ_CASES)
    counts = session.execute(_counts(), asked_by(account_id))
    return dict.fromkeys(CaseState, 0) | {CaseState(state): count for state, count in counts}


def next_case(session: Session, account_id: int, after: int | None = None, *, passed: Sequence[int] = ()) -> int | None:
    """Return the case to read next: urgent ones first, then those assigned to this reader, then the oldest.

    What is left between first and final read comes after what is unread; a case that another reader has open comes
    last, and one that is assigned to others only is not given at all. With `after`, those that came later than this
    case are offered before older ones, and the case itself never; those in `passed` come when no other is left.
    """
    need(session, account_id, Permission.READ_CASES)
    query = _to_do()
    order = [*((_place_in(passed),) if passed else ()), *_work_order()]
    if after is not None:
        query = query.where(tables.Case.id != after)
        order.append(choose((tables.Case.id > after, 0), else_=1))
    found = session.execute(query.order_by(*order, tables.Case.id).limit(1), asked_by(account_id)).first()
    return found[0] if found else None


def case_state(session: Session, case_id: int, account_id: int) -> CaseState:
    """Say how far one case has come for one reader."""
    found = session.execute(reader_cases(only_one=True).query, asked_by(account_id, case_id)).first()
    # A case without images is not on the worklist, and nothing of it can be analysed.
    return CaseState(found[1]) if found else CaseState.UNREADABLE


@made_once
def _counts() -> Select[str, int]:
    cases = reader_cases().query.subquery()
    return select(cases.c.state, func.count()).group_by(cases.c.state)


@made_once
def _to_do() -> _CaseQuery:
    cases = reader_cases()
    return cases.query.where(_is_one_of(cases, _TO_DO), ~_only_for_others(cases))


@made_once
def _listed(order: CaseOrder) -> _Lines:
    cases, row = reader_cases(), tables.Case
    return _ordered(cases, cases.query, order).with_only_columns(
        row.id,
        row.accession,
        row.magnification,
        cases.images.label("images"),
        cases.analysed.label("analysed"),
        cases.state.label("state"),
        row.created_at,
        row.demonstration,
        cases.final.id.is_not(None).label("read_to_end"),
        cases.urgent.label("urgent"),
        cases.mine.label("assigned_to_me"),
        cases.others.label("assigned_to_others"),
        cases.open_with.label("open_with"),
        cases.open_since.label("open_since"),
    )


def _filtered(query: _Lines, wanted: CaseFilter) -> _Lines:
    cases = reader_cases()
    if conditions := wanted_cases(wanted):
        query = query.where(*conditions)
    if wanted.states is not None:
        query = query.where(_is_one_of(cases, wanted.states))
    return query.where(cases.mine) if wanted.mine else query


def _ordered(cases: ReaderCases, query: _CaseQuery, order: CaseOrder) -> _CaseQuery:
    row = tables.Case
    if order is CaseOrder.UNCERTAINTY:
        return by_uncertainty(cases, query)
    if order is CaseOrder.DISCORDANCE:
        return by_discordance(cases, query)
    if order is CaseOrder.NEWEST:
        return query.order_by(row.created_at.desc(), row.id.desc())
    if order is CaseOrder.OLDEST:
        return query.order_by(row.created_at, row.id)
    if order is CaseOrder.ACCESSION:
        return query.order_by(func.lower(row.accession), row.id)
    return query.order_by(*_work_order(), row.id)


@made_once
def _work_order() -> tuple[ColumnElement[int], ...]:
    """Order cases by what is to be done first; those that are alike are left to their number."""
    cases = reader_cases()
    rank = choose({state.value: rank for rank, state in enumerate(_THEN, 2)}, value=cases.state, else_=0)
    return (
        choose((_only_for_others(cases), 1), else_=rank),
        choose((cases.open_with.is_not(None), 1), else_=0),
        choose((cases.urgent, 0), else_=1),
        choose((_is_one_of(cases, _BEGUN), 1), else_=0),
        choose((cases.mine, 0), else_=1),
    )


def _only_for_others(cases: ReaderCases) -> ColumnElement[bool]:
    """Select the unread cases that are assigned, and not to this reader; what one has begun one may finish."""
    return and_(cases.others, _is_one_of(cases, (CaseState.READY, CaseState.IN_READING)))


def _is_one_of(cases: ReaderCases, states: Collection[CaseState]) -> ColumnElement[bool]:
    return cases.state.in_([state.value for state in states])


def _place_in(passed: Collection[int]) -> ColumnElement[int]:
    return choose({case_id: place for place, case_id in enumerate(passed, 1)}, value=tables.Case.id, else_=0)


def _case_row(found: _Line) -> CaseRow:
    values = found._asdict()
    return CaseRow(**{**values, "state": CaseState(values["state"]), "open_with": values["open_with"] or ""})
