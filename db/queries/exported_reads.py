"""The reads of an export: collected on the disk, numbered, ordered and, without names, given each other's times."""

from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import Session

from core.list_on_disk import ListOnDisk
from db import tables
from db.queries.exported_rows import (
    images_of,
    places_of,
    references_of,
    replacements_of,
    reveals_of,
    shown_of,
    withheld_of,
)
from db.queries.reader_knowledge import known_among
from db.queries.reads import AT_ONCE, read_blocks, read_ids
from db.values.exports import ExportedCase, ExportedRead, draw_sources, shuffled_numbers, with_times_of
from db.values.reading import Read, Stage

_NO_POSITION = -1


@dataclass(frozen=True, slots=True)
class Disclosure:
    """What of the reads and cases an export tells.

    `named` leaves names and typed words, `timed` the times of each read and its place in the order of its reader. A
    reader in `blind` gets only the reference labels that they may know.
    """

    named: bool
    timed: bool
    blind: int | None


@dataclass(frozen=True, slots=True)
class CollectedReads:
    """The reads of an export and their cases, in their order."""

    cases: Sequence[ExportedCase]
    reads: Sequence[ExportedRead]


def collect_reads(
    session: Session, conditions: Sequence[ColumnElement[bool]], told: Disclosure, key: str
) -> CollectedReads:
    """Collect the reads that meet the conditions, with numbers and an order that depend on `key`.

    The rows come a block at a time and go to the disk. In memory are a few numbers for each read and each case.
    """
    ids, keys = read_ids(session, *conditions), _Keys()
    stored = ListOnDisk(keys.note(one for block in read_blocks(session, ids) for one in read_exports(session, block)))
    cases = _number_cases(session, keys.cases, key)
    numbers = _Numbers(shuffled_numbers(keys.readers, key), cases)
    order = keys.order(numbers, by_position=told.timed)
    sources = None if told.timed else draw_sources(ids, keys.kinds, key)
    return CollectedReads(
        ListOnDisk(_exported_cases(session, cases, told)),
        ListOnDisk(_finish(stored, order, sources, numbers, told)),
    )


def read_exports(session: Session, reads: Sequence[Read]) -> list[ExportedRead]:
    """Add to some reads what was on the screen and their later fate; not numbered yet."""
    ids = [read.id for read in reads]
    opinions, reveals, replaced = shown_of(session, ids), reveals_of(session, ids), replacements_of(session, ids)
    withheld, places = withheld_of(session, ids), places_of(session, reads)
    return [
        ExportedRead(
            read=read,
            reader_number=0,
            case_number=0,
            place=places[read.place_id] if read.place_id is not None else None,
            shown=opinions.get(read.id),
            revealed_at=reveals.get(read.id),
            superseded=read.id in replaced,
            withdrawn=replaced.get(read.id) is Stage.WITHDRAWN,
            withheld_by=withheld.get(read.id),
        )
        for read in reads
    ]


def without_words(read: Read) -> Read:
    """Return a read without any typed text."""
    opinion = read.opinion
    regions = tuple(replace(region, note="") for region in opinion.regions)
    return replace(read, opinion=replace(opinion, note="", regions=regions))


@dataclass(frozen=True, slots=True)
class _Numbers:
    """The numbers of one export: of readers by name, of cases by id."""

    readers: Mapping[str, int]
    cases: Mapping[int, int]


def _numbers_of_each() -> "array[int]":
    return array("q")


