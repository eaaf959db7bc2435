"""The plain values of settling a case and of signing it out."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from core.labels import Malignancy
from db.values.reading import CaseView, Consensus, Opinion, Read, Severity, SignOff, Trigger


@dataclass(frozen=True, slots=True)
class WaitingCase:
    """One line of the list of an adjudicator; says nothing of what anybody thinks of the case."""

    id: int
    accession: str
    magnification: str | None
    images: int
    since: datetime  # the last final read of a reader
    demonstration: bool
    begun: bool  # this adjudicator has read it blind


@dataclass(frozen=True, slots=True)
class ShownRead:
    """What one reader said before and after the reveal, without who they are and when it was."""

    read_id: int  # of the final read
    name: str  # "Reader A"
    first: Opinion
    final: Opinion
    model: Malignancy | None  # as this reader saw it; None where it had no result


@dataclass(frozen=True, slots=True)
class Adjudication:
    """A case as its adjudicator may see it now; before the blind read, nothing but the tissue."""

    case: CaseView
    blind: Read | None
    waits: bool  # for a consensus
    triggers: tuple[Trigger, ...] = ()
    reads: tuple[ShownRead, ...] = ()
    consensus: Consensus | None = None  # the standing one

    def __post_init__(self) -> None:
        if self.blind is None and (self.triggers or self.reads or self.consensus or self.case.reveal):
            raise ValueError("an adjudicator sees nothing of a case before the blind read")


@dataclass(frozen=True, slots=True)
class Ruling:
    """What an adjudicator says of a case in the end; `label` None means that it cannot be assessed."""

    label: Malignancy | None
    confidence: int | None  # 1 (guess) to 5 (certain); None when it cannot be assessed
    severity: Severity
    subtype: str | None = None
    note: str = ""

    def __post_init__(self) -> None:
        # The same rules as for an opinion, in the same words.
        Opinion(self.label, self.confidence, self.subtype, self.note)


@dataclass(frozen=True, slots=True)
class ToSign:
    """What a sign-off would say now: that of the consensus, else what all readers say."""

    label: Malignancy | None
    subtype: str | None
    consensus_id: int | None
    readers: int  # with a final read of the case


@dataclass(frozen=True, slots=True)
class Amendment:
    """What a signed case is to say from now on, and why."""

    label: Malignancy | None
    subtype: str | None
    note: str
    why: str

    def __post_init__(self) -> None:
        if not self.why.strip():
            raise ValueError("say why the signed case is amended")


@dataclass(frozen=True, slots=True)
class SignOffView:
    """How far the sign-off of a case is; who has not read the case to the end learns only when it was signed."""

    signed_at: datetime | None
    versions: tuple[SignOff, ...] = ()  # the last one counts
    consensus: Consensus | None = None
    triggers: tuple[Trigger, ...] = ()  # what has to be settled first
    proposed: ToSign | None = None  # None: this account cannot sign it now


@dataclass(frozen=True, slots=True)
class AdjudicatedLabels:
    """What is taken as right of cases that were settled or signed out, by case id."""

    labels: Mapping[int, Malignancy]
    by_consensus: frozenset[int]  # the others were signed without one: there all readers say the same in the end

    def __post_init__(self) -> None:
        if not self.by_consensus <= self.labels.keys():
            raise ValueError("a case with a consensus has a label")
