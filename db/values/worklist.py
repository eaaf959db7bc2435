"""The plain values of the worklist and of planning who reads what."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from db.values.reading import CaseState


class CaseOrder(StrEnum):
    """How the worklist is sorted."""

    WORK = "order of work"
    NEWEST = "newest first"
    OLDEST = "oldest first"
    ACCESSION = "case number"
    # These two tell of the model: they list only what the reader has read.
    UNCERTAINTY = "model least certain first"  # cases with this reader's first read
    DISCORDANCE = "model contradicts me most first"  # cases with this reader's final read


@dataclass(frozen=True, slots=True)
class CaseFilter:
    """Which cases are wanted; None means any. `since` is inside, `until` is not."""

    text: str | None = None  # looked for in the accession
    states: Collection[CaseState] | None = None
    magnification: str | None = None
    mine: bool = False  # assigned to this reader
    since: datetime | None = None  # when the case was added
    until: datetime | None = None

    def __post_init__(self) -> None:
        if any(moment is not None and moment.tzinfo is None for moment in (self.since, self.until)):
            raise ValueError("since and until need a time zone")


@dataclass(frozen=True, slots=True)
class CaseRow:
    """One line of the worklist; holds nothing of the model before this reader's first read."""

    id: int
    accession: str
    magnification: str | None
    images: int
    analysed: int
    state: CaseState
    created_at: datetime
    demonstration: bool
    read_to_end: bool = False  # by this reader
    urgent: bool = False
    assigned_to_me: bool = False
    assigned_to_others: bool = False
    open_with: str = ""  # the other readers who have it open
    open_since: datetime | None = None


@dataclass(frozen=True, slots=True)
class PlannedCase:
    """A case as who plans the reading sees it; holds nothing of the model and of what readers said."""

    id: int
    accession: str
    magnification: str | None
    images: int
    created_at: datetime
    urgent: bool
    readers: tuple[str, ...]  # to whom it is assigned, by name
    finished: int  # readers with a final read
    signed_out: bool


@dataclass(frozen=True, slots=True)
class AssignableReader:
    """An account that may be asked to read; `waiting` counts its assigned cases without a final read of it."""

    id: int
    name: str
    waiting: int
