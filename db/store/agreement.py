"""The readings from which agreement is calculated, of the cases that one reader has finished.

Figures need only the cases that were read alike, counted by the database, and the readings of one of each. The cases
behind a figure are found again by the same keys, one page at a time.
"""

import heapq
from array import array
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Row, Select, and_, func, or_, select
from sqlalchemy.orm import Session

from core.identifiers import fold_identifier
from core.labels import Malignancy
from core.results import Reading, ReadOpinion
from db import tables
from db.projection.write import project_touched
from db.queries.compared_cases import SIDES, ComparedCases, select_cases
from db.queries.comparison_keys import RESEARCHERS
from db.queries.counted_readings import is_reading_row, shown_version, timed_readings
from db.queries.exported_rows import lasting_key
from db.queries.given_values import given_integers, given_texts
from db.queries.permissions import require_permission
from db.queries.reader_knowledge import cases_with_undo
from db.queries.reads import shown_label
from db.values.accounts import Permission, Role
from db.values.agreement import (
    AlikeCases,
    ComparedReadings,
    MapVotes,
    ReadCase,
    ReadCases,
    ReadingFilter,
    SlowReading,
    SlowReadings,
    TimedStage,
)
from db.values.exports import pseudonym
from db.values.reading import Stage, Vote

PAGE = 50  # cases
_AT_ONCE = 500  # cases whose readings are loaded together
_ROWS = 5000  # fetched at a time
_VOTES: dict[Vote, Literal["yes", "no", "unsure"]] = {Vote.YES: "yes", Vote.NO: "no", Vote.UNSURE: "unsure"}

_Row = Row[tables.Read, tables.Case, str, str | None]
_Place = tuple[str, int, str]  # of a case on its page: its pseudonym or nothing, id and key


@dataclass(frozen=True, slots=True)
class _Known:
    """The cases of which an account may know the readings; with `key`, a researcher's, without names."""

    account_id: int  # by which they are counted
    without: frozenset[int]  # cases of which it may not know them as long as it can withdraw its own
    cases: Select[int]
    key: str | None

    def case(self, accession: str) -> str:
        """Return the name of a case for this account."""
        return accession if self.key is None else f"case {pseudonym(f'case {accession}', self.key)}"

    def reader(self, name: str) -> str:
        """Return the name of a reader for this account."""
        return name if self.key is None else f"reader {pseudonym(f'reader {name}', self.key)}"


def finished_readings(session: Session, account_id: int) -> list[Reading]:
    """Return every reader's readings of the cases of which this reader may know them, by case and reader.

    These are the cases that this reader has finished in routine reading; see `db.queries.reader_knowledge`. An
    amendment updates a reading and adds none; each place in a study adds one, except where the model was shown first.
    Informed reads are left out. A researcher, who reads no cases, gets the cases that any reader has finished, with
    pseudonyms for readers and cases.

    Raises:
        NotAllowedError: If this account may not see how readers agree.
    """
    known = _known(session, account_id)
    readings = list(_readings(session, known, known.cases))
    # Sorted by pseudonym: the order of the rows would reveal when a case was added.
    if known.key is None:
        return readings
    return sorted(readings, key=lambda one: (one.accession, one.reader, one.iteration))


def alike_readings(
    session: Session, account_id: int, comparison: ComparedReadings, references: Mapping[int, Malignancy] | None = None
) -> list[AlikeCases]:
    """Count together the cases of `finished_readings` that are alike in what is compared.

    In `ComparedReadings.REVEAL` they are alike in their reference label too: what was adjudicated here, unless
    `references` has other labels by case.

    Raises:
        NotAllowedError: If this account may not see how readers agree.
    """
    known = _known(session, account_id)
    groups = _compared(session, known, comparison, references).count()
    readings = _by_case(session, known, [group.first for group in groups])
    found = []
    for group in groups:
        letters = group.key.partition("|")[0]
        found.append(
            AlikeCases(
                group.key,
                tuple(replace(one, copies=group.cases) for one in readings[group.first]),
                SIDES.get(letters.removeprefix("c")),
                letters.startswith("c"),
            )
        )
    return found


def cases_behind(
    session: Session,
    account_id: int,
    comparison: ComparedReadings,
    keys: Sequence[Collection[str]],
    *,
    references: Mapping[int, Malignancy] | None = None,
    after: ReadCase | None = None,
    size: int = PAGE,
) -> ReadCases:
    """Return a page of the cases with these keys of `alike_readings`: all of the first set, then of the next.

    Within a set, a reader gets them in the order in which they were added; a researcher, to whom this would reveal
    which case is which, in the order of their pseudonyms.

    Raises:
        NotAllowedError: If this account may not see how readers agree.
    """
    known = _known(session, account_id)
    compared = _compared(session, known, comparison, references)
    found: list[_Place] = []
    reached = after is None
    for wanted in keys:
        if len(found) > size or not wanted or not (reached or (after and after.key in wanted)):
            continue
        beyond, reached = None if reached else after, True
        groups, many = compared.find(wanted), size + 1 - len(found)
        if known.key is None:
            cases = compared.next_cases(groups, after=beyond.case_id if beyond else 0, most=many)
            found += [("", case_id, key) for case_id, key in cases]
        else:
            found += _next_nameless(session, known, compared.next_cases(groups), beyond, many)
    readings = _by_case(session, known, [case_id for _, case_id, _ in found[:size]])
    page = tuple(ReadCase(case_id, key, tuple(readings[case_id]), place) for place, case_id, key in found[:size])
    return ReadCases(page, page[-1] if len(found) > size else None)


