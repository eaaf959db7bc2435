"""The cases of which an account knows how they were read, counted by what is compared, and found again by it.

The counts are kept (`db.projection.comparisons`), so that their cost grows with the kinds of cases, not with the cases.
"""

import heapq
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import islice

from sqlalchemy import ColumnElement, Select, func, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from core.labels import Malignancy
from db import tables
from db.queries.given_values import given_integers
from db.values.agreement import ComparedReadings

COLUMNS: Mapping[ComparedReadings, str] = {
    ComparedReadings.MODEL: "by_model",
    ComparedReadings.READERS: "by_readers",
    ComparedReadings.REVEAL: "by_reveal",
    ComparedReadings.HABITS: "by_habits",
}
SIDES: Mapping[str, Malignancy] = {"b": "benign", "m": "malignant"}
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
            group = _group_of(found, _with_reference(keys[number], _LETTERS[(self._references or {})[case_id]]))
            group.add(case_id, 1)
            group.labelled.append(case_id)
        return sorted(found.values(), key=lambda one: one.first)

    def cases_of(self, group: Group, *, after: int = 0, most: int | None = None) -> list[int]:
        """Return the next cases of a group, or all of them, in the order in which they were added."""
        row = tables.ComparedCase
        query = select(row.case_id).where(*self._unlabelled, row.case_id > after).order_by(row.case_id).limit(most)
        # One number after the other: each is a place in an index, in the order of the cases.
        found = [self._session.scalars(query.where(self._kept == number)) for number in group.numbers]
        labelled = (case_id for case_id in group.labelled if case_id > after)
        return list(islice(heapq.merge(labelled, *found), most))

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
