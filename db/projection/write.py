"""Write what the worklists show and what agreement counts: derived again for touched cases, or for all.

The rows that are never changed stay the truth. Nothing here is sealed: it can be derived again at any time.
"""

from collections import Counter
from collections.abc import Iterator, Sequence

from sqlalchemy import Select, delete, func, insert, select, text, update
from sqlalchemy.orm import Session

from db import tables
from db.audit.chain import lock_chain
from db.projection.comparisons import project_comparisons, rebuild_comparisons
from db.projection.touched import Touched, take_touched
from db.queries.case_state import DerivedCase, derivation, derive_cases
from db.values.accessions import search_terms, sort_key
from db.values.accounts import READING_ROLES

AT_ONCE = 200  # cases derived by one statement; SQLite allows 32,766 parameters

_ROW = ("account_id", "case_id", "pile", "uncertainty", "concordance")
_PUT = text(
    "INSERT INTO worklist_cases (account_id, case_id, pile, uncertainty, concordance) "
    "VALUES (:account_id, :case_id, :pile, :uncertainty, :concordance) ON CONFLICT (account_id, case_id) DO UPDATE "
    "SET pile = excluded.pile, uncertainty = excluded.uncertainty, concordance = excluded.concordance"
)
_REMOVE = text("DELETE FROM worklist_cases WHERE account_id = :account_id AND case_id = :case_id")

_Columns = dict[str, int | float | None]


def project_touched(session: Session) -> None:
    """Derive again what this session has touched; called before it commits, and before it asks for a list or counts.

    On PostgreSQL one writer at a time does this, so that each derives from what the others have committed.
    """
    touched = take_touched(session)
    if touched is None:
        return
    lock_chain(session)
    # All lists first: a single row would make one look begun.
    for account_id in touched.accounts:
        _begin_or_end_list(session, account_id)
    readers = reading_accounts(session)
    for cases in _in_parts(sorted(_touched_cases(session, touched))):
        _project_accessions(session, cases)
        project_cases(session, cases, readers)
        project_comparisons(session, cases)


def project_cases(session: Session, cases: Sequence[int], readers: Sequence[int]) -> None:
    """Derive some cases for some readers, and write what differs from what is stored."""
    derived = {(one.account_id, one.case_id): one for one in derive_cases(session, cases, readers)}
    before = stored_cases(session, cases, readers)
    changed = [one for key, one in derived.items() if before.get(key) != one]
    gone = [one for key, one in before.items() if key not in derived]
    moved: Counter[tuple[int, int]] = Counter()
    for one in changed:
        moved[one.account_id, one.pile.number] += 1
        if old := before.get((one.account_id, one.case_id)):
            moved[old.account_id, old.pile.number] -= 1
    for one in gone:
        moved[one.account_id, one.pile.number] -= 1
    if changed:
        session.execute(_PUT, [_columns(one) for one in changed])
    if gone:
        session.execute(_REMOVE, [{"account_id": one.account_id, "case_id": one.case_id} for one in gone])
    _move(session, moved)


def stored_cases(session: Session, cases: Sequence[int], readers: Sequence[int]) -> dict[tuple[int, int], DerivedCase]:
    """Return what is stored of some cases for some readers, by reader and case."""
    row = tables.WorklistCase
    query = select(row.account_id, row.case_id, row.pile, row.uncertainty, row.concordance)
    found = session.execute(query.where(row.case_id.in_(cases), row.account_id.in_(readers)))
    values = (DerivedCase.of_row(*one) for one in found)
    return {(one.account_id, one.case_id): one for one in values}


def reading_accounts(session: Session) -> Sequence[int]:
    """Return the accounts that have a worklist: those whose role reads cases, disabled or not."""
    account = tables.Account
    return session.scalars(select(account.id).where(account.role.in_(READING_ROLES)).order_by(account.id)).all()


def all_cases(session: Session) -> Iterator[Sequence[int]]:
    """Yield the ids of all cases, some at a time."""
    last = 0
    query = select(tables.Case.id).order_by(tables.Case.id).limit(AT_ONCE)
    while cases := session.scalars(query.where(tables.Case.id > last)).all():
        yield cases
        last = cases[-1]


def rebuild(session: Session) -> int:
    """Derive everything anew; return the number of cases on all worklists."""
    for table in (tables.WorklistPile, tables.WorklistCase, tables.CaseTerm, tables.CaseSortKey):
        session.execute(delete(table))
    readers = reading_accounts(session)
    for cases in all_cases(session):
        _insert_accessions(session, _accessions_of(cases))
        _insert_derived(session, cases, readers)
    session.execute(insert(tables.WorklistPile).from_select(["account_id", "pile", "cases"], counted_piles()))
    rebuild_comparisons(session, all_cases(session))
    return session.scalar(select(func.count()).select_from(tables.WorklistCase)) or 0


