"""How far readers agree with the model, with each other and with themselves.

Rates come first and kappa second. Rates have Wilson intervals; kappas are resampled by case, because the reads of
one case stand or fall together.
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
from core.results import Reading, SavedRead
from core.statistics.confusion_matrices import kappa
from core.statistics.rates import Rate, fleiss_kappa, weighted_kappa, wilson
from core.statistics.resampling import Interval, Measure, bca

Moment = Literal["before", "after"]  # the reveal
Label = Malignancy | None  # None: cannot be assessed

MOMENTS: tuple[Moment, Moment] = ("before", "after")
LABELS: tuple[Label, ...] = ("benign", "malignant", None)
_SIDES: tuple[Malignancy, Malignancy] = ("benign", "malignant")
_GRADES = 10  # from certainly benign (0) to certainly malignant (9)


@dataclass(frozen=True, slots=True)
class LabelPair:
    """What two raters say of one case, and the readings that say it; the model has no grade."""

    case_id: int
    labels: tuple[Label, Label]
    grades: tuple[int, int] | None = None
    readings: tuple[Reading, ...] = ()

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
    """How often two raters say the same of a case; pairs in which one could not assess it are left out."""

    rate: Rate
    kappa: Interval  # Cohen, Educ. Psychol. Meas. 1960
    weighted_kappa: Interval | None  # of the ten grades from certainly benign to certainly malignant
    left_out: int


@dataclass(frozen=True, slots=True)
class Consensus:
    """How several readers agree: on how many cases all of them do, and Fleiss' kappa."""

    readers: int
    unanimous: Rate
    kappa: Interval


def reader_model_pairs(readings: Iterable[Reading], moment: Moment) -> list[LabelPair]:
    """Pair what readers say at their first time with what the model said on their screen."""
    found = [(one, one.standing) for one in readings if one.iteration == 1]
    return [
        LabelPair(one.case_id, ((one.first if moment == "before" else standing).label, standing.model), None, (one,))
        for one, standing in found
        if standing is not None and standing.model is not None
    ]


def reader_reader_pairs(readings: Iterable[Reading], one: str, other: str, moment: Moment) -> list[LabelPair]:
    """Pair what two readers say of the same case, each at their first time."""
    by_case: Mapping[int, dict[str, Reading]] = defaultdict(dict)
    for reading in readings:
        if reading.iteration == 1 and reading.reader in (one, other):
            by_case[reading.case_id][reading.reader] = reading
    both = [(case[one], case[other]) for case in by_case.values() if len(case) == 2]
    return [pair for first, second in both if (pair := _pair(first, second, moment)) is not None]


def intra_reader_pairs(readings: Iterable[Reading]) -> list[LabelPair]:
    """Pair the blind first reads of readers who read a case again, each with the one before it."""
    by_reader: Mapping[tuple[int, str], list[Reading]] = defaultdict(list)
    for reading in sorted(readings, key=lambda reading: reading.iteration):
        by_reader[reading.case_id, reading.reader].append(reading)
    again = [both for times in by_reader.values() for both in pairwise(times)]
    return [pair for one, other in again if (pair := _pair(one, other, "before")) is not None]


def reader_names(readings: Iterable[Reading]) -> list[str]:
    """Name the readers, in order."""
    return sorted({reading.reader for reading in readings})


def reader_couples(readings: Sequence[Reading]) -> list[tuple[str, str]]:
    """Name every two readers who have a case in common."""
    cases: Mapping[str, set[int]] = defaultdict(set)
    for reading in readings:
        cases[reading.reader].add(reading.case_id)
    return [(one, other) for one, other in combinations(sorted(cases), 2) if cases[one] & cases[other]]


def agreement(pairs: Sequence[LabelPair]) -> Agreement:
    """Say how often two raters agree, and how far beyond chance."""
    assessed = [pair for pair in pairs if pair.assessed]
    cells = [_SIDES.index(one) * 2 + _SIDES.index(other) for one, other in _labels(assessed)]
    graded = [pair for pair in assessed if pair.grades is not None]
    grades = [pair.grades[0] * _GRADES + pair.grades[1] for pair in graded if pair.grades is not None]
    return Agreement(
        rate=wilson(sum(pair.agree for pair in assessed), len(assessed)),
        kappa=_by_case(assessed, cells, 2, weighted=False),
        weighted_kappa=_by_case(graded, grades, _GRADES, weighted=True) if graded else None,
        left_out=len(pairs) - len(assessed),
    )


