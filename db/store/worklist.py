"""The worklist of one reader: cases with their state, filters and orders, and the case to read next.

Neither the model's opinion nor an order based on it is used before the reader's own first read. Cases without an
image are left out, and so are cases that this reader must read in an open study.
"""

from collections.abc import Collection, Sequence

from sqlalchemy import ColumnElement, Row, Select, Subquery, and_, func, select
from sqlalchemy import case as choose
from sqlalchemy.orm import Session

from core.natural_order import make_natural_key
from db import tables
from db.queries.cached import cache_statement
from db.queries.case_state import ReaderCases, case_conditions, reader_cases, statement_parameters
from db.queries.permissions import require_permission
from db.queries.scales import is_of_current_scale
from db.values.accounts import Permission
from db.values.reading import CaseState
from db.values.worklist import CaseFilter, CaseOrder, CaseRow

# Cases that wait for this reader come first, then those that wait for others or for the analysis, then finished ones.
_TO_DO = (CaseState.READY, CaseState.IN_READING, CaseState.REVEALED, CaseState.FIRST_READ)
_BEGUN = (CaseState.REVEALED, CaseState.FIRST_READ)
_AFTER_TO_DO = (
    CaseState.INCOMPLETE,
    CaseState.WAITING,
    CaseState.UNREADABLE,
    CaseState.DISCORDANT,
    CaseState.ADJUDICATION,
    CaseState.FINAL,
    CaseState.RESOLVED,
    CaseState.SIGNED_OFF,
    CaseState.AMENDED,
)

_CaseQuery = Select[int, str]  # ids and accessions
_Lines = Select[*tuple[object, ...]]  # the fields of CaseRow, by their names
_Line = Row[*tuple[object, ...]]
_EVERYTHING = CaseFilter()


def order_by_uncertainty(cases: ReaderCases, query: _CaseQuery) -> _CaseQuery:
    """Select the cases with this reader's first read, ordered by how close their probability is to the threshold.

    Cases without a result come last.
    """
    opinion = _opinions()
    distance: ColumnElement[float] = func.abs(opinion.c.probability - opinion.c.threshold)
    with_opinion = query.outerjoin(opinion, opinion.c.case_id == tables.Case.id).where(cases.first.id.is_not(None))
    return with_opinion.order_by(_last_without(distance), distance, tables.Case.id)


def order_by_discordance(cases: ReaderCases, query: _CaseQuery) -> _CaseQuery:
    """Select the cases with this reader's final read, ordered by how strongly the shown model contradicts it.

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
        .where(is_of_current_scale(row))
        .group_by(tables.Image.case_id, row.model_version)
        .subquery()
    )
    return select(of_versions).where(of_versions.c.place == 1).subquery()


def _last_without(value: ColumnElement[float]) -> ColumnElement[int]:
    # SQLite and PostgreSQL sort NULL differently.
    return choose((value.is_(None), 1), else_=0)


def worklist(
    session: Session,
    account_id: int,
    filters: CaseFilter = _EVERYTHING,
    *,
    order: CaseOrder = CaseOrder.WORK,
    language: str | None = None,
) -> list[CaseRow]:
    """Return the cases of one reader; orders based on the model include only cases that this reader has read.

    Case numbers are sorted naturally, as the reader's `language` sorts its letters.
    """
    require_permission(session, account_id, Permission.READ_CASES)
    query = _filtered(_lines(order), filters)
    rows = [_case_row(row) for row in session.execute(query, statement_parameters(account_id))]
    if order is CaseOrder.ACCESSION:
        # Not in SQL: neither SQLite nor every PostgreSQL knows natural orders of languages.
        rows.sort(key=lambda row: make_natural_key(row.accession, language))
    return rows


def state_counts(session: Session, account_id: int) -> dict[CaseState, int]:
    """Count this reader's cases by state; every state is included, even with 0."""
    require_permission(session, account_id, Permission.READ_CASES)
    counts = session.execute(_counts(), statement_parameters(account_id))
    return dict.fromkeys(CaseState, 0) | {CaseState(state): count for state, count in counts}


