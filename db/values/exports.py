"""Values of exports, and the numbers that replace names in them."""

import hashlib
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from core.labels import Malignancy
from db.values.reading import Arm, Consensus, Read, Reveal, SignOff

ReferenceSource = Literal["consensus", "sign-off"]

_DIGITS = 8  # of a lasting pseudonym; with 10,000 cases, one installation in a hundred has a collision


@dataclass(frozen=True, slots=True)
class NamedStudy:
    """A study whose reads can be exported."""

    id: int
    name: str


@dataclass(frozen=True, slots=True)
class ShownOpinion:
    """The model's opinion that was on the screen when a read was saved."""

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
    """The reference label of a case and its source; `label` None if the case could not be assessed."""

    label: Malignancy | None
    source: ReferenceSource


@dataclass(frozen=True, slots=True)
class ExportedImage:
    """One image of a case; `file_sha256` is empty where a hash could identify the image.

    `notes` say how its file was read, such as that only the first of several pages is used.
    """

    id: int
    position: int
    height: int
    width: int
    file_sha256: str
    notes: tuple[str, ...] = ()


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
    """Where in a study a read was saved."""

    round: int
    arm: Arm
    iteration: int
    position: int


@dataclass(frozen=True, slots=True)
class ExportedRead:
    """One read as saved, and its later fate; without names, `read.reader` holds the reader's number."""

    read: Read
    reader_number: int
    case_number: int
    place: ReadPlace | None  # None in routine reading
    shown: ShownOpinion | None
    revealed_at: datetime | None
    superseded: bool  # replaced by another read
    withdrawn: bool  # and the other read withdraws it

    def __post_init__(self) -> None:
        if self.withdrawn and not self.superseded:
            raise ValueError("a withdrawn read must be superseded by another read")


@dataclass(frozen=True, slots=True)
class ReadsExport:
    """The reads of a study, or of routine reading, in the order of readers and their work."""

    title: str
    study_open: bool
    named: bool
    clock_times: bool  # if False, write only elapsed times, no dates or clock times
    cases: tuple[ExportedCase, ...]
    reads: tuple[ExportedRead, ...]

    def case(self, number: int) -> ExportedCase:
        """Return the case with this number."""
        return self.cases[number - 1]

    def __post_init__(self) -> None:
        if [case.number for case in self.cases] != list(range(1, len(self.cases) + 1)):
            raise ValueError("the cases of an export must be numbered from 1, in order")


@dataclass(frozen=True, slots=True)
class ExportedMap:
    """The heat map of one image, with the range of its evidence in logit units."""

    image_id: int
    file_sha256: str
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class CaseExport:
    """Every opinion on one case in routine reading; without names and notes unless `named`."""

    case: ExportedCase
    named: bool
    reads: tuple[ExportedRead, ...]
    reveal: Reveal | None
    maps: tuple[ExportedMap, ...]
    consensus: tuple[Consensus, ...]  # oldest first; the last one is current
    sign_offs: tuple[SignOff, ...]  # by version
    made_by: str
    made_at: datetime


def make_key() -> str:
    """Make a random key that is not stored, so that its numbers cannot be matched with another export."""
    return secrets.token_hex(16)


def shuffled_numbers(names: Iterable[str], key: str) -> Mapping[str, int]:
    """Number names from 1, in an order that depends only on the key."""
    ordered = sorted(set(names), key=lambda name: _digest(name, key))
    return {name: number for number, name in enumerate(ordered, start=1)}


def pseudonym(name: str, key: str) -> str:
    """Return eight hexadecimal digits for a name that do not depend on which other names exist."""
    return _digest(name, key)[:_DIGITS]


def _digest(name: str, key: str) -> str:
    return hashlib.blake2b(name.encode(), key=key.encode()[:64], digest_size=16).hexdigest()
