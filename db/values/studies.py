"""The plain values of making a study, reading in it and looking after it."""

import math
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Self

from db.values.reading import Arm, CaseView, Place

LARGEST_SEED = 2**31 - 1  # what an integer column of PostgreSQL holds
MOST_CASES = 5_000
_NAME_LIMIT = 200  # characters
_MOST_ROUNDS = 10
_MOST_READERS = 200
_MOST_READINGS = 100_000  # all are written, and sealed, by one click
_LONGEST_WASHOUT = 3_650  # days


@dataclass(frozen=True, slots=True)
class StudyPlan:
    """A study that is to be made: every reader reads every case once in every round.

    The arm of a round is the same for all readers, or, counterbalanced, begins one further along with every reader:
    of the arms A and B, the first reader reads A then B, the second B then A, the third A then B again.
    """

    name: str
    reader_ids: tuple[int, ...]
    case_ids: tuple[int, ...]
    arms: tuple[Arm, ...]  # one per round
    washout_days: float = 0
    counterbalanced: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 < len(self.name) <= _NAME_LIMIT or self.name != self.name.strip() or not self.name.isprintable():
            raise ValueError(f"the name of a study has 1 to {_NAME_LIMIT} characters, all of them visible")
        for what, found, most in (
            ("reader", self.reader_ids, _MOST_READERS),
            ("case", self.case_ids, MOST_CASES),
            ("round", self.arms, _MOST_ROUNDS),
        ):
            if not 1 <= len(found) <= most:
                raise ValueError(f"a study has 1 to {most} {what}s, got {len(found)}")
        readings = len(self.reader_ids) * len(self.case_ids) * len(self.arms)
        if readings > _MOST_READINGS:
            raise ValueError(f"a study has at most {_MOST_READINGS} readings, got {readings}")
        if len(set(self.reader_ids)) < len(self.reader_ids) or len(set(self.case_ids)) < len(self.case_ids):
            raise ValueError("a reader or a case is named twice")
        if not 0 <= self.washout_days <= _LONGEST_WASHOUT or not math.isfinite(self.washout_days):
            raise ValueError(f"a washout lasts 0 to {_LONGEST_WASHOUT} days, got {self.washout_days}")
        if not 0 <= self.seed <= LARGEST_SEED:
            raise ValueError(f"a seed is 0 to {LARGEST_SEED}, got {self.seed}")

    def arms_of(self, reader_id: int) -> tuple[Arm, ...]:
        """Give the arms of one reader's rounds."""
        first = self.reader_ids.index(reader_id) % len(self.arms) if self.counterbalanced else 0
        return self.arms[first:] + self.arms[:first]

    def without(self, obstacles: "tuple[Obstacle, ...]") -> Self:
        """Leave out the cases that cannot be in it."""
        out = {obstacle.case_id for obstacle in obstacles}
        return replace(self, case_ids=tuple(case for case in self.case_ids if case not in out))


@dataclass(frozen=True, slots=True)
class Obstacle:
    """A case that cannot be in a study; `why` completes "C-0042 ..."."""

    case_id: int
    accession: str
    why: str


@dataclass(frozen=True, slots=True)
class Preview:
    """What a plan would make of its readers and cases: nothing is saved yet."""

    obstacles: tuple[Obstacle, ...]
    repeats: int  # places at which a reader reads a case again in the same arm


@dataclass(frozen=True, slots=True)
class CaseChoice:
    """Which cases are wanted for a study; None means any. `since` is inside, `until` is not."""

    magnification: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    demonstration: bool | None = None


@dataclass(frozen=True, slots=True)
class RoundProgress:
    """How far one reader has come in one round."""

    reader: str
    round: int
    arm: Arm
    done: int
    of: int


@dataclass(frozen=True, slots=True)
class StudyRow:
    """One study as its planner sees it: never what anybody said."""

    id: int
    name: str
    seed: int
    washout_days: float
    counterbalanced: bool
    created_by: str
    created_at: datetime
    closed_at: datetime | None
    progress: tuple[RoundProgress, ...]

    @property
    def done(self) -> int:
        """Count the places that are finished."""
        return sum(part.done for part in self.progress)

    @property
    def total(self) -> int:
        """Count all places."""
        return sum(part.of for part in self.progress)


@dataclass(frozen=True, slots=True)
class OwnStudy:
    """One study as one of its readers sees it."""

    id: int
    name: str
    rounds: int
    done: int
    total: int
    place: Place | None  # which comes now; None when all is read or the study is closed
    rests_until: datetime | None
    closed_at: datetime | None


@dataclass(frozen=True, slots=True)
class OpenedPlace:
    """Where a reader is in a study, and the case to read now if there is one."""

    study: OwnStudy
    case: CaseView | None

    def __post_init__(self) -> None:
        waits = self.study.place is None or self.study.rests_until is not None
        if (self.case is None) is not waits:
            raise ValueError("a place is open where there is one and no washout")
