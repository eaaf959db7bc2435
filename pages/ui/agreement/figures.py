"""Compute the tables and matrices of agreement from readings; this module draws nothing."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from core.labels import Malignancy
from core.reading.agreement import (
    LABELS,
    MOMENTS,
    LabelPair,
    Moment,
    count_labels,
    intra_reader_pairs,
    measure_agreement,
    measure_consensus,
    reader_couples,
    reader_model_pairs,
    reader_names,
    reader_reader_pairs,
    shared_cases,
)
from core.reading.reveal_effect import Seconds, find_changes, join_seconds, measure_effect, measure_habits, was_amended
from core.results import Reading
from core.statistics.rates import Median, Rate
from core.statistics.resampling import Interval
from pages.ui.formatting import label_words

EVERYONE = "all readers"
_MOMENT_WORDS: dict[Moment, str] = {"before": "before the reveal", "after": "after the reveal"}


@dataclass(frozen=True, slots=True)
class FigureReadings:
    """The readings behind a figure, and the words for it.

    The first ones, `foremost` of them, are what the figure is about, such as those that differ. With `slowest` they are
    listed by how long the read of this stage took instead.
    """

    words: str
    readings: tuple[Reading, ...]
    foremost: int = 0
    slowest: Literal["first", "final"] | None = None
    reader: str | None = None  # whose reads those are


@dataclass(frozen=True, slots=True)
class FigureCell:
    """One figure: a share, a kappa or a median; None where it does not apply."""

    value: Rate | Interval | Median | None
    n: int
    readings: tuple[Reading, ...]
    foremost: int = 0  # as in `FigureReadings`
    slowest: Literal["first", "final"] | None = None

    @property
    def text(self) -> str:
        """The figure with its interval; a share or a median also has its number of readings."""
        return "–" if self.value is None else figure_words(self.value)


@dataclass(frozen=True, slots=True)
class Line:
    """The figures of one reader, of two, or of all."""

    name: str
    cells: tuple[FigureCell, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """Figures of the same kinds, line by line."""

    of: str  # what the lines are
    columns: tuple[str, ...]
    lines: tuple[Line, ...]
    left_out: int = 0  # pairs or reads without a label on both sides, before the reveal

    def behind(self, line: int, column: int) -> FigureReadings:
        """Return the readings behind one figure."""
        cell = self.lines[line].cells[column]
        words = f"{self.lines[line].name}: {self.columns[column]} – {cell.text}"
        name = self.lines[line].name
        return FigureReadings(words, cell.readings, cell.foremost, cell.slowest, None if name == EVERYONE else name)


@dataclass(frozen=True, slots=True)
class Matrix:
    """The labels of two raters for the same cases; rows are the first rater's labels, columns the second's."""

    name: str
    raters: tuple[str, str]
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]
    cells: tuple[FigureReadings, ...]  # row by row


def figure_words(value: Rate | Interval | Median) -> str:
    """Write a figure with its interval, and n where it has one; a dash where there is not enough data."""
    if isinstance(value, Rate):
        if value.n == 0:
            return "–"
        return f"{value.value:.0%} [{value.low:.0%}, {value.high:.0%}], {value.hits} of {value.n}"
    if math.isnan(value.value):
        return "–"
    digits, unit = (0, " s") if isinstance(value, Median) else (2, "")
    n = f", n {value.n}" if isinstance(value, Median) else ""
    known = value.low is not None and value.high is not None
    bounds = f" [{value.low:.{digits}f}, {value.high:.{digits}f}]" if known else ", no interval"
    return f"{value.value:.{digits}f}{unit}{bounds}{n}"


def measure_reader_model(readings: Sequence[Reading]) -> Table:
    """Compute how far each reader agrees with the model, before and after the reveal."""
    columns = tuple(f"{what} {_MOMENT_WORDS[moment]}" for moment in MOMENTS for what in ("same label", "kappa"))
    lines = [
        Line(name, tuple(c for moment in MOMENTS for c in _agreement_cells(reader_model_pairs(own, moment))[:2]))
        for name, own in by_reader(readings)
    ]
    left_out = measure_agreement(reader_model_pairs(readings, "before")).left_out
    return Table("reader", columns, tuple(lines), left_out)


def measure_reader_reader(readings: Sequence[Reading]) -> Table:
    """Compute how far every two readers agree, then all of them, then readers with themselves."""
    kinds = ("same label", "kappa", "weighted kappa")
    columns = tuple(f"{what} {_MOMENT_WORDS[moment]}" for moment in MOMENTS for what in kinds)
    couples = reader_couples(readings)
    lines = [
        Line(
            couple_words(couple),
            tuple(c for moment in MOMENTS for c in _agreement_cells(reader_reader_pairs(readings, *couple, moment))),
        )
        for couple in couples
    ]
    if len(couples) > 1:
        several = measure_consensus(readings, "before").readers
        lines.append(Line(f"{several} readers: unanimous, Fleiss' kappa", _cells_of_everyone(readings)))
    for name, own in by_reader(readings, together=False):
        if again := intra_reader_pairs(own):
            lines.append(
                Line(f"{name}, repeat reads", (*_agreement_cells(again), *[FigureCell(None, 0, ())] * len(kinds)))
            )
    left_out = sum(measure_agreement(reader_reader_pairs(readings, *couple, "before")).left_out for couple in couples)
    return Table("readers", columns, tuple(lines), left_out)


def measure_reveal(readings: Sequence[Reading], references: Mapping[int, Malignancy]) -> Table:
    """Compute what the reveal changed in each reader's reads."""
    columns = (
        ("right before the reveal", "right after the reveal", "right → wrong", "wrong → right")
        if references
        else ("with the model before", "with the model after", "away from the model", "towards the model")
    )
    lines = tuple(Line(name, _reveal_cells(own, references)) for name, own in by_reader(readings))
    return Table("reader", columns, lines, measure_effect(readings, references).left_out)