def counted_piles() -> Select[int, int, int]:
    """Select the piles of all readers and the number of their cases, counted."""
    row = tables.WorklistCase
    return select(row.account_id, row.pile, func.count()).group_by(row.account_id, row.pile)


def _insert_derived(session: Session, cases: Sequence[int], readers: Sequence[int]) -> None:
    derived = derivation().params(cases=list(cases), readers=list(readers))
    session.execute(insert(tables.WorklistCase).from_select(_ROW, derived))


def _begin_or_end_list(session: Session, account_id: int) -> None:
    """Give an account that begins to read its worklist, and take it from one that no longer does."""
    row = tables.WorklistCase
    reads = account_id in reading_accounts(session)
    has_list = session.scalar(select(row.case_id).where(row.account_id == account_id).limit(1)) is not None
    if has_list and not reads:
        session.execute(delete(row).where(row.account_id == account_id))
        session.execute(delete(tables.WorklistPile).where(tables.WorklistPile.account_id == account_id))
    if reads and not has_list:
        for cases in all_cases(session):
            _insert_derived(session, cases, [account_id])
        piles = counted_piles().where(row.account_id == account_id)
        session.execute(insert(tables.WorklistPile).from_select(["account_id", "pile", "cases"], piles))


def _touched_cases(session: Session, touched: Touched) -> set[int]:
    """Return the cases of all that was touched.

    Whether an account is disabled, and whether it adjudicates, counts for others wherever it has read or is to read.
    """
    image, intake, place, case = tables.Image, tables.Intake, tables.StudyPlace, tables.Case
    read, assignment = tables.Read, tables.Assignment
    queries = (
        (touched.accounts, select(read.case_id).where(read.account_id.in_(touched.accounts)).distinct()),
        (touched.accounts, select(assignment.case_id).where(assignment.account_id.in_(touched.accounts)).distinct()),
        (touched.images, select(image.case_id).where(image.id.in_(touched.images))),
        (touched.intakes, select(intake.case_id).where(intake.id.in_(touched.intakes), intake.case_id.is_not(None))),
        (touched.studies, select(place.case_id).where(place.study_id.in_(touched.studies)).distinct()),
        (touched.accessions, select(case.id).where(case.accession.in_(touched.accessions))),
    )
    found = (session.scalars(query) for numbers, query in queries if numbers)
    return touched.cases.union(*([one for one in ids if one is not None] for ids in found))


def _project_accessions(session: Session, cases: Sequence[int]) -> None:
    """Write how the accessions of these cases are searched and sorted; they never change."""
    known = select(tables.CaseSortKey.case_id).where(tables.CaseSortKey.case_id == tables.Case.id).exists()
    _insert_accessions(session, _accessions_of(cases).where(~known))


def _accessions_of(cases: Sequence[int]) -> Select[int, str]:
    return select(tables.Case.id, tables.Case.accession).where(tables.Case.id.in_(cases))


def _insert_accessions(session: Session, query: Select[int, str]) -> None:
    added = session.execute(query).all()
    if not added:
        return
    keys = [{"case_id": number, "sort_key": sort_key(words)} for number, words in added]
    session.execute(insert(tables.CaseSortKey), keys)
    terms = [{"case_id": number, "term": term} for number, words in added for term in search_terms(words)]
    session.execute(insert(tables.CaseTerm), terms)


def _move(session: Session, moved: Counter[tuple[int, int]]) -> None:
    """Add to the counts of piles; an empty pile keeps its row."""
    row = tables.WorklistPile
    changed = {key: by for key, by in moved.items() if by}
    if not changed:
        return
    accounts = {account_id for account_id, _ in changed}
    query = select(row.account_id, row.pile, row.cases).where(row.account_id.in_(accounts))
    before = {(account_id, pile): cases for account_id, pile, cases in session.execute(query)}
    for (account_id, pile), by in sorted(changed.items()):
        if (account_id, pile) in before:
            mine = (row.account_id == account_id, row.pile == pile)
            session.execute(update(row).where(*mine).values(cases=before[account_id, pile] + by))
        else:
            session.execute(insert(row).values(account_id=account_id, pile=pile, cases=by))


def _in_parts(cases: Sequence[int]) -> Iterator[Sequence[int]]:
    return (cases[start : start + AT_ONCE] for start in range(0, len(cases), AT_ONCE))


def _columns(one: DerivedCase) -> _Columns:
    return {
        "account_id": one.account_id,
        "case_id": one.case_id,
        "pile": one.pile.number,
        "uncertainty": one.uncertainty,
        "concordance": one.concordance,
    }
