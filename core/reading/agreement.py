"""Measure how far readers agree with the model, with each other and with themselves.

Rates come first and kappa second. Rates have Wilson intervals; kappas are resampled by case, because the reads of
one case are not independent. Cases that were read alike are drawn together, so the readings of one of them, with the
number of copies, give the same figures as all of them.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from core.labels import Malignancy
from core.results import Reading, ReadOpinion
from core.statistics.confusion_matrices import kappa
from core.statistics.rates import Rate, fleiss_kappa, weighted_kappa, wilson_interval
from core.statistics.resampling import Interval, Measure, bca_intervals

Moment = Literal["before", "after"]  # the reveal
Label = Malignancy | None  # None: cannot be assessed

MOMENTS: tuple[Moment, Moment] = ("before", "after")
LABELS: tuple[Label, ...] = ("benign", "malignant", None)
_SIDES: tuple[Malignancy, Malignancy] = ("benign", "malignant")
_GRADES = 10  # from certainly benign (0) to certainly malignant (9)


@dataclass(frozen=True, slots=True)
class LabelPair:
    """The labels of one case from two raters, and the readings behind them; the model has no grade."""

    case_id: int
    labels: tuple[Label, Label]
    grades: tuple[int, int] | None = None
    readings: tuple[Reading, ...] = ()

    @property
    def copies(self) -> int:
        """The number of cases that it stands for."""
        return self.readings[0].copies if self.readings else 1

    @property
    def assessed(self) -> bool:
        """Whether both gave a label."""
        return None not in self.labels

    @property
    def agree(self) -> bool:
        """Whether both gave the same label."""
        return self.assessed and self.labels[0] == self.labels[1]


@dataclass(frozen=True, slots=True)
class Agreement:
    """How often two raters give a case the same label; pairs in which one could not assess it are left out."""

    rate: Rate
    kappa: Interval  # Cohen, Educ. Psychol. Meas. 1960
    weighted_kappa: Interval | None  # of the ten grades from certainly benign to certainly malignant
    left_out: int


@dataclass(frozen=True, slots=True)
class ReaderConsensus:
    """How far several readers agree: the rate of unanimous cases, and Fleiss' kappa."""

    readers: int
    unanimous: Rate
    kappa: Interval


def reader_model_pairs(readings: Iterable[Reading], moment: Moment) -> list[LabelPair]:
    """Pair the labels of first iterations with the model's labels that the readers saw."""
    standing_reads = [(one, one.standing) for one in readings if one.iteration == 1]
    return [
        LabelPair(one.case_id, ((one.first if moment == "before" else standing).label, standing.model), None, (one,))
        for one, standing in standing_reads
        if standing is not None and standing.model is not None
    ]


def find_without_opinion(readings: Iterable[Reading]) -> list[Reading]:
    """Return the first iterations whose reader was shown that the model gives no opinion, out of its scope."""
    return [one for one in readings if one.iteration == 1 and one.standing is not None and one.standing.withheld]


def count_without_opinion(readings: Iterable[Reading]) -> int:
    """Count the cases of which a reader was shown that the model gives no opinion."""
    return count_cases(find_without_opinion(readings))


def count_readings(readings: Iterable[Reading]) -> int:
    """Count readings, those that they stand for included."""
    return sum(one.copies for one in readings)


def count_cases(readings: Iterable[Reading]) -> int:
    """Count the cases of readings, those that they stand for included."""
    return sum({one.case_id: one.copies for one in readings}.values())


def reader_reader_pairs(readings: Iterable[Reading], one: str, other: str, moment: Moment) -> list[LabelPair]:
    """Pair the labels that two readers gave the same case, each in the first iteration."""
    by_case: Mapping[int, dict[str, Reading]] = defaultdict(dict)
    for reading in readings:
        if reading.iteration == 1 and reading.reader in (one, other):
            by_case[reading.case_id][reading.reader] = reading
    both = [(case[one], case[other]) for case in by_case.values() if len(case) == 2]
    return [pair for first, second in both if (pair := _pair(first, second, moment)) is not None]


def intra_reader_pairs(readings: Iterable[Reading]) -> list[LabelPair]:
    """Pair the blind first reads of readers who read a case again, each with the previous one."""
    by_reader: Mapping[tuple[int, str], list[Reading]] = defaultdict(list)
    for reading in sorted(readings, key=lambda reading: reading.iteration):
        by_reader[reading.case_id, reading.reader].append(reading)
    repeats = [both for iterations in by_reader.values() for both in pairwise(iterations)]
    return [pair for one, other in repeats if (pair := _pair(one, other, "before")) is not None]


def reader_names(readings: Iterable[Reading]) -> list[str]:
    """Return the names of the readers, sorted."""
    return sorted({reading.reader for reading in readings})


def reader_couples(readings: Sequence[Reading]) -> list[tuple[str, str]]:
    """Return the names of every two readers who have a case in common, sorted."""
    cases: Mapping[str, set[int]] = defaultdict(set)
    for reading in readings:
        cases[reading.reader].add(reading.case_id)
    return [(one, other) for one, other in combinations(sorted(cases), 2) if cases[one] & cases[other]]