def measure_reading_habits(readings: Sequence[Reading], seconds: Mapping[str, Seconds] | None = None) -> Table:
    """Compute how long each reader's reads took, how often maps were useful, and how often labels were amended.

    `seconds` are those of each reader, where the readings stand for others too.
    """
    columns = ("first read", "final read", "map useful", "label amended")
    times = {**seconds, EVERYONE: join_seconds(seconds.values())} if seconds else {}
    lines = (Line(name, _habit_cells(own, times.get(name))) for name, own in by_reader(readings))
    return Table("reader", columns, tuple(lines))


def model_matrices(readings: Sequence[Reading], name: str) -> list[Matrix]:
    """Count the labels of one reader, or of all, against the model's, before and after the reveal."""
    of_reader = dict(by_reader(readings))[name]
    return [
        _matrix(f"{name} {_MOMENT_WORDS[moment]}", ("reader", "model"), reader_model_pairs(of_reader, moment))
        for moment in MOMENTS
    ]


def couple_matrices(readings: Sequence[Reading], couple: tuple[str, str]) -> list[Matrix]:
    """Count the labels of two readers against each other, before and after the reveal."""
    return [
        _matrix(_MOMENT_WORDS[moment], couple, reader_reader_pairs(readings, *couple, moment)) for moment in MOMENTS
    ]


def by_reader(readings: Sequence[Reading], *, together: bool = True) -> list[tuple[str, list[Reading]]]:
    """Return each reader's readings by name, after those of all readers together where there are several."""
    names = reader_names(readings)
    each = [(name, [one for one in readings if one.reader == name]) for name in names]
    return [(EVERYONE, list(readings)), *each] if together and len(names) > 1 else each


def couple_words(couple: tuple[str, str]) -> str:
    """Write the names of two readers."""
    return f"{couple[0]} and {couple[1]}"


