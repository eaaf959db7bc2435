"""Measure how the reveal changes reads, how long reads take, and whether heat maps help."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from core.labels import Malignancy
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
    revealed = sum(one.iteration == 1 and one.final is not None and one.final.model is not None for one in readings)
    return Effect(
        against="reference" if references else "model",
        before=wilson_interval(sum(one.before for one in compared), len(compared)),
        after=wilson_interval(sum(one.after for one in compared), len(compared)),
        lost=wilson_interval(sum(one.before and not one.after for one in compared), len(compared)),
        gained=wilson_interval(sum(one.after and not one.before for one in compared), len(compared)),
        left_out=revealed - len(compared),
    )


def measure_habits(readings: Sequence[Reading]) -> Habits:
    """Measure how long reads took, how often maps were voted useful, and how often labels were amended."""
    votes = [one.vote for one in readings if one.vote is not None]
    finals = [(one.final, one.standing) for one in readings if one.final is not None and one.standing is not None]
    return Habits(
        first_seconds=median_of([one.first.seconds for one in readings]),
        final_seconds=median_of([final.seconds for final, _ in finals]),
        maps_useful=wilson_interval(votes.count("yes"), len(votes)),
        amended=wilson_interval(sum(final.label != standing.label for final, standing in finals), len(finals)),
    )