@dataclass(frozen=True, slots=True)
class _Keys:
    """What decides the order of the reads, and which may exchange their times: a few numbers for each read."""

    readers: dict[str, int] = field(default_factory=dict)  # their places, by name
    kinds: "array[int]" = field(default_factory=_numbers_of_each)
    cases: "array[int]" = field(default_factory=_numbers_of_each)
    _readers: "array[int]" = field(default_factory=_numbers_of_each)
    _rounds: "array[int]" = field(default_factory=_numbers_of_each)
    _positions: "array[int]" = field(default_factory=_numbers_of_each)
    _kinds: dict[tuple[object, ...], int] = field(default_factory=dict)

    def note(self, reads: Iterable[ExportedRead]) -> Iterator[ExportedRead]:
        """Pass reads on, and note their keys."""
        for one in reads:
            read, place = one.read, one.place
            where = (place.arm, place.round) if place else None
            kind = (read.reader, read.stage, where, one.revealed_at is None, read.edit_seconds is None)
            self.kinds.append(self._kinds.setdefault(kind, len(self._kinds)))
            self.cases.append(read.case_id)
            self._readers.append(self.readers.setdefault(read.reader, len(self.readers)))
            self._rounds.append(place.round if place else 0)
            self._positions.append(_NO_POSITION if place is None or place.position is None else place.position)
            yield one

    def order(self, numbers: _Numbers, *, by_position: bool) -> NDArray[np.intp]:
        """Return the places of the reads in the order of readers, rounds, positions or cases, and entry."""
        readers = np.array([numbers.readers[name] for name in self.readers], np.int64)[np.array(self._readers, np.intp)]
        # Case numbers are drawn anew for every export, and so is the order that they give.
        within = np.array([numbers.cases[case] for case in self.cases], np.int64)
        if by_position:
            positions = np.array(self._positions, np.int64)
            within = np.where(positions == _NO_POSITION, within, positions)
        return np.lexsort((within, np.array(self._rounds, np.int64), readers))


def _number_cases(session: Session, of_reads: Sequence[int], key: str) -> Mapping[int, int]:
    """Return the numbers of cases by id, in the order of the numbers."""
    case, ids, accessions = tables.Case, sorted(set(of_reads)), dict[int, str]()
    for start in range(0, len(ids), AT_ONCE):
        query = select(case.id, case.accession).where(case.id.in_(ids[start : start + AT_ONCE]))
        accessions.update((number, accession) for number, accession in session.execute(query))
    numbers = shuffled_numbers(accessions.values(), key)
    return dict(sorted(((case_id, numbers[name]) for case_id, name in accessions.items()), key=lambda one: one[1]))


def _exported_cases(session: Session, numbers: Mapping[int, int], told: Disclosure) -> Iterator[ExportedCase]:
    ids = list(numbers)
    for start in range(0, len(ids), AT_ONCE):
        block = ids[start : start + AT_ONCE]
        images = images_of(session, block)
        known = block if told.blind is None else known_among(session, block, told.blind)
        references = references_of(session, known)
        rows = {row.id: row for row in session.scalars(select(tables.Case).where(tables.Case.id.in_(block)))}
        for row in (rows[case_id] for case_id in block):
            number, shown = numbers[row.id], images.get(row.id, ())
            if not told.named:
                shown = tuple(replace(image.without_microscope(), file_sha256="") for image in shown)
            accession = row.accession if told.named else f"case {number}"
            yield ExportedCase(number, accession, row.magnification, row.demonstration, shown, references.get(row.id))


def _finish(
    stored: Sequence[ExportedRead],
    order: Iterable[int],
    sources: Sequence[int] | None,
    numbers: _Numbers,
    told: Disclosure,
) -> Iterator[ExportedRead]:
    for place in order:
        one = _with_numbers(stored[place], numbers, named=told.named)
        yield one if sources is None else _without_position(with_times_of(one, stored[sources[place]]))


def _with_numbers(one: ExportedRead, numbers: _Numbers, *, named: bool) -> ExportedRead:
    reader, case = numbers.readers[one.read.reader], numbers.cases[one.read.case_id]
    read = one.read if named else replace(without_words(one.read), reader=f"reader {reader}", case_id=case)
    return replace(one, read=read, reader_number=reader, case_number=case)


def _without_position(one: ExportedRead) -> ExportedRead:
    return replace(one, place=replace(one.place, position=None)) if one.place else one