def measure_agreement(pairs: Sequence[LabelPair]) -> Agreement:
    """Measure how often two raters agree, and how far beyond chance."""
    assessed = [pair for pair in pairs if pair.assessed]
    cells = [_SIDES.index(one) * 2 + _SIDES.index(other) for one, other in _labels(assessed)]
    graded = [pair for pair in assessed if pair.grades is not None]
    grades = [pair.grades[0] * _GRADES + pair.grades[1] for pair in graded if pair.grades is not None]
    return Agreement(
        rate=wilson_interval(_count(pair for pair in assessed if pair.agree), _count(assessed)),
        kappa=_kappa_by_case(assessed, cells, 2, weighted=False),
        weighted_kappa=_kappa_by_case(graded, grades, _GRADES, weighted=True) if graded else None,
        left_out=_count(pairs) - _count(assessed),
    )


def count_labels(pairs: Iterable[LabelPair]) -> tuple[tuple[int, ...], ...]:
    """Count pairs by the label of the first rater (row) and the second (column), in the order of LABELS."""
    counts: Counter[tuple[Label, Label]] = Counter()
    for pair in pairs:
        counts[pair.labels] += pair.copies
    return tuple(tuple(counts[one, other] for other in LABELS) for one in LABELS)


def shared_cases(readings: Iterable[Reading], moment: Moment) -> dict[int, list[Reading]]:
    """Return the cases that two or more readers gave a label, each with its readings."""
    by_case: dict[int, list[Reading]] = defaultdict(list)
    for reading in readings:
        read = _read_at(reading, moment)
        if reading.iteration == 1 and read is not None and read.label is not None:
            by_case[reading.case_id].append(reading)
    return {case: shared for case, shared in sorted(by_case.items()) if len(shared) > 1}


def measure_consensus(readings: Iterable[Reading], moment: Moment) -> ReaderConsensus:
    """Measure how far all readers agree on the cases that two or more of them gave a label."""
    cases = shared_cases(readings, moment)
    labels = [[read.label for one in shared if (read := _read_at(one, moment))] for shared in cases.values()]
    copies = [shared[0].copies for shared in cases.values()]
    votes = np.array([[case.count(side) for side in _SIDES] for case in labels], np.int64).reshape(-1, 2)
    unanimous = sum(many for case, many in zip(labels, copies, strict=True) if len(set(case)) == 1)
    return ReaderConsensus(
        readers=len(reader_names(one for shared in cases.values() for one in shared)),
        unanimous=wilson_interval(unanimous, sum(copies)),
        kappa=_kappa_interval(
            lambda kinds: lambda weights: fleiss_kappa(weights, kinds)[:, None], votes, np.array(copies, np.int64)
        ),
    )


def malignancy_grade(label: Label, confidence: int | None) -> int | None:
    """Combine label and confidence into one grade, from certainly benign (0) to certainly malignant (9)."""
    if label is None or confidence is None:
        return None
    return 4 + confidence if label == "malignant" else 5 - confidence


def _read_at(reading: Reading, moment: Moment) -> ReadOpinion | None:
    return reading.first if moment == "before" else reading.standing


def _pair(one: Reading, other: Reading, moment: Moment) -> LabelPair | None:
    first, second = _read_at(one, moment), _read_at(other, moment)
    if first is None or second is None:
        return None
    grades = malignancy_grade(first.label, first.confidence), malignancy_grade(second.label, second.confidence)
    both_grades = (grades[0], grades[1]) if grades[0] is not None and grades[1] is not None else None
    return LabelPair(one.case_id, (first.label, second.label), both_grades, (one, other))


def _labels(pairs: Iterable[LabelPair]) -> list[tuple[Malignancy, Malignancy]]:
    return [(one, other) for one, other in (pair.labels for pair in pairs) if one is not None and other is not None]


def _kappa_by_case(pairs: Sequence[LabelPair], cells: Sequence[int], size: int, *, weighted: bool) -> Interval:
    """Return kappa of a `size` x `size` table of labels, resampled by case; `cells` are indices into that table."""
    cases, first, rows = np.unique(
        np.array([pair.case_id for pair in pairs], np.int64), return_index=True, return_inverse=True
    )
    copies = np.array([pair.copies for pair in pairs], np.int64)[first]
    table = np.zeros((len(cases), size * size), np.int64)
    np.add.at(table, (rows, np.array(cells, np.int64)), 1)
    figure = weighted_kappa if weighted else kappa
    return _kappa_interval(
        lambda kinds: lambda weights: figure((weights @ kinds).reshape(-1, size, size))[:, None], table, copies
    )


def _kappa_interval(
    measure: Callable[[NDArray[np.int64]], Measure], table: NDArray[np.int64], copies: NDArray[np.int64]
) -> Interval:
    """Return the interval from resampling cases, the rows of the table with their copies.

    Identical rows are drawn together, which is the same as one by one: their numbers are multinomial.
    """
    if len(table) == 0:
        return Interval(math.nan, None, None)
    kinds, rows = np.unique(table, axis=0, return_inverse=True)
    together = np.zeros(len(kinds), np.int64)
    np.add.at(together, rows.reshape(-1), copies)
    return bca_intervals(measure(kinds), np.zeros(len(kinds), np.int64), copies=together)[0]


def _count(pairs: Iterable[LabelPair]) -> int:
    return sum(pair.copies for pair in pairs)