def reading_seconds(
    session: Session, account_id: int, wanted: ReadingFilter
) -> tuple[Mapping[str, NDArray[np.float64]], Mapping[str, NDArray[np.float64]]]:
    """Return how many seconds the first and the final reads of each reader took, of the readings that are wanted.

    Raises:
        NotAllowedError: If this account may not see how readers agree.
    """
    known = _known(session, account_id)
    return _seconds(session, known, "first", wanted), _seconds(session, known, "final", wanted)


def slowest_readings(
    session: Session,
    account_id: int,
    stage: TimedStage,
    wanted: ReadingFilter,
    *,
    after: SlowReading | None = None,
    size: int = PAGE,
) -> SlowReadings:
    """Return a page of readings, those whose read of a stage took longest first.

    Raises:
        NotAllowedError: If this account may not see how readers agree.
    """
    known = _known(session, account_id)
    timed = timed_readings(known.cases, stage, _with_true_name(session, known, wanted))
    query = select(timed.c.case_id, timed.c.reader, timed.c.iteration, timed.c.first_id, timed.c.microseconds)
    if after is not None:
        same = and_(timed.c.microseconds == after.microseconds, timed.c.first_id > after.first_id)
        query = query.where(or_(timed.c.microseconds < after.microseconds, same))
    query = query.order_by(timed.c.microseconds.desc(), timed.c.first_id).limit(size + 1)
    rows = session.execute(query).all()
    readings = {
        (case_id, one.reader, one.iteration): one
        for case_id, of_case in _by_case(session, known, {row.case_id for row in rows}).items()
        for one in of_case
    }
    page = [
        SlowReading(readings[row.case_id, known.reader(row.reader), row.iteration], row.microseconds, row.first_id)
        for row in rows[:size]
    ]
    return SlowReadings(tuple(page), page[-1] if len(rows) > size else None)


def has_readings(session: Session, account_id: int) -> bool:
    """Return whether this account may know any reading.

    Raises:
        NotAllowedError: If this account may not see how readers agree.
    """
    return session.scalar(_known(session, account_id).cases.limit(1)) is not None


def map_votes(session: Session, account_id: int, model_version: str) -> MapVotes:
    """Count the votes on the heat maps of a model version in `finished_readings`; those on demo cases are left out.

    Raises:
        NotAllowedError: If this account may not see how readers agree.
    """
    counts: Counter[str] = Counter()
    for alike in alike_readings(session, account_id, ComparedReadings.HABITS):
        for one in alike.readings:
            if one.vote and one.model_version == model_version and not one.demonstration:
                counts[one.vote] += one.copies
    return MapVotes(counts["yes"], counts["no"], counts["unsure"])


def newest_event(session: Session) -> int:
    """Return the number of the newest event: nothing that is counted here changes without one."""
    return session.scalar(select(func.max(tables.AuditEvent.id))) or 0


def cases_named(session: Session, account_id: int, names: Collection[str]) -> Mapping[int, str]:
    """Return the cases with these names, however they are spelt, of which this account knows the readings: id and name.

    The names are folded accessions; a researcher's are folded pseudonyms.

    Raises:
        NotAllowedError: If this account may not see how readers agree.
    """
    known, case, number = _known(session, account_id), tables.Case, tables.CaseNumber
    if known.key is None:
        query = select(number.folded, number.case_id).where(number.folded.in_(given_texts(session, names)))
        of_names = {case_id: name for name, case_id in session.execute(query)}
        given = known.cases.where(tables.ComparedCase.case_id.in_(given_integers(session, of_names.keys())))
        return {case_id: of_names[case_id] for case_id in session.scalars(given)}
    every = select(case.id, case.accession).where(case.id.in_(known.cases)).execution_options(yield_per=_ROWS)
    folded = ((case_id, fold_identifier(known.case(accession))) for case_id, accession in session.execute(every))
    return {case_id: name for case_id, name in folded if name in names}


def _known(session: Session, account_id: int) -> _Known:
    # In a session that sees one state: what is withheld and what is counted must be of the same moment.
    require_permission(session, account_id, Permission.SEE_AGREEMENT)
    project_touched(session)
    if session.get_one(tables.Account, account_id).role is Role.RESEARCHER:
        return _Known(RESEARCHERS, frozenset(), select_cases(session, RESEARCHERS), lasting_key(session))
    without = frozenset(cases_with_undo(session, account_id))
    return _Known(account_id, without, select_cases(session, account_id, without), None)


