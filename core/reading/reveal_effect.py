"""Measure how the reveal changes reads, how long reads take, and whether heat maps help."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from core.labels import Malignancy
from core.reading.agreement import count_readings
from core.results import Reading
from core.statistics.rates import Median, Rate, median_of, wilson_interval

Against = Literal["reference", "model"]


@dataclass(frozen=True, slots=True)
class Change:
    """Whether one reader agreed with the reference label, or with the model, before and after the reveal."""

    reading: Reading
    before: bool
    after: bool


@dataclass(frozen=True, slots=True)
class Effect:
    """How the reveal changed reads: lost is right to wrong (or away from the model), gained the opposite."""

    against: Against
    before: Rate
    after: Rate
    lost: Rate
    gained: Rate
    left_out: int  # reads without a label before or after, or without anything to compare with


@dataclass(frozen=True, slots=True)
class Habits:
    """How one reader, or all of them, reads: seconds per read, votes on heat maps, and how often they amend."""

    first_seconds: Median
    final_seconds: Median
    maps_useful: Rate  # of the votes cast
    amended: Rate  # final reads whose label no longer stands


@dataclass(frozen=True, slots=True)
class Seconds:
    """How long first and final reads took, in any order."""

    first: NDArray[np.float64]
    final: NDArray[np.float64]


def join_seconds(parts: Iterable[Seconds]) -> Seconds:
    """Return the seconds of several readers together."""
    each = list(parts)
    return Seconds(np.concatenate([one.first for one in each]), np.concatenate([one.final for one in each]))


def find_changes(readings: Iterable[Reading], references: Mapping[int, Malignancy]) -> list[Change]:
    """Compare first and final reads of first iterations with the reference labels, which are keyed by case id.

    Without any reference labels, they are compared with the model's label. The final read counts as first saved:
    an amendment may draw on more than the model's opinion.
    """
    compared = []
    for reading in readings:
        final = reading.final
        if reading.iteration != 1 or final is None or final.model is None:
            continue
        right = references.get(reading.case_id) if references else final.model
        if None not in (right, reading.first.label, final.label):
            compared.append(Change(reading, reading.first.label == right, final.label == right))
    return compared


def measure_effect(readings: Sequence[Reading], references: Mapping[int, Malignancy]) -> Effect:
    """Measure how often the reveal moved readers from right to wrong and from wrong to right, of all their reads."""
    compared = find_changes(readings, references)
    revealed = count_readings(
        one for one in readings if one.iteration == 1 and one.final is not None and one.final.model is not None
    )
    n = count_readings(one.reading for one in compared)

    def rate(holds: Callable[[bool, bool], bool]) -> Rate:
        return wilson_interval(count_readings(one.reading for one in compared if holds(one.before, one.after)), n)

    return Effect(
        against="reference" if references else "model",
        before=rate(lambda before, _: before),
        after=rate(lambda _, after: after),
        lost=rate(lambda before, after: before and not after),
        gained=rate(lambda before, after: after and not before),
        left_out=revealed - n,
    )


def measure_habits(readings: Sequence[Reading], seconds: Seconds | None = None) -> Habits:
    """Measure how long reads took, how often maps were voted useful, and how often labels were amended.

    `seconds` are those of all readings, where the readings stand for others too.
    """
    voted = [one for one in readings if one.vote is not None]
    finals = [one for one in readings if one.final is not None]
    seconds = seconds or Seconds(
        np.array([one.first.seconds for one in readings]),
        np.array([one.final.seconds for one in readings if one.final is not None]),
    )
    useful = count_readings(one for one in voted if one.vote == "yes")
    return Habits(
        first_seconds=median_of(seconds.first),
        final_seconds=median_of(seconds.final),
        maps_useful=wilson_interval(useful, count_readings(voted)),
        amended=wilson_interval(count_readings(one for one in finals if was_amended(one)), count_readings(finals)),
    )


def was_amended(reading: Reading) -> bool:
    """Return whether the label of the final read no longer stands."""
    return reading.final is not None and reading.standing is not None and reading.final.label != reading.standing.label
