"""Values of adjudication and of sign-off."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from core.labels import Malignancy
from db.values.reading import CaseView, Opinion, Read


class Severity(StrEnum):
    """The severity of a discordance."""

    NONE = "none"
    MINOR = "minor"
    MAJOR = "major"


class Trigger(StrEnum):
    """Why a case needs adjudication."""

    READERS_SPLIT = "readers differ"
    MODEL_CONFLICT = "a reader and the model differ"
    LOW_CONFIDENCE = "a reader is not sure"


@dataclass(frozen=True, slots=True)
class Consensus:
    """The decision of an adjudicator; `supersedes` is the id of an earlier consensus on the same case."""

    id: int
    case_id: int
    adjudicator: str
    label: Malignancy | None
    confidence: int | None
    subtype: str | None
    severity: Severity
    note: str
    opened_at: datetime
    saved_at: datetime
    supersedes: int | None


@dataclass(frozen=True, slots=True)
class SignOff:
    """One signed version of a case; version 1 is the sign-off, later ones are amendments with a reason."""

    id: int
    case_id: int
    version: int
    signer: str
    label: Malignancy | None
    subtype: str | None
    note: str
    why: str
    consensus_id: int | None
    saved_at: datetime


@dataclass(frozen=True, slots=True)
class WaitingCase:
    """One case on an adjudicator's list; reveals no opinion about it."""

    id: int
    accession: str
    magnification: str | None
    images: int
    since: datetime  # the last final read of a reader
    demonstration: bool
    begun: bool  # this adjudicator has saved a blind read


@dataclass(frozen=True, slots=True)
class WaitingCases:
    """Some cases of an adjudicator's list, and how many there are in all."""

    rows: tuple[WaitingCase, ...]
    total: int
    more: bool = False  # whether others follow


@dataclass(frozen=True, slots=True)
class ShownRead:
    """The opinions of one reader before and after the reveal, without name and time."""

    read_id: int  # of the final read
    name: str  # "Reader A"
    first: Opinion
    final: Opinion
    model: Malignancy | None  # as this reader saw it; None if it had no result


@dataclass(frozen=True, slots=True)
class Adjudication:
    """A case as its adjudicator may see it now; before the blind read, only the images."""

    case: CaseView
    blind: Read | None
    waits: bool  # a consensus is still needed
    triggers: tuple[Trigger, ...] = ()
    reads: tuple[ShownRead, ...] = ()
    consensus: Consensus | None = None  # the current one

    def __post_init__(self) -> None:
        if self.blind is None and (self.triggers or self.reads or self.consensus or self.case.reveal):
            raise ValueError("before the blind read, an adjudicator sees only the images of a case")


@dataclass(frozen=True, slots=True)
class Ruling:
    """The final decision of an adjudicator; `label` None means that the case cannot be assessed."""

    label: Malignancy | None
    confidence: int | None  # 1 (guess) to 5 (certain); None when it cannot be assessed
    severity: Severity
    subtype: str | None = None
    note: str = ""

    def __post_init__(self) -> None:
        # The same rules and messages as for an opinion.
        Opinion(self.label, self.confidence, self.subtype, self.note)


@dataclass(frozen=True, slots=True)
class ProposedSignOff:
    """What a sign-off would record now: the consensus, or else the opinion that all readers share."""

    label: Malignancy | None
    subtype: str | None
    consensus_id: int | None
    readers: int  # number with a final read of the case


@dataclass(frozen=True, slots=True)
class Amendment:
    """The new content of a signed-off case, and the reason for the change."""

    label: Malignancy | None
    subtype: str | None
    note: str
    why: str

    def __post_init__(self) -> None:
        if not self.why.strip():
            raise ValueError("give a reason for the amendment")


@dataclass(frozen=True, slots=True)
class SignOffView:
    """The sign-off of a case; a reader who has not finished the case sees only when it was signed off."""

    signed_at: datetime | None
    versions: tuple[SignOff, ...] = ()  # the last one is current
    consensus: Consensus | None = None
    triggers: tuple[Trigger, ...] = ()  # what must be adjudicated first
    proposed: ProposedSignOff | None = None  # None: this account cannot sign it off now


@dataclass(frozen=True, slots=True)
class AdjudicatedLabels:
    """The reference labels of cases that were adjudicated or signed off, by case id."""

    labels: Mapping[int, Malignancy]
    by_consensus: frozenset[int]  # the others were signed off without one, because all final opinions agree

    def __post_init__(self) -> None:
        if not self.by_consensus <= self.labels.keys():
            raise ValueError("every case in by_consensus needs a label")
