"""SQL for the pages of a worklist: the cases of some piles in some order, a few at a time and by their keys."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, Row, Select, func, null, select, tuple_
from sqlalchemy.orm import Session, aliased

from db import tables
from db.queries.case_state import case_conditions, images_of_cases
from db.queries.reads import is_current_final
from db.values.accessions import search_range, sort_key
from db.values.piles import Pile
from db.values.worklist import CaseFilter, CaseOrder, ListedCase

FEW = 1000  # cases that may be loaded and sorted at once
FOUND = 250  # cases that a search lists at most, each of which costs two look-ups

_Row = Row[int, int, float | None, float | None, str]
_Query = Select[int, int, float | None, float | None, str]


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which cases of a reader are listed: those of some piles, without some of which the state depends on the time."""

    account_id: int
    piles: Sequence[Pile]
    filters: CaseFilter
    without: Collection[int] = ()
    oldest: int = 0  # no case with a smaller id can match the filters


@dataclass(frozen=True, slots=True)
class CaseDetails:
    """What a row of the worklist shows of a case, besides what its order needs."""

    accession: str
    magnification: str | None
    created_at: datetime
    demonstration: bool
    images: int
    analysed: int
    first_image: int
    read_to_end: bool


def count_piles(session: Session, account_id: int) -> Mapping[Pile, int]:
    """Return the piles of a reader that have cases, with their number."""
    row = tables.WorklistPile
    query = select(row.pile, row.cases).where(row.account_id == account_id, row.cases > 0)
    return {Pile.of_number(number): cases for number, cases in session.execute(query)}


def first_case_since(session: Session, filters: CaseFilter) -> int:
    """Return an id below which no case can have been added since the moment of a filter; 0 without one.

    Ids and times go the same way unless the clock was set back, so the oldest of many is taken.
    """
    if filters.since is None:
        return 0
    case = tables.Case
    oldest = select(case.id).where(case.created_at >= filters.since).order_by(case.created_at, case.id).limit(FEW)
    return session.scalar(select(func.min(oldest.subquery().c.id))) or newest_case(session) + 1


def newest_case(session: Session) -> int:
    """Return the largest id of a case; 0 if there is none."""
    return session.scalar(select(func.max(tables.Case.id))) or 0


def cases_by_id(session: Session, wanted: Wanted, cases: Collection[int]) -> list[ListedCase]:
    """Return those of these cases that match the filters, whatever their piles, and though they are left out there."""
    if not cases:
        return []
    query = _query(wanted).where(tables.WorklistCase.case_id.in_(cases))
    if wanted.filters.text:
        query = query.where(_has_term(wanted.filters.text))
    return _listed(session, query)


def cases_of_piles(session: Session, wanted: Wanted) -> list[ListedCase]:
    """Return all cases of the piles that match the filters, in no order."""
    query = _of_piles(wanted, wanted.piles)
    if wanted.filters.text:
        query = query.where(_has_term(wanted.filters.text))
    return _listed(session, query)


def cases_by_text(session: Session, wanted: Wanted) -> list[ListedCase]:
    """Return the first cases with a part of the accession that begins like the text, one more than `FOUND` at most."""
    term, row = tables.CaseTerm, tables.WorklistCase
    low, high = search_range(wanted.filters.text or "")
    query = _of_piles(wanted, wanted.piles).join(term, term.case_id == row.case_id)
    query = query.where(term.term >= low, term.term < high).order_by(term.term, term.case_id).limit(FOUND + 1)
    found = {one.case_id: one for one in _listed(session, query)}
    return list(found.values())


def cases_of_pile(
    session: Session, wanted: Wanted, pile: Pile, many: int, *, beyond: int = 0, newest_first: bool = False
) -> list[ListedCase]:
    """Return the next cases of one pile in the order in which they were added, or the other way round.

    Args:
        session: A session of the database.
        wanted: Which cases; its piles are not used.
        pile: The pile.
        many: How many cases at most.
        beyond: The last case before these; 0 for the beginning.
        newest_first: Whether the newest case comes first.
    """
    case_id = tables.WorklistCase.case_id
    row, case = tables.WorklistCase, tables.Case
    # Without what the model said: the index of piles holds the rest.
    query = _of_piles(wanted, [pile]).with_only_columns(row.case_id, row.pile, null(), null(), case.accession)
    if newest_first:
        query = (query.where(case_id < beyond) if beyond else query).order_by(case_id.desc())
    else:
        query = query.where(case_id > beyond).order_by(case_id)
    return _listed(session, query.limit(many))