def _compared(
    session: Session, known: _Known, comparison: ComparedReadings, references: Mapping[int, Malignancy] | None
) -> ComparedCases:
    given = references if comparison is ComparedReadings.REVEAL else None
    return ComparedCases(session, known.account_id, comparison, without=known.without, references=given)


def _next_nameless(
    session: Session, known: _Known, found: Sequence[tuple[int, str]], after: ReadCase | None, many: int
) -> list[_Place]:
    """Return the next of some cases, in the order of their pseudonyms, which no index knows."""
    reached = ("", 0) if after is None else (after.place, after.case_id)
    key_of, case = dict(found), tables.Case
    query = select(case.id, case.accession).where(case.id.in_(given_integers(session, key_of.keys())))
    rows = session.execute(query.execution_options(yield_per=_ROWS))
    named = ((known.case(accession), case_id, key_of[case_id]) for case_id, accession in rows)
    return heapq.nsmallest(many, (one for one in named if one[:2] > reached))


def _seconds(
    session: Session, known: _Known, stage: TimedStage, wanted: ReadingFilter
) -> dict[str, NDArray[np.float64]]:
    timed = timed_readings(known.cases, stage, _with_true_name(session, known, wanted))
    query = select(timed.c.reader, timed.c.microseconds).execution_options(yield_per=_ROWS)
    # Eight bytes for each reading: a median needs them all.
    found: dict[str, array[int]] = defaultdict(lambda: array("q"))
    for reader, microseconds in session.execute(query):
        found[reader].append(microseconds)
    return {known.reader(reader): np.frombuffer(each, np.int64) / 10**6 for reader, each in found.items()}


def _with_true_name(session: Session, known: _Known, wanted: ReadingFilter) -> ReadingFilter:
    if known.key is None or wanted.reader is None:
        return wanted
    names = session.scalars(select(tables.Account.name))
    return replace(wanted, reader=next((name for name in names if known.reader(name) == wanted.reader), ""))


def _by_case(session: Session, known: _Known, cases: Collection[int]) -> Mapping[int, list[Reading]]:
    """Return the readings of some of the cases of which an account may know them, by case."""
    found: dict[int, list[Reading]] = defaultdict(list)
    ordered = sorted(cases)
    for start in range(0, len(ordered), _AT_ONCE):
        for one in _readings(session, known, given_integers(session, ordered[start : start + _AT_ONCE])):
            found[one.case_id].append(one)
    return found


def _readings(session: Session, known: _Known, cases: Select[int]) -> Iterator[Reading]:
    """Yield the readings of cases, which the caller has asked of `known`, by case and reader."""
    last: Reading | None = None
    reader: tuple[int, int] | None = None
    for row in session.execute(_rows_of(cases)):
        read = row[0]
        if read.stage is Stage.FIRST:
            if last is not None:
                yield last
            same = last is not None and reader == (read.case_id, read.account_id)
            last = _start_reading(row, known, last.iteration + 1 if same and last is not None else 1)
        elif last is not None and read.stage is Stage.WITHDRAWN:
            last = replace(last, final=None, standing=None, vote=None, model_version=None)
        elif last is not None:
            last = _add_final(last, row)
        reader = (read.case_id, read.account_id)
    if last is not None:
        yield last


def _rows_of(cases: Select[int]) -> Select[tables.Read, tables.Case, str, str | None]:
    read = tables.Read
    return (
        select(read, tables.Case, tables.Account.name, shown_version(read))
        .join(tables.Account, tables.Account.id == read.account_id)
        .join(tables.Case, tables.Case.id == read.case_id)
        # All accounts are listed, so that the index on reader and case is used for the other readers too.
        .where(read.account_id.in_(select(tables.Account.id)), read.case_id.in_(cases), is_reading_row(read))
        .order_by(read.case_id, tables.Account.name, func.coalesce(read.place_id, 0), read.id)
    )


def _start_reading(row: _Row, known: _Known, iteration: int) -> Reading:
    read, case, reader, _ = row
    return Reading(
        case_id=case.id,
        accession=known.case(case.accession),
        magnification=case.magnification,
        demonstration=case.demonstration,
        reader=known.reader(reader),
        first=_saved_read(read),
        iteration=iteration,
    )


def _add_final(reading: Reading, row: _Row) -> Reading:
    read, _, _, version = row
    opinion = _saved_read(read)
    return replace(
        reading,
        final=reading.final or opinion,
        standing=opinion,
        vote=_VOTES[read.vote] if read.vote else None,
        model_version=version,
    )


def _saved_read(read: tables.Read) -> ReadOpinion:
    seconds = (read.saved_at - read.opened_at).total_seconds()
    return ReadOpinion(read.label, read.confidence, seconds, shown_label(read), withheld=read.shown_scope == "out")
