"""What the page counts: cases that were read alike, by the readings of one of each, and the cases behind a figure."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

import streamlit as st

from core.labels import Malignancy
from core.reading.reveal_effect import Seconds
from core.results import Reading
from db import store
from db.values.agreement import AlikeCases, ComparedReadings, ReadCase, ReadingFilter, SlowReading
from pages.ui import resources
from pages.ui.agreement.figures import FigureReadings

_KEPT = "agreement-counted"  # key of the session state


@dataclass(frozen=True, slots=True)
class Counted:
    """Cases that are alike in what is compared, with the readings that are wanted of one of each."""

    comparison: ComparedReadings
    wanted: ReadingFilter
    alike: tuple[AlikeCases, ...]
    given: Mapping[int, Malignancy] | None = None  # reference labels of a file

    @property
    def readings(self) -> list[Reading]:
        """The readings of all of them, by case."""
        return [reading for one in self.alike for reading in one.readings]

    @property
    def references(self) -> dict[int, Malignancy]:
        """The reference labels of the cases that stand for others."""
        return {one.readings[0].case_id: one.reference for one in self.alike if one.reference is not None}

    def count_references(self, *, by_consensus: bool = False) -> int:
        """Count the cases with a reference label, or those that have it by consensus."""
        return sum(
            one.readings[0].copies
            for one in self.alike
            if one.reference is not None and (one.by_consensus or not by_consensus)
        )

    def without_references(self) -> "Counted":
        """Return the same without reference labels."""
        return replace(self, alike=tuple(replace(one, reference=None) for one in self.alike))

    def narrow(self, wanted: ReadingFilter) -> "Counted":
        """Return those of the readings that a filter wants."""
        kept = (replace(one, readings=tuple(each for each in one.readings if wanted.wants(each))) for one in self.alike)
        return replace(self, wanted=wanted, alike=tuple(one for one in kept if one.readings))


@dataclass(frozen=True, slots=True)
class _Kept:
    """What was counted last in this session, and for which question at which event."""

    asked: tuple[int, ComparedReadings, Mapping[int, Malignancy] | None, int]
    counted: Counted


@dataclass(frozen=True, slots=True)
class ShownReading:
    """A reading behind a figure, with the reference label of its case."""

    reading: Reading
    reference: Malignancy | None = None


@dataclass(frozen=True, slots=True)
class ShownReadings:
    """A page of the readings behind a figure, and where it ends if others follow."""

    rows: tuple[ShownReading, ...]
    last: ReadCase | SlowReading | None


def count_alike(
    comparison: ComparedReadings, wanted: ReadingFilter, references: Mapping[int, Malignancy] | None = None
) -> Counted:
    """Count the cases that this account has finished, with the reference labels of a file if there is one.

    Until something is written, a click need not count them again.
    """
    account = resources.account().id
    with resources.sessions().read() as session:
        asked = (account, comparison, references, store.agreement.newest_event(session))
        kept = st.session_state.get(_KEPT)
        if isinstance(kept, _Kept) and kept.asked == asked:
            return kept.counted.narrow(wanted)
        alike = store.agreement.alike_readings(session, account, comparison, references)
    counted = Counted(comparison, ReadingFilter(), tuple(alike), references)
    st.session_state[_KEPT] = _Kept(asked, counted)
    return counted.narrow(wanted)


def measure_seconds(wanted: ReadingFilter) -> dict[str, Seconds]:
    """Return how long the reads of each reader took."""
    account = resources.account().id
    with resources.sessions().read() as session:
        first, final = store.agreement.reading_seconds(session, account, wanted)
    return {name: Seconds(each, final.get(name, each[:0])) for name, each in first.items()}


def find_readings(chosen: FigureReadings, counted: Counted, after: ReadCase | SlowReading | None) -> ShownReadings:
    """Return a page of the readings behind a figure."""
    account = resources.account().id
    with resources.sessions().read() as session:
        if chosen.slowest is not None:
            wanted = replace(counted.wanted, reader=chosen.reader)
            end = after if isinstance(after, SlowReading) else None
            slow = store.agreement.slowest_readings(session, account, chosen.slowest, wanted, after=end)
            return ShownReadings(tuple(ShownReading(one.reading) for one in slow.readings), slow.last)
        page = store.agreement.cases_behind(
            session,
            account,
            counted.comparison,
            _keys(chosen, counted),
            references=counted.given,
            after=after if isinstance(after, ReadCase) else None,
        )
    by_key = {one.key: one for one in counted.alike}
    behind = _readings_by_key(chosen, counted)
    rows = []
    for case in page.cases:
        own = {(one.reader, one.iteration): one for one in case.readings}
        reference = by_key[case.key].reference
        rows += [ShownReading(own[which], reference) for which in behind[case.key]]
    return ShownReadings(tuple(rows), page.last)


def _keys(chosen: FigureReadings, counted: Counted) -> list[Collection[str]]:
    """Return the keys of the cases behind a figure, those that it is about first."""
    key_of = _key_by_case(counted)
    first = {key_of[one.case_id] for one in chosen.readings[: chosen.foremost]}
    return [first, {key_of[one.case_id] for one in chosen.readings} - first]


def _readings_by_key(chosen: FigureReadings, counted: Counted) -> dict[str, list[tuple[str, int]]]:
    """Return which readings of cases with a key are behind a figure: reader and iteration, in its order."""
    key_of = _key_by_case(counted)
    found: dict[str, list[tuple[str, int]]] = {}
    for one in chosen.readings:
        which, of_key = (one.reader, one.iteration), found.setdefault(key_of[one.case_id], [])
        if which not in of_key:
            of_key.append(which)
    return found


def _key_by_case(counted: Counted) -> dict[int, str]:
    return {one.readings[0].case_id: one.key for one in counted.alike}