def cases_in_order(
    session: Session, wanted: Wanted, order: CaseOrder, many: int, after: ListedCase | None
) -> list[ListedCase]:
    """Return the next cases by accession, or in an order that the model decides.

    The orders of the model hold only cases of which this reader knows what it says.
    """
    row, key = tables.WorklistCase, tables.CaseSortKey
    query = _of_piles(wanted, wanted.piles)
    if order is CaseOrder.ACCESSION:
        # Not joined: SQLite would begin with all cases of the reader, and sort them.
        listed = query.where(row.case_id == key.case_id).correlate(key).exists()
        ordered = select(key.case_id).where(listed).order_by(key.sort_key, key.case_id).limit(many)
        if after is not None:
            ordered = ordered.where(tuple_(key.sort_key, key.case_id) > (sort_key(after.accession), after.case_id))
        return _listed(session, query.where(row.case_id.in_(session.scalars(ordered).all())))
    uncertain = order is CaseOrder.UNCERTAINTY
    column = row.uncertainty if uncertain else row.concordance
    query = query.where(column.is_not(None)).order_by(column, row.case_id)
    if after is not None:
        value = after.uncertainty if uncertain else after.concordance
        query = query.where(tuple_(column, row.case_id) > (value, after.case_id))
    return _listed(session, query.limit(many))


def case_details(session: Session, account_id: int, cases: Collection[int]) -> Mapping[int, CaseDetails]:
    """Return what the rows of these cases show, by id."""
    case, final, images = tables.Case, aliased(tables.Read), images_of_cases(chosen=True)
    finished = (
        select(final.id)
        .where(final.case_id == case.id, final.account_id == account_id, is_current_final(final))
        .correlate(case)
        .exists()
    )
    query = select(case, images.c.images, images.c.analysed, images.c.first_image, finished).join(
        images, images.c.case_id == case.id
    )
    return {
        row.id: CaseDetails(
            accession=row.accession,
            magnification=row.magnification,
            created_at=row.created_at,
            demonstration=row.demonstration,
            images=int(count),
            analysed=int(analysed),
            first_image=first,
            read_to_end=bool(read),
        )
        for row, count, analysed, first, read in session.execute(query, {"cases": list(cases)})
    }


def _query(wanted: Wanted) -> _Query:
    row, case, filters = tables.WorklistCase, tables.Case, wanted.filters
    query = (
        select(row.case_id, row.pile, row.uncertainty, row.concordance, case.accession)
        .join(case, case.id == row.case_id)
        .where(row.account_id == wanted.account_id)
    )
    # The text is searched by its index.
    conditions = case_conditions(CaseFilter(None, None, filters.magnification, False, filters.since, filters.until))
    if wanted.oldest:
        conditions.append(row.case_id >= wanted.oldest)
    return query.where(*conditions)


def _of_piles(wanted: Wanted, piles: Sequence[Pile]) -> _Query:
    row, numbers = tables.WorklistCase, [pile.number for pile in piles]
    # With IN, the database would sort even those of one pile.
    among = row.pile == numbers[0] if len(numbers) == 1 else row.pile.in_(numbers)
    query = _query(wanted).where(among)
    return query.where(row.case_id.not_in(wanted.without)) if wanted.without else query


def _has_term(text: str) -> ColumnElement[bool]:
    term = tables.CaseTerm
    low, high = search_range(text)
    return tables.WorklistCase.case_id.in_(select(term.case_id).where(term.term >= low, term.term < high))


def _listed(session: Session, query: _Query) -> list[ListedCase]:
    return [_value(row) for row in session.execute(query)]


def _value(row: _Row) -> ListedCase:
    case_id, pile, uncertainty, concordance, accession = row
    return ListedCase(
        case_id, Pile.of_number(pile), accession=accession, uncertainty=uncertainty, concordance=concordance
    )
