"""Keep what agreement counts: derived again for the cases that a transaction has touched, or for all."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from sqlalchemy import delete, func, insert, select, text
from sqlalchemy.orm import Session

from core.wording import count_words
from db import tables
from db.queries.compared_cases import COLUMNS
from db.queries.comparison_keys import RESEARCHERS, derive_keys, number_of

_PUT = text(
    "INSERT INTO compared_cases (account_id, case_id, by_model, by_readers, by_reveal, by_habits) "
    "VALUES (:account_id, :case_id, :by_model, :by_readers, :by_reveal, :by_habits) "
    "ON CONFLICT (case_id, account_id) DO UPDATE SET by_model = excluded.by_model, "
    "by_readers = excluded.by_readers, by_reveal = excluded.by_reveal, by_habits = excluded.by_habits"
)
_REMOVE = text("DELETE FROM compared_cases WHERE account_id = :account_id AND case_id = :case_id")
_OF_GROUP = "account_id = :account_id AND comparison = :comparison AND number = :number"
_MORE = text(
    "INSERT INTO compared_groups (account_id, comparison, number, key, cases) "
    "VALUES (:account_id, :comparison, :number, :key, :cases) "
    "ON CONFLICT (account_id, comparison, number) DO UPDATE SET cases = compared_groups.cases + excluded.cases"
)
_FEWER = text(f"UPDATE compared_groups SET cases = cases - :cases WHERE {_OF_GROUP}")  # noqa: S608 (a constant)
_EMPTY = text(f"DELETE FROM compared_groups WHERE {_OF_GROUP} AND cases <= 0")  # noqa: S608 (a constant)

_MOST_GROUPS = 20_000  # in memory
_COMPARED = {name: comparison.value for comparison, name in COLUMNS.items()}

_Numbers = tuple[int, ...]  # of the keys of a case, in the order of `COLUMNS`
_Group = tuple[int, str, int]  # account, comparison and number
_ByCase = dict[tuple[int, int], _Numbers]  # by account and case


def project_comparisons(session: Session, cases: Sequence[int]) -> None:
    """Derive how some cases are counted, and write what differs from what is stored."""
    derived, keys = _derive(session, cases)
    before = _stored(session, cases)
    changed = {key: numbers for key, numbers in derived.items() if before.get(key) != numbers}
    gone = {key: numbers for key, numbers in before.items() if derived.get(key) != numbers}
    if changed:
        session.execute(_PUT, [_columns(account_id, case_id, each) for (account_id, case_id), each in changed.items()])
    if removed := gone.keys() - derived.keys():
        session.execute(_REMOVE, [{"account_id": account_id, "case_id": case_id} for account_id, case_id in removed])
    moved = _count(changed)
    moved.subtract(_count(gone))
    _move(session, moved, keys)


def rebuild_comparisons(session: Session, blocks: Iterator[Sequence[int]]) -> None:
    """Derive how all cases are counted, some cases at a time."""
    for table in (tables.ComparedGroup, tables.ComparedCase):
        session.execute(delete(table))
    keys: dict[int, str] = {}
    groups = Counter[_Group]()
    for cases in blocks:
        derived, found = _derive(session, cases)
        keys |= found
        if derived:
            rows = [_columns(account_id, case_id, each) for (account_id, case_id), each in derived.items()]
            session.execute(insert(tables.ComparedCase), rows)
        groups.update(_count(derived))
        if len(groups) > _MOST_GROUPS:
            _move(session, groups, keys)
            keys.clear()
            groups.clear()
    _move(session, groups, keys)


def find_case_differences(session: Session, cases: Sequence[int]) -> Iterator[str]:
    """Yield, in words, which of some cases are not counted as they were read."""
    derived, _ = _derive(session, cases)
    stored = _stored(session, cases)
    for account_id, case_id in sorted(derived.keys() | stored.keys()):
        if derived.get((account_id, case_id)) != stored.get((account_id, case_id)):
            whose = _whose(account_id)
            yield f"case number {case_id} is counted differently from how it was read in the agreement of {whose}"


def find_group_differences(session: Session) -> Iterator[str]:
    """Yield, in words, which counts differ from the number of cases."""
    row, group = tables.ComparedCase, tables.ComparedGroup
    counted: dict[_Group, int] = {}
    for name in COLUMNS.values():
        number = getattr(row, name)
        query = select(row.account_id, number, func.count()).group_by(row.account_id, number)
        counted |= {(account_id, name, one): cases for account_id, one, cases in session.execute(query)}
    kept = {}
    for account_id, name, number, key, cases in session.execute(
        select(group.account_id, group.comparison, group.number, group.key, group.cases)
    ):
        kept[account_id, name, number] = cases if number == number_of(key) else -1
    for account_id, name, number in sorted(counted.keys() | kept.keys()):
        have, should = (each.get((account_id, name, number), 0) for each in (kept, counted))
        if have != should:
            yield (
                f"the agreement of {_whose(account_id)} should count {count_words(should, 'case')} with the same "
                f"{_COMPARED[name]}, but counts {max(have, 0):,}"
            )


def _whose(account_id: int) -> str:
    return "researchers" if account_id == RESEARCHERS else f"account {account_id}"


def _derive(session: Session, cases: Sequence[int]) -> tuple[_ByCase, dict[int, str]]:
    """Return the numbers of the keys of some cases, and the key for which each number stands."""
    keys = derive_keys(session, cases)
    number = {key: number_of(key) for of_case in keys.values() for key in of_case}
    derived = {whose: tuple(number[key] for key in of_case) for whose, of_case in keys.items()}
    return derived, {one: key for key, one in number.items()}


def _stored(session: Session, cases: Sequence[int]) -> _ByCase:
    row = tables.ComparedCase
    numbers = (getattr(row, name) for name in COLUMNS.values())
    query = select(row.account_id, row.case_id, *numbers).where(row.case_id.in_(cases))
    return {(account_id, case_id): tuple(each) for account_id, case_id, *each in session.execute(query)}


def _count(cases: Mapping[tuple[int, int], _Numbers]) -> Counter[_Group]:
    return Counter(
        (account_id, name, number)
        for (account_id, _), numbers in cases.items()
        for name, number in zip(COLUMNS.values(), numbers, strict=True)
    )


def _move(session: Session, moved: Counter[_Group], keys: Mapping[int, str]) -> None:
    more, fewer = [], []
    for (account_id, name, number), cases in sorted(moved.items()):
        group = {"account_id": account_id, "comparison": name, "number": number, "cases": abs(cases)}
        if cases > 0:
            more.append({**group, "key": keys[number]})
        elif cases < 0:
            fewer.append(group)
    for statement, groups in ((_MORE, more), (_FEWER, fewer), (_EMPTY, fewer)):
        if groups:
            session.execute(statement, groups)


def _columns(account_id: int, case_id: int, numbers: _Numbers) -> dict[str, int]:
    return {"account_id": account_id, "case_id": case_id, **dict(zip(COLUMNS.values(), numbers, strict=True))}