def find_next_case(
    session: Session, account_id: int, after: int | None = None, *, passed: Sequence[int] = ()
) -> int | None:
    """Return the case to read next: urgent cases first, then those assigned to this reader, then the oldest.

    Cases between first and final read come after unread ones; cases that another reader has open come last, and
    unread cases assigned only to others are left out. With `after`, newer cases than this one come before older ones,
    and the case itself is left out; the cases in `passed` come when no other is left.
    """
    require_permission(session, account_id, Permission.READ_CASES)
    query = _to_do()
    order = [*((_position_in(passed),) if passed else ()), *_work_order()]
    if after is not None:
        query = query.where(tables.Case.id != after)
        order.append(choose((tables.Case.id > after, 0), else_=1))
    row = session.execute(query.order_by(*order, tables.Case.id).limit(1), statement_parameters(account_id)).first()
    return row[0] if row else None


def case_state(session: Session, case_id: int, account_id: int) -> CaseState:
    """Return the state of a case for one reader."""
    row = session.execute(reader_cases(only_one=True).query, statement_parameters(account_id, case_id)).first()
    # A case without images is not on the worklist and cannot be analysed.
    return CaseState(row[1]) if row else CaseState.UNREADABLE


@cache_statement
def _counts() -> Select[str, int]:
    cases = reader_cases().query.subquery()
    return select(cases.c.state, func.count()).group_by(cases.c.state)


@cache_statement
def _to_do() -> _CaseQuery:
    cases = reader_cases()
    return cases.query.where(_is_one_of(cases, _TO_DO), ~_only_for_others(cases))


@cache_statement
def _lines(order: CaseOrder) -> _Lines:
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
        cases.first_image.label("first_image"),
    )


def _filtered(query: _Lines, filters: CaseFilter) -> _Lines:
    cases = reader_cases()
    if conditions := case_conditions(filters):
        query = query.where(*conditions)
    if filters.states is not None:
        query = query.where(_is_one_of(cases, filters.states))
    return query.where(cases.mine) if filters.mine else query


def _ordered(cases: ReaderCases, query: _CaseQuery, order: CaseOrder) -> _CaseQuery:
    row = tables.Case
    if order is CaseOrder.UNCERTAINTY:
        return order_by_uncertainty(cases, query)
    if order is CaseOrder.DISCORDANCE:
        return order_by_discordance(cases, query)
    if order is CaseOrder.NEWEST:
        return query.order_by(row.created_at.desc(), row.id.desc())
    if order is CaseOrder.OLDEST:
        return query.order_by(row.created_at, row.id)
    return query.order_by(*_work_order(), row.id)


@cache_statement
def _work_order() -> tuple[ColumnElement[int], ...]:
    """Return the order of work; ties are broken by case number."""
    cases = reader_cases()
    rank = choose({state.value: rank for rank, state in enumerate(_AFTER_TO_DO, 2)}, value=cases.state, else_=0)
    return (
        choose((_only_for_others(cases), 1), else_=rank),
        choose((cases.open_with.is_not(None), 1), else_=0),
        choose((cases.urgent, 0), else_=1),
        choose((_is_one_of(cases, _BEGUN), 1), else_=0),
        choose((cases.mine, 0), else_=1),
    )


def _only_for_others(cases: ReaderCases) -> ColumnElement[bool]:
    """Select the unread cases assigned only to others; a case already begun may be finished."""
    return and_(cases.others, _is_one_of(cases, (CaseState.READY, CaseState.IN_READING)))


def _is_one_of(cases: ReaderCases, states: Collection[CaseState]) -> ColumnElement[bool]:
    return cases.state.in_([state.value for state in states])


def _position_in(passed: Collection[int]) -> ColumnElement[int]:
    return choose({case_id: place for place, case_id in enumerate(passed, 1)}, value=tables.Case.id, else_=0)


def _case_row(line: _Line) -> CaseRow:
    values = line._asdict()
    return CaseRow(**{**values, "state": CaseState(values["state"]), "open_with": values["open_with"] or ""})
