"""The cases of which an account knows how they were read, counted by what is compared, and found again by it.

The counts are kept (`db.projection.comparisons`), so that their cost grows with the kinds of cases, not with the cases.
"""

import heapq
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice

from sqlalchemy import ColumnElement, Select, func, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from core.labels import Malignancy
from db import tables
from db.queries.comparison_keys import number_of
from db.queries.given_values import given_integers
from db.values.agreement import ComparedReadings

COLUMNS: Mapping[ComparedReadings, str] = {
    ComparedReadings.MODEL: "by_model",
    ComparedReadings.READERS: "by_readers",
    ComparedReadings.REVEAL: "by_reveal",
    ComparedReadings.HABITS: "by_habits",
}
SIDES: Mapping[str, Malignancy] = {"b": "benign", "m": "malignant"}
_FEW_NUMBERS = 20  # are asked for one after the other
_LETTERS = {label: letter for letter, label in SIDES.items()}


@dataclass(slots=True)
class Group:
    """Cases that count alike."""

    key: str
    cases: int = 0
    first: int = 0  # the id of the case that was added first
    numbers: list[int] = field(default_factory=list)  # of their kept keys, without those in `labelled`
    labelled: list[int] = field(default_factory=list)  # the cases that were given this label, in ascending order

    def add(self, case_id: int, cases: int) -> None:
        """Add cases; `case_id` is the one that was added first."""
        self.first = min(self.first or case_id, case_id)
        self.cases += cases


def select_cases(session: Session, account_id: int, without: frozenset[int] = frozenset()) -> Select[int]:
    """Select the ids of the cases of which an account knows how they were read, except some."""
    return select(tables.ComparedCase.case_id).where(*_conditions(session, account_id, without))


class ComparedCases:
    """The cases of which an account knows how they were read, in one of the ways in which readings are compared."""

    def __init__(
        self,
        session: Session,
        account_id: int,
        comparison: ComparedReadings,
        *,
        without: frozenset[int] = frozenset(),
        references: Mapping[int, Malignancy] | None = None,
    ) -> None:
        """Ask about all cases of an account except some.

        With `references`, cases count alike if they are given the same label, whatever was adjudicated here.
        """
        self._session, self._account_id, self._comparison = session, account_id, comparison
        self._without, self._references = without, references
        self._kept: InstrumentedAttribute[int] = getattr(tables.ComparedCase, COLUMNS[comparison])
        self._unlabelled = _conditions(session, account_id, without.union(references or ()))

    def count(self) -> list[Group]:
        """Count the cases that are alike, in the order of the first of each group."""
        found: dict[str, Group] = {}
        labelled = self._labelled()
        aside = Counter(labelled.values()) + self._count_left_out()
        keys = {}
        for number, key, cases, first in self._session.execute(self._groups()):
            keys[number] = key
            if first is not None and cases > aside[number]:
                group = _group_of(found, key if self._references is None else _with_reference(key, ""))
                group.add(first, cases - aside[number])
                group.numbers.append(number)
        for case_id, number in labelled.items():
            if number not in keys:  # a count was lost: `python -m db check` finds it
                continue
            group = _group_of(found, _with_reference(keys[number], _LETTERS[(self._references or {})[case_id]]))
            group.add(case_id, 1)
            group.labelled.append(case_id)
        return sorted(found.values(), key=lambda one: one.first)

    def find(self, keys: Collection[str]) -> list[Group]:
        """Return the groups with these keys, without counting them where that is not needed."""
        if self._references is None:
            return [Group(key, numbers=[number_of(key)]) for key in dict.fromkeys(keys)]
        groups = {group.key: group for group in self.count()}
        return [groups[key] for key in dict.fromkeys(keys) if key in groups]

    def next_cases(self, groups: Sequence[Group], *, after: int = 0, most: int | None = None) -> list[tuple[int, str]]:
        """Return the next cases of some groups, or all, in the order in which they were added, with their keys."""
        key_of = {number: group.key for group in groups for number in group.numbers}
        labelled = sorted((one, group.key) for group in groups for one in group.labelled if one > after)
        parts = [((case_id, key_of[number]) for case_id, number in rows) for rows in self._rows(key_of, after, most)]
        return list(islice(heapq.merge(labelled, *parts), most))

    def _rows(self, numbers: Collection[int], after: int, most: int | None) -> Iterator[Iterable[tuple[int, int]]]:
        """Yield the next cases with these numbers, in the order of the cases, in one part or one for each number."""
        row = tables.ComparedCase
        query = select(row.case_id, self._kept).where(*self._unlabelled, row.case_id > after)
        query = query.order_by(row.case_id).limit(most)
        # Each number is a place in an index, in the order of the cases; very many would be as many statements.
        few = len(numbers) <= _FEW_NUMBERS
        among = (
            [self._kept == one for one in numbers] if few else [self._kept.in_(given_integers(self._session, numbers))]
        )
        for condition in among:
            yield [(case_id, number) for case_id, number in self._session.execute(query.where(condition))]

    def _groups(self) -> Select[int, str, int, int | None]:
        row, group = tables.ComparedCase, tables.ComparedGroup
        first = select(func.min(row.case_id)).where(*self._unlabelled, self._kept == group.number)
        return select(group.number, group.key, group.cases, first.scalar_subquery()).where(
            group.account_id == self._account_id, group.comparison == COLUMNS[self._comparison]
        )

    def _labelled(self) -> dict[int, int]:
        """Return the cases that are given a label, with the numbers of their keys, in ascending order."""
        if not self._references:
            return {}
        row = tables.ComparedCase
        mine = _conditions(self._session, self._account_id, self._without)
        given = row.case_id.in_(given_integers(self._session, self._references.keys()))
        query = select(row.case_id, self._kept).where(*mine, given).order_by(row.case_id)
        return {case_id: number for case_id, number in self._session.execute(query)}  # noqa: C416 (rows are no pairs)

    def _count_left_out(self) -> Counter[int]:
        row = tables.ComparedCase
        left_out = row.case_id.in_(given_integers(self._session, self._without))
        query = select(self._kept).where(row.account_id == self._account_id, left_out)
        return Counter(self._session.scalars(query)) if self._without else Counter()


def _conditions(session: Session, account_id: int, without: frozenset[int]) -> tuple[ColumnElement[bool], ...]:
    row = tables.ComparedCase
    mine = row.account_id == account_id
    return (mine, row.case_id.not_in(given_integers(session, without))) if without else (mine,)


def _group_of(found: dict[str, Group], key: str) -> Group:
    return found.setdefault(key, Group(key))


def _with_reference(key: str, reference: str) -> str:
    return f"{reference}|{key.partition('|')[2]}"
