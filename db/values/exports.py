"""Values of exports, and the numbers that replace names in them."""

import hashlib
import secrets
from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Literal

from core.labels import Malignancy
from db.values.adjudication import Consensus, SignOff
from db.values.reading import Arm, ModelIdentity, Read, Reveal, RevealedScope
from db.values.scales import ImageScale

ReferenceSource = Literal["consensus", "sign-off"]

# In place of times that are not disclosed; only what passed since then is left of them.
NO_TIME = datetime(1970, 1, 1, tzinfo=UTC)
# Seconds. Shorter differences would tell one read from another.
ROUNDED_TO = 5

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
    scale: ImageScale | None = None  # None: unknown

    @property
    def um_per_px(self) -> float | None:
        """Micrometres per pixel; None if unknown."""
        return self.scale.um_per_px if self.scale else None

    def without_microscope(self) -> "ExportedImage":
        """Return the image without the name of its microscope, which could tell the site."""
        return replace(self, scale=replace(self.scale, objective="") if self.scale else None)


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
    position: int | None  # in the order of the reader; None where it could tell which read this is


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
    withheld_by: ModelIdentity | None = None  # the model that was shown to give no opinion, out of its scope

    def __post_init__(self) -> None:
        if self.withdrawn and not self.superseded:
            raise ValueError("a withdrawn read must be superseded by another read")


@dataclass(frozen=True, slots=True)
class ReadsExport:
    """The reads of a study, or of routine reading, in the order of readers and their work.

    There may be more of them than fit into the memory: go through them one by one.
    """

    title: str
    study_open: bool
    named: bool
    clock_times: bool  # if False, write only elapsed times, no dates or clock times; see `draw_sources`
    cases: Sequence[ExportedCase]
    reads: Sequence[ExportedRead]

    def case(self, number: int) -> ExportedCase:
        """Return the case with this number."""
        return self.cases[number - 1]

    @property
    def readers(self) -> int:
        """The number of readers; the reads come in the order of theirs, which begin at 1."""
        return self.reads[-1].reader_number if self.reads else 0

    def __post_init__(self) -> None:
        if any(case.number != number for number, case in enumerate(self.cases, start=1)):
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
    scopes: tuple[RevealedScope, ...] = ()  # as in `CaseView`


def without_times(one: ExportedRead) -> ExportedRead:
    """Return a read that tells only how long it took, in rounded seconds; every read begins at `NO_TIME`."""
    read, opened = one.read, one.read.opened_at

    def since_opening(moment: datetime) -> datetime:
        return NO_TIME + timedelta(seconds=round_seconds((moment - opened).total_seconds()))

    edited = read.edit_seconds if read.edit_seconds is None else float(round_seconds(read.edit_seconds))
    return replace(
        one,
        read=replace(read, opened_at=NO_TIME, saved_at=since_opening(read.saved_at), edit_seconds=edited),
        revealed_at=since_opening(one.revealed_at) if one.revealed_at else None,
    )


def draw_sources(ids: Sequence[int], kinds: Sequence[int], key: str) -> Sequence[int]:
    """Draw for each read, by its place, the place of the one whose times it gets: one of the same kind.

    With times exchanged at random among the reads of a reader with the same stage, arm and round, what a reader needs
    for a read of that kind stays the same, but no longer tells which read it was: otherwise two exports could be
    matched line by line.
    """
    by_kind: dict[int, array[int]] = {}
    for place, kind in enumerate(kinds):
        by_kind.setdefault(kind, array("q")).append(place)
    sources = array("q", range(len(ids)))
    for places in by_kind.values():
        drawn = sorted(places, key=lambda place: _digest(str(ids[place]), key))
        for place, source in zip(places, drawn, strict=True):
            sources[place] = source
    return sources


def with_times_of(one: ExportedRead, source: ExportedRead) -> ExportedRead:
    """Return a read that tells only how long another took, in rounded seconds."""
    timed = without_times(source)
    read = replace(one.read, opened_at=NO_TIME, saved_at=timed.read.saved_at, edit_seconds=timed.read.edit_seconds)
    return replace(one, read=read, revealed_at=timed.revealed_at)


def round_seconds(seconds: float) -> int:
    """Return a duration as de-identified exports tell it."""
    return ROUNDED_TO * round(max(0.0, seconds) / ROUNDED_TO)


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
