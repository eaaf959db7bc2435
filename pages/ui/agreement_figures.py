"""The tables and matrices of agreement, made of readings; draws nothing."""

from collections.abc import Callable, Mapping, Sequence

from core.agreement import (
    LABELS,
    MOMENTS,
    LabelPair,
    Moment,
    agreement,
    consensus,
    intra_reader_pairs,
    label_counts,
    reader_couples,
    reader_model_pairs,
    reader_names,
    reader_reader_pairs,
    shared_cases,
)
from core.labels import Malignancy
from core.measures.rates import Rate
from core.results import Reading
from core.reveal_effect import changes, effect, habits
from pages.ui.agreement_values import Behind, Cell, Line, Matrix, Table
from pages.ui.panels import label_words

EVERYONE = "all readers"
_MOMENT_WORDS: dict[Moment, str] = {"before": "before the reveal", "after": "after the reveal"}


def reader_model(readings: Sequence[Reading]) -> Table:
    """Tell how far each reader agrees with the model before and after the reveal."""
    columns = tuple(f"{what} {_MOMENT_WORDS[moment]}" for moment in MOMENTS for what in ("same label", "kappa"))
    lines = [
        Line(name, tuple(c for moment in MOMENTS for c in _agreement(reader_model_pairs(found, moment))[:2]))
        for name, found in by_reader(readings)
    ]
    left_out = agreement(reader_model_pairs(readings, "before")).left_out
    return Table("reader", columns, tuple(lines), left_out)


def reader_reader(readings: Sequence[Reading]) -> Table:
    """Tell how far every two readers agree, then all of them, then readers with themselves."""
    kinds = ("same label", "kappa", "graded kappa")
    columns = tuple(f"{what} {_MOMENT_WORDS[moment]}" for moment in MOMENTS for what in kinds)
    couples = reader_couples(readings)
    lines = [
        Line(
            couple_words(couple),
            tuple(c for moment in MOMENTS for c in _agreement(reader_reader_pairs(readings, *couple, moment))),
        )
        for couple in couples
    ]
    if len(couples) > 1:
        several = consensus(readings, "before").readers
        lines.append(Line(f"{several} readers: unanimous, Fleiss' kappa", _everyone(readings)))
    for name, found in by_reader(readings, together=False):
        if again := intra_reader_pairs(found):
            lines.append(Line(f"{name} reading again", (*_agreement(again), *[Cell(None, 0, ())] * len(kinds))))
    left_out = sum(agreement(reader_reader_pairs(readings, *couple, "before")).left_out for couple in couples)
    return Table("readers", columns, tuple(lines), left_out)


def reveal(readings: Sequence[Reading], references: Mapping[int, Malignancy]) -> Table:
    """Tell what the reveal did to each reader's reads."""
    columns = (
        ("right before the reveal", "right after the reveal", "right → wrong", "wrong → right")
        if references
        else ("with the model before", "with the model after", "away from the model", "towards the model")
    )
    lines = tuple(Line(name, _reveal(found, references)) for name, found in by_reader(readings))
    return Table("reader", columns, lines, effect(readings, references).left_out)


def reading_habits(readings: Sequence[Reading]) -> Table:
    """Tell how long each reader's reads took, what the maps were worth, and what was amended."""
    columns = ("first read", "final read", "map useful", "label amended")
    return Table("reader", columns, tuple(Line(name, _habits(found)) for name, found in by_reader(readings)))


def model_matrices(readings: Sequence[Reading], name: str) -> list[Matrix]:
    """Give the matrices of one reader, or of all, against the model."""
    found = dict(by_reader(readings))[name]
    return [
        _matrix(f"{name} {_MOMENT_WORDS[moment]}", ("reader", "model"), reader_model_pairs(found, moment))
        for moment in MOMENTS
    ]


def couple_matrices(readings: Sequence[Reading], couple: tuple[str, str]) -> list[Matrix]:
    """Give the matrices of two readers."""
    return [
        _matrix(_MOMENT_WORDS[moment], couple, reader_reader_pairs(readings, *couple, moment)) for moment in MOMENTS
    ]


def by_reader(readings: Sequence[Reading], *, together: bool = True) -> list[tuple[str, list[Reading]]]:
    """Give each reader's readings, and before them all together where there are several readers."""
    names = reader_names(readings)
    found = [(name, [one for one in readings if one.reader == name]) for name in names]
    return [(EVERYONE, list(readings)), *found] if together and len(names) > 1 else found


def couple_words(couple: tuple[str, str]) -> str:
    """Name two readers."""
    return f"{couple[0]} and {couple[1]}"


def _agreement(pairs: Sequence[LabelPair]) -> tuple[Cell, ...]:
    """Give the rate, kappa and graded kappa of two raters; the pairs that differ come first among those behind."""
    found = agreement(pairs)
    assessed = sorted((pair for pair in pairs if pair.assessed), key=lambda pair: pair.agree)
    readings = tuple(one for pair in assessed for one in pair.readings)
    return tuple(Cell(value, found.rate.n, readings) for value in (found.rate, found.kappa, found.weighted_kappa))


def _everyone(readings: Sequence[Reading]) -> tuple[Cell, ...]:
    cells = []
    for moment in MOMENTS:
        found = consensus(readings, moment)
        behind = tuple(one for case in shared_cases(readings, moment).values() for one in case)
        cells += [Cell(value, found.unanimous.n, behind) for value in (found.unanimous, found.kappa)]
        cells.append(Cell(None, 0, ()))
    return tuple(cells)


def _reveal(readings: Sequence[Reading], references: Mapping[int, Malignancy]) -> tuple[Cell, ...]:
    found, measured = changes(readings, references), effect(readings, references)

    def cell(value: Rate, first: Callable[[bool, bool], bool], *, alone: bool) -> Cell:
        chosen = [one.reading for one in found if first(one.before, one.after)]
        others = [] if alone else [one.reading for one in found if not first(one.before, one.after)]
        return Cell(value, value.n, (*chosen, *others))

    return (
        cell(measured.before, lambda before, _: not before, alone=False),
        cell(measured.after, lambda _, after: not after, alone=False),
        cell(measured.lost, lambda before, after: before and not after, alone=True),
        cell(measured.gained, lambda before, after: after and not before, alone=True),
    )


def _habits(readings: Sequence[Reading]) -> tuple[Cell, ...]:
    found = habits(readings)
    slowest = tuple(sorted(readings, key=lambda one: -one.first.seconds))
    finals = sorted((one.final.seconds, place) for place, one in enumerate(readings) if one.final)
    amended = tuple(one for one in readings if one.final and one.standing and one.final.label != one.standing.label)
    voted = sorted((one for one in readings if one.vote), key=lambda one: one.vote == "yes")
    return (
        Cell(found.first_seconds, found.first_seconds.n, slowest),
        Cell(found.final_seconds, found.final_seconds.n, tuple(readings[place] for _, place in reversed(finals))),
        Cell(found.maps_useful, found.maps_useful.n, tuple(voted)),
        Cell(found.amended, found.amended.n, amended),
    )


def _matrix(name: str, raters: tuple[str, str], pairs: Sequence[LabelPair]) -> Matrix:
    counts = label_counts(pairs)
    rows, columns = (
        [place for place, label in enumerate(LABELS) if label or any(line[place] for line in table)]
        for table in (tuple(zip(*counts, strict=True)), counts)
    )
    words = [label_words(label) for label in LABELS]
    cells = [
        Behind(
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