def label_counts(pairs: Iterable[LabelPair]) -> tuple[tuple[int, ...], ...]:
    """Count pairs by what the first rater (row) and the second (column) say, in the order of LABELS."""
    counts = Counter(pair.labels for pair in pairs)
    return tuple(tuple(counts[one, other] for other in LABELS) for one in LABELS)


def shared_cases(readings: Iterable[Reading], moment: Moment) -> dict[int, list[Reading]]:
    """Give the cases to which two or more readers gave a label, each with its readings."""
    by_case: dict[int, list[Reading]] = defaultdict(list)
    for reading in readings:
        said = _said(reading, moment)
        if reading.iteration == 1 and said is not None and said.label is not None:
            by_case[reading.case_id].append(reading)
    return {case: found for case, found in sorted(by_case.items()) if len(found) > 1}


def consensus(readings: Iterable[Reading], moment: Moment) -> Consensus:
    """Say how far all readers agree on the cases that two or more of them gave a label."""
    cases = shared_cases(readings, moment)
    labels = [[said.label for one in found if (said := _said(one, moment))] for found in cases.values()]
    votes = np.array([[case.count(side) for side in _SIDES] for case in labels], np.int64).reshape(-1, 2)
    return Consensus(
        readers=len(reader_names(one for found in cases.values() for one in found)),
        unanimous=wilson(sum(len(set(case)) == 1 for case in labels), len(labels)),
        kappa=_interval(lambda kinds: lambda weights: fleiss_kappa(weights, kinds)[:, None], votes),
    )


def malignancy_grade(label: Label, confidence: int | None) -> int | None:
    """Put label and confidence on one scale, from certainly benign (0) over two guesses to certainly malignant (9)."""
    if label is None or confidence is None:
        return None
    return 4 + confidence if label == "malignant" else 5 - confidence


def _said(reading: Reading, moment: Moment) -> SavedRead | None:
    return reading.first if moment == "before" else reading.standing


def _pair(one: Reading, other: Reading, moment: Moment) -> LabelPair | None:
    first, second = _said(one, moment), _said(other, moment)
    if first is None or second is None:
        return None
    grades = malignancy_grade(first.label, first.confidence), malignancy_grade(second.label, second.confidence)
    known = (grades[0], grades[1]) if grades[0] is not None and grades[1] is not None else None
    return LabelPair(one.case_id, (first.label, second.label), known, (one, other))


def _labels(pairs: Iterable[LabelPair]) -> list[tuple[Malignancy, Malignancy]]:
    return [(one, other) for one, other in (pair.labels for pair in pairs) if one is not None and other is not None]


def _by_case(pairs: Sequence[LabelPair], cells: Sequence[int], size: int, *, weighted: bool) -> Interval:
    """Give kappa of a table of `size` x `size` labels, its cases resampled; `cells` are places in that table."""
    cases, place = np.unique(np.array([pair.case_id for pair in pairs], np.int64), return_inverse=True)
    table = np.zeros((len(cases), size * size), np.int64)
    np.add.at(table, (place, np.array(cells, np.int64)), 1)
    figure = weighted_kappa if weighted else kappa
    return _interval(lambda kinds: lambda weights: figure((weights @ kinds).reshape(-1, size, size))[:, None], table)


def _interval(measure: Callable[[NDArray[np.int64]], Measure], table: NDArray[np.int64]) -> Interval:
    """Resample the cases, which are the rows of the table; those that are alike are drawn together."""
    if len(table) == 0:
        return Interval(math.nan, None, None)
    kinds, copies = np.unique(table, axis=0, return_counts=True)
    return bca(measure(kinds), np.zeros(len(kinds), np.int64), copies=copies)[0]
