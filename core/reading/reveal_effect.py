"""What the reveal does to readers, how long their reads take, and whether the maps help them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from core.labels import Malignancy
from core.results import Reading
from core.statistics.rates import Median, Rate, median_of, wilson

Against = Literal["reference", "model"]


@dataclass(frozen=True, slots=True)
class Change:
    """Whether one reader was with the reference label, or with the model, before the reveal and after it."""

    reading: Reading
    before: bool
    after: bool


@dataclass(frozen=True, slots=True)
class Effect:
    """What the reveal did to reads: lost is right to wrong (or away from the model), gained the other way."""

    against: Against
    before: Rate
    after: Rate
    lost: Rate
    gained: Rate
    left_out: int  # reads without a label on both sides, or without anything to hold them against


@dataclass(frozen=True, slots=True)
class Habits:
    """How one reader, or all of them, reads: seconds per read, what they say of maps, and how often they amend."""

    first_seconds: Median
    final_seconds: Median
    maps_useful: Rate  # of the votes that were cast
    amended: Rate  # final reads whose label no longer stands


def changes(readings: Iterable[Reading], references: Mapping[int, Malignancy]) -> list[Change]:
    """Hold first and final reads of readers' first time against the reference label of their case, by case id.

    Without any reference label they are held against what the model said. It is the final read as it was first
    saved that counts: an amendment may know more than the model told.
    """
    found = []
    for reading in readings:
        final = reading.final
        if reading.iteration != 1 or final is None or final.model is None:
            continue
        right = references.get(reading.case_id) if references else final.model
        if None not in (right, reading.first.label, final.label):
            found.append(Change(reading, reading.first.label == right, final.label == right))
    return found


def effect(readings: Sequence[Reading], references: Mapping[int, Malignancy]) -> Effect:
    """Say how often the reveal moved readers from right to wrong and from wrong to right, of all their reads."""
    found = changes(readings, references)
    shown = sum(one.iteration == 1 and one.final is not None and one.final.model is not None for one in readings)
    return Effect(
        against="reference" if references else "model",
        before=wilson(sum(one.before for one in found), len(found)),
        after=wilson(sum(one.after for one in found), len(found)),
        lost=wilson(sum(one.before and not one.after for one in found), len(found)),
        gained=wilson(sum(one.after and not one.before for one in found), len(found)),
        left_out=shown - len(found),
    )


def habits(readings: Sequence[Reading]) -> Habits:
    """Say how long reads took, whether maps were found useful, and how often a label was amended."""
    votes = [one.vote for one in readings if one.vote is not None]
    finals = [(one.final, one.standing) for one in readings if one.final is not None and one.standing is not None]
    return Habits(
        first_seconds=median_of([one.first.seconds for one in readings]),
        final_seconds=median_of([final.seconds for final, _ in finals]),
        maps_useful=wilson(votes.count("yes"), len(votes)),
        amended=wilson(sum(final.label != standing.label for final, standing in finals), len(finals)),
    )
