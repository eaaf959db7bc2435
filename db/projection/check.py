"""Compare what the worklists show and what agreement counts with the rows from which it is derived."""

import math
from collections.abc import Iterator, Sequence

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from core.wording import count_words
from db import tables
from db.projection.comparisons import find_case_differences, find_group_differences
from db.projection.write import all_cases, counted_piles, reading_accounts, stored_cases
from db.queries.case_state import DerivedCase, derive_cases
from db.values.accessions import search_terms, sort_key


def find_differences(session: Session) -> Iterator[str]:
    """Yield in words what differs from what cases, reads and assignments say."""
    readers = reading_accounts(session)
    for cases in all_cases(session):
        yield from _cases(session, cases, readers)
        yield from _accessions(session, cases)
        yield from find_case_differences(session, cases)
    row, pile = tables.WorklistCase, tables.WorklistPile
    strangers = select(func.count()).select_from(row).where(row.account_id.not_in(readers))
    if number := session.scalar(strangers):
        yield f"{number:,} cases are listed for accounts that do not read"
    counted = {(account, number): cases for account, number, cases in session.execute(counted_piles())}
    stored = select(pile.account_id, pile.pile, pile.cases).where(pile.cases > 0)
    kept = {(account, number): cases for account, number, cases in session.execute(stored)}
    for account, number in sorted(counted.keys() | kept.keys()):
        have, should = kept.get((account, number), 0), counted.get((account, number), 0)
        if have != should:
            expected = count_words(should, "case")
            yield f"account {account} should have {expected} in worklist group {number}, but has {have:,}"
    yield from find_group_differences(session)


def _cases(session: Session, cases: Sequence[int], readers: Sequence[int]) -> Iterator[str]:
    derived = {(one.account_id, one.case_id): one for one in derive_cases(session, cases, readers)}
    stored = stored_cases(session, cases, readers)
    for account, case in sorted(derived.keys() | stored.keys()):
        should, have = derived.get((account, case)), stored.get((account, case))
        if should is None or have is None:
            words = "should not be listed" if should is None else "is not listed"
            yield f"case number {case} {words} for account {account}"
        elif not _are_same(should, have):
            yield f"for account {account}, case number {case} should be {_words(should)}, but is {_words(have)}"


def _accessions(session: Session, cases: Sequence[int]) -> Iterator[str]:
    case, key, term = tables.Case, tables.CaseSortKey, tables.CaseTerm
    query = select(case.id, case.accession, key.sort_key).outerjoin(key, key.case_id == case.id)
    accessions = session.execute(query.where(case.id.in_(cases))).all()
    # Asked by term, because there is no index on the case.
    terms = {(one, number) for number, words, _ in accessions for one in search_terms(words)}
    wanted = {one for one, _ in terms}
    found = session.execute(select(term.term, term.case_id).where(term.term.in_(wanted), term.case_id.in_(cases)))
    missing = {number for _, number in terms - {(one, number) for one, number in found}}
    for number, words, stored in accessions:
        if stored != sort_key(words) or number in missing:
            yield f"case number {number} is not found or sorted by its accession"


def _are_same(one: DerivedCase, other: DerivedCase) -> bool:
    pairs = ((one.uncertainty, other.uncertainty), (one.concordance, other.concordance))
    # The mean of several images depends on the order in which they are added up.
    close = (a == b if a is None or b is None else math.isclose(a, b, abs_tol=1e-9) for a, b in pairs)
    return one.pile == other.pile and all(close)


def _words(one: DerivedCase) -> str:
    share = one.pile.share.name.lower()
    return f"{one.pile.state} ({'urgent' if one.pile.urgent else 'routine'}, assigned to {share})"
