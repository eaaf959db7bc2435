"""Values of the worklist and of planning."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from db.values.piles import Pile
from db.values.reading import CaseState


class CaseOrder(StrEnum):
    """How the worklist is sorted."""

    WORK = "order of work"
    NEWEST = "newest first"
    OLDEST = "oldest first"
    ACCESSION = "case number"
    # These two reveal the model's opinion, so they list only cases that the reader has read.
    UNCERTAINTY = "model least certain first"  # cases with this reader's first read
    DISCORDANCE = "model contradicts me most first"  # cases with this reader's final read


@dataclass(frozen=True, slots=True)
class CaseFilter:
    """A filter for cases; None means any. `since` is inclusive, `until` exclusive."""

    text: str | None = None  # of the accession: the beginning of one of its parts on the worklist
    states: Collection[CaseState] | None = None
    magnification: str | None = None
    mine: bool = False  # assigned to this reader
    since: datetime | None = None  # when the case was added
    until: datetime | None = None

    def __post_init__(self) -> None:
        if any(moment is not None and moment.tzinfo is None for moment in (self.since, self.until)):
            raise ValueError("`since` and `until` need a time zone")


@dataclass(frozen=True, slots=True)
class CaseRow:
    """One case on the worklist; reveals nothing of the model before this reader's first read."""

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
    first_image: int = 0  # id of the image that stands for the case


@dataclass(frozen=True, slots=True)
class ListedCase:
    """What the orders of the worklist compare, as it was when the case was listed; also marks where a page ends.

    `uncertainty` is None without this reader's first read, `concordance` without their final one.
    """

    case_id: int
    pile: Pile
    open_elsewhere: bool = False
    accession: str = ""
    uncertainty: float | None = None
    concordance: float | None = None


@dataclass(frozen=True, slots=True)
class WorklistPage:
    """Some cases of the worklist, and the last of them if others follow."""

    rows: tuple[CaseRow, ...]
    last: ListedCase | None = None
    total: int | None = None  # of all pages; None if counting them would take too long
    cut: bool = False  # more cases than can be listed have a number like this


@dataclass(frozen=True, slots=True)
class PlanFilter:
    """A filter for the cases of a plan; of `cases`, `states` and `mine` are ignored."""

    cases: CaseFilter = CaseFilter()
    reader: int | None = None  # assigned to this account
    unassigned: bool = False  # assigned to nobody
    signed_off: bool = True  # with cases that are signed off


@dataclass(frozen=True, slots=True)
class PlanPage:
    """Some cases of the plan, and the last of them if others follow."""

    rows: tuple["PlannedCase", ...]
    last: "PlannedCase | None" = None


@dataclass(frozen=True, slots=True)
class PlannedCase:
    """A case as a planner sees it, without the opinions of the model and the readers."""

    id: int
    accession: str
    magnification: str | None
    images: int
    created_at: datetime
    urgent: bool
    readers: tuple[str, ...]  # names of the readers it is assigned to
    finished: int  # number of readers with a final read
    signed_off: bool
    incomplete: bool = False  # its intake has not ended, so nobody can read it yet


@dataclass(frozen=True, slots=True)
class AssignableReader:
    """An account that cases can be assigned to; `waiting` counts its assigned cases without its final read."""

    id: int
    name: str
    waiting: int
