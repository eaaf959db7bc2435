"""The plain values that exports are made of."""

import hashlib
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from core.labels import Malignancy
from db.values.reading import Arm, Consensus, Read, Reveal, SignOff

ReferenceSource = Literal["consensus", "sign-off"]

_DIGITS = 8  # of a lasting pseudonym; among 10,000 cases two are alike once in a hundred installations


@dataclass(frozen=True, slots=True)
class NamedStudy:
    """A study whose reads can be exported."""

    id: int
    name: str


@dataclass(frozen=True, slots=True)
class Shown:
    """What the model said on the screen beside a read."""

    probability: float
    threshold: float
    version: str
    name: str
    demonstration: bool

    @property
    def label(self) -> Malignancy:
        """Benign or malignant, by the threshold that was shown."""
        return "malignant" if self.probability >= self.threshold else "benign"


@dataclass(frozen=True, slots=True)
class Reference:
    """What is taken as right of a case, and where it is from; `label` None where it could not be assessed."""

    label: Malignancy | None
    source: ReferenceSource


@dataclass(frozen=True, slots=True)
class ExportedImage:
    """One image of a case; `file_sha256` is empty where a hash would say which image it is."""

    id: int
    position: int
    height: int
    width: int
    file_sha256: str


@dataclass(frozen=True, slots=True)
class ExportedCase:
    """One case of an export; without names `accession` holds its number."""

    number: int
    accession: str
    magnification: str | None
    demonstration: bool
    images: tuple[ExportedImage, ...]
    reference: Reference | None


@dataclass(frozen=True, slots=True)
class ReadPlace:
    """Where in a study a read was given."""

    round: int
    arm: Arm
    iteration: int
    position: int


@dataclass(frozen=True, slots=True)
class ExportedRead:
    """One read as it was saved, and what became of it; without names `read.reader` holds the reader's number."""

    read: Read
    reader_number: int
    case_number: int
    place: ReadPlace | None  # None in routine reading
    shown: Shown | None
    revealed_at: datetime | None
    superseded: bool  # another read stands on top of it
    withdrawn: bool  # and that one takes it back

    def __post_init__(self) -> None:
        if self.withdrawn and not self.superseded:
            raise ValueError("a read is withdrawn by another that stands on top of it")


@dataclass(frozen=True, slots=True)
class ReadsExport:
    """The reads of a study, or of routine reading, in the order of readers and their work."""

    title: str
    study_open: bool
    named: bool
    clock_times: bool  # else nothing of it may be written but how long after each other things were
    cases: tuple[ExportedCase, ...]
    reads: tuple[ExportedRead, ...]

    def case(self, number: int) -> ExportedCase:
        """Give the case of a number."""
        return self.cases[number - 1]

    def __post_init__(self) -> None:
        if [case.number for case in self.cases] != list(range(1, len(self.cases) + 1)):
            raise ValueError("the cases of an export are numbered from 1, in order")


@dataclass(frozen=True, slots=True)
class ExportedMap:
    """The heat map of one image, with the range of its evidence in logit units."""

    image_id: int
    file_sha256: str
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class CaseExport:
    """All that was said of one case in routine reading; without names and notes unless `named`."""

    case: ExportedCase
    named: bool
    reads: tuple[ExportedRead, ...]
    reveal: Reveal | None
    maps: tuple[ExportedMap, ...]
    consensus: tuple[Consensus, ...]  # oldest first, the last one stands
    sign_offs: tuple[SignOff, ...]  # by version
    made_by: str
    made_at: datetime


def new_key() -> str:
    """Make a key that nobody knows and nobody keeps: what is numbered with it cannot be matched with another export."""
    return secrets.token_hex(16)


def shuffled_numbers(names: Iterable[str], key: str) -> Mapping[str, int]:
    """Number names from 1, in an order that only the key decides."""
    ordered = sorted(set(names), key=lambda name: _digest(name, key))
    return {name: number for number, name in enumerate(ordered, start=1)}


def pseudonym(name: str, key: str) -> str:
    """Give the same eight digits for a name whatever else there is, so that later names change nothing."""
    return _digest(name, key)[:_DIGITS]


def _digest(name: str, key: str) -> str:
    return hashlib.blake2b(name.encode(), key=key.encode()[:64], digest_size=16).hexdigest()
