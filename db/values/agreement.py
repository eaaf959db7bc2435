"""Values of agreement: cases that were read alike, and pages of the cases behind a figure."""

from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from core.labels import Malignancy
from core.results import Reading


class ComparedReadings(StrEnum):
    """What is compared of readings; cases that are alike in it are counted together."""

    MODEL = "labels of readers and model"
    READERS = "labels and confidences of readers"
    REVEAL = "labels before and after the reveal"
    HABITS = "votes and amendments"


@dataclass(frozen=True, slots=True)
class AlikeCases:
    """Cases that were read alike, by the readings of one of them, whose `copies` says how many they are."""

    key: str  # by which the database finds them
    readings: tuple[Reading, ...]
    reference: Malignancy | None = None  # their reference label, where it is compared
    by_consensus: bool = False  # whether a consensus gave it


@dataclass(frozen=True, slots=True)
class ReadCase:
    """One case behind a figure with all its readings; marks where a page ends."""

    case_id: int
    key: str  # of the cases that were read alike
    readings: tuple[Reading, ...]
    place: str = ""  # of a case without a name in the order of its page


@dataclass(frozen=True, slots=True)
class ReadCases:
    """A page of cases, and the last of them if others follow."""

    cases: tuple[ReadCase, ...]
    last: ReadCase | None = None


@dataclass(frozen=True, slots=True)
class ReadingFilter:
    """Which readings count; None means any."""

    demonstration: bool | None = None
    magnifications: Collection[str | None] | None = None
    model_version: str | None = None
    reader: str | None = None

    def wants(self, reading: Reading) -> bool:
        """Return whether a reading counts."""
        return (
            self.demonstration in (None, reading.demonstration)
            and (self.magnifications is None or reading.magnification in self.magnifications)
            and self.model_version in (None, reading.model_version)
            and self.reader in (None, reading.reader)
        )


@dataclass(frozen=True, slots=True)
class SlowReading:
    """One reading on a page that begins with the slowest; marks where a page ends."""

    reading: Reading
    microseconds: int
    first_id: int  # of its first read


@dataclass(frozen=True, slots=True)
class SlowReadings:
    """A page of readings, the slowest first, and the last of them if others follow."""

    readings: tuple[SlowReading, ...]
    last: SlowReading | None = None


@dataclass(frozen=True, slots=True)
class MapVotes:
    """What readers said of the heat maps of one model version: whether they were useful, as it stands."""

    yes: int = 0
    no: int = 0
    unsure: int = 0

    @property
    def cast(self) -> int:
        """How many votes there are."""
        return self.yes + self.no + self.unsure


TimedStage = Literal["first", "final"]
