"""Values of planning a study, reading in it and following its progress."""

import math
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Self

from db.values.reading import Arm, CaseView, Place

LARGEST_SEED = 2**31 - 1  # largest value of an integer column in PostgreSQL
MOST_CASES = 5_000
_NAME_LIMIT = 200  # characters
_MOST_ROUNDS = 10
_MOST_READERS = 200
_MOST_READINGS = 100_000  # all are written and sealed in one transaction
_LONGEST_WASHOUT = 3_650  # days


@dataclass(frozen=True, slots=True)
class StudyPlan:
    """The plan of a new study: every reader reads every case once in every round.

    The arm of a round is the same for all readers. If counterbalanced, each reader starts one arm later than the one
    before: with arms A and B, the first reader reads A then B, the second B then A, the third A then B again.
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
            raise ValueError(f"the name of a study must have 1 to {_NAME_LIMIT} visible characters")
        for what, chosen, most in (
            ("reader", self.reader_ids, _MOST_READERS),
            ("case", self.case_ids, MOST_CASES),
            ("round", self.arms, _MOST_ROUNDS),
        ):
            if not 1 <= len(chosen) <= most:
                raise ValueError(f"a study must have 1 to {most} {what}s, got {len(chosen)}")
        readings = len(self.reader_ids) * len(self.case_ids) * len(self.arms)
        if readings > _MOST_READINGS:
            raise ValueError(f"a study may have at most {_MOST_READINGS} readings, got {readings}")
        if len(set(self.reader_ids)) < len(self.reader_ids) or len(set(self.case_ids)) < len(self.case_ids):
            raise ValueError("a reader or a case is listed twice")
        if not 0 <= self.washout_days <= _LONGEST_WASHOUT or not math.isfinite(self.washout_days):
            raise ValueError(f"the washout must be 0 to {_LONGEST_WASHOUT} days, got {self.washout_days}")
        if not 0 <= self.seed <= LARGEST_SEED:
            raise ValueError(f"the seed must be 0 to {LARGEST_SEED}, got {self.seed}")

    def arms_of(self, reader_id: int) -> tuple[Arm, ...]:
        """Return the arms of one reader's rounds."""
        first = self.reader_ids.index(reader_id) % len(self.arms) if self.counterbalanced else 0
        return self.arms[first:] + self.arms[:first]

    def without(self, obstacles: "tuple[Obstacle, ...]") -> Self:
        """Return the plan without the cases that cannot be included."""
        out = {obstacle.case_id for obstacle in obstacles}
        return replace(self, case_ids=tuple(case for case in self.case_ids if case not in out))


@dataclass(frozen=True, slots=True)
class Obstacle:
    """A case that cannot be included in a study; `why` completes "C-0042 ..."."""

    case_id: int
    accession: str
    why: str


@dataclass(frozen=True, slots=True)
class StudyPreview:
    """The effect of a plan that is not saved yet."""

    obstacles: tuple[Obstacle, ...]
    repeats: int  # readings in which a reader reads a case again in the same arm


@dataclass(frozen=True, slots=True)
class CaseChoice:
    """A filter for the cases of a study; None means any. `since` is inclusive, `until` exclusive."""

    magnification: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    demonstration: bool | None = None


@dataclass(frozen=True, slots=True)
class RoundProgress:
    """The progress of one reader in one round."""

    reader: str
    round: int
    arm: Arm
    done: int
    of: int


@dataclass(frozen=True, slots=True)
class StudyRow:
    """One study as its planner sees it, without any opinions."""

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
        """Count the finished readings."""
        return sum(part.done for part in self.progress)

    @property
    def total(self) -> int:
        """Count all readings."""
        return sum(part.of for part in self.progress)


@dataclass(frozen=True, slots=True)
class OwnStudy:
    """One study as one of its readers sees it."""

    id: int
    name: str
    rounds: int
    done: int
    total: int
    place: Place | None  # the one to read now; None if all are read or the study is closed
    rests_until: datetime | None
    closed_at: datetime | None


@dataclass(frozen=True, slots=True)
class OpenedPlace:
    """A reader's position in a study, and the case to read now, if any."""

    study: OwnStudy
    case: CaseView | None

    def __post_init__(self) -> None:
        waits = self.study.place is None or self.study.rests_until is not None
        if (self.case is None) is not waits:
            raise ValueError("a case is open exactly when there is a place to read and no washout")