def _agreement_cells(pairs: Sequence[LabelPair]) -> tuple[FigureCell, ...]:
    """Return rate, kappa and weighted kappa of two raters; their readings begin with the pairs that differ."""
    measured = measure_agreement(pairs)
    assessed = sorted((pair for pair in pairs if pair.assessed), key=lambda pair: pair.agree)
    readings = tuple(one for pair in assessed for one in pair.readings)
    differing = sum(len(pair.readings) for pair in assessed if not pair.agree)
    return tuple(
        FigureCell(value, measured.rate.n, readings, differing)
        for value in (measured.rate, measured.kappa, measured.weighted_kappa)
    )


def _cells_of_everyone(readings: Sequence[Reading]) -> tuple[FigureCell, ...]:
    cells = []
    for moment in MOMENTS:
        measured = measure_consensus(readings, moment)
        behind = tuple(one for case in shared_cases(readings, moment).values() for one in case)
        cells += [FigureCell(value, measured.unanimous.n, behind) for value in (measured.unanimous, measured.kappa)]
        cells.append(FigureCell(None, 0, ()))
    return tuple(cells)


def _reveal_cells(readings: Sequence[Reading], references: Mapping[int, Malignancy]) -> tuple[FigureCell, ...]:
    changed, measured = find_changes(readings, references), measure_effect(readings, references)

    def cell(value: Rate, counts: Callable[[bool, bool], bool], *, alone: bool) -> FigureCell:
        first = [one.reading for one in changed if counts(one.before, one.after)]
        others = [] if alone else [one.reading for one in changed if not counts(one.before, one.after)]
        return FigureCell(value, value.n, (*first, *others), len(first))

    return (
        cell(measured.before, lambda before, _: not before, alone=False),
        cell(measured.after, lambda _, after: not after, alone=False),
        cell(measured.lost, lambda before, after: before and not after, alone=True),
        cell(measured.gained, lambda before, after: after and not before, alone=True),
    )


def _habit_cells(readings: Sequence[Reading], seconds: Seconds | None) -> tuple[FigureCell, ...]:
    measured = measure_habits(readings, seconds)
    slowest = tuple(sorted(readings, key=lambda one: -one.first.seconds))
    finals = sorted((one.final.seconds, place) for place, one in enumerate(readings) if one.final)
    amended = tuple(one for one in readings if was_amended(one))
    voted = sorted((one for one in readings if one.vote), key=lambda one: one.vote == "yes")
    return (
        FigureCell(measured.first_seconds, measured.first_seconds.n, slowest, slowest="first"),
        FigureCell(
            measured.final_seconds,
            measured.final_seconds.n,
            tuple(readings[place] for _, place in reversed(finals)),
            slowest="final",
        ),
        FigureCell(measured.maps_useful, measured.maps_useful.n, tuple(voted), sum(one.vote != "yes" for one in voted)),
        FigureCell(measured.amended, measured.amended.n, amended),
    )


def _matrix(name: str, raters: tuple[str, str], pairs: Sequence[LabelPair]) -> Matrix:
    counts = count_labels(pairs)
    rows, columns = (
        [place for place, label in enumerate(LABELS) if label or any(line[place] for line in table)]
        for table in (tuple(zip(*counts, strict=True)), counts)
    )
    words = [label_words(label) for label in LABELS]
    cells = [
        FigureReadings(
            f"{name}: {raters[0]} {words[row]}, {raters[1]} {words[column]} ({counts[row][column]})",
            tuple(one for pair in pairs if pair.labels == (LABELS[row], LABELS[column]) for one in pair.readings),
        )
        for row in rows
        for column in columns
    ]
    return Matrix(
        name=name,
        raters=raters,
        rows=tuple(words[row] for row in rows),
        columns=tuple(words[column] for column in columns),
        counts=tuple(tuple(counts[row][column] for column in columns) for row in rows),
        cells=tuple(cells),
    )
