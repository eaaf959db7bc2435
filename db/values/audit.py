"""Values of the audit trail: filters, row seals, and the result of a verification."""

import re
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Literal

# Used instead of an account name for what the program did itself.
PROGRAM = ""

SHA256 = re.compile(r"[0-9a-f]{64}")
_ROW_LIMIT = 120  # characters; the width of the column

EVENT_COLUMNS = (
    ("event", "number of the event; events are numbered without gaps"),
    ("at", "time of the event, in UTC"),
    ("account", "who did it; empty for the program itself"),
    ("action", "what was done"),
    ("subject", "to which case or what else"),
)
"""The columns of a table of events, and what is in them."""


class Action(StrEnum):
    """Actions in the audit trail; accounts and results have their own. Never change the words: they are stored."""

    CASE_ADDED = "case added"
    IMAGE_ADDED = "image added"
    INTAKE_BEGUN = "intake begun"
    INTAKE_ENDED = "intake ended"
    IMAGES_ORDERED = "images ordered"
    MAGNIFICATION_SET = "magnification set"
    SCALE_SET = "scale set"
    QUALITY_ASSESSED = "quality assessed again"
    OBJECTIVE_SET = "objective set"
    CASE_OPENED = "case opened"
    FIRST_READ = "first read saved"
    REVEALED = "revealed"
    SIMILAR_SHOWN = "similar cases shown"
    FINAL_READ = "final read saved"
    AMENDED = "read amended"
    WITHDRAWN = "read withdrawn"
    OPINIONS_SHOWN = "opinions of others shown"
    CONSENSUS = "consensus saved"
    SIGNED_OFF = "signed off"  # a case; a person who ends a sign-in is AccessAction.SIGNED_OUT
    SIGN_OFF_AMENDED = "sign-off amended"
    ASSIGNED = "case assigned"
    UNASSIGNED = "assignment withdrawn"
    PRIORITY_SET = "priority set"
    STUDY_MADE = "study made"
    STUDY_CLOSED = "study closed"
    EXPORTED = "exported"
    MODEL_IN_SERVICE = "model put into service"
    MODEL_CONFIRMED = "explanation of the model confirmed"
    THRESHOLD_CHOSEN = "threshold of the model chosen"
    SITE_CALIBRATED = "model fitted to this site"
    OPENED_TO_PREDICTIONS = "case opened to predictions"
    CHAINED = "audit trail chained"
    BACKED_UP = "backed up"
    RESTORED = "restored"
    CLOCK_SET_BACK = "clock set back"


@dataclass(frozen=True, slots=True)
class AuditEvent:
    """One line of the audit trail; `account` None means the program itself."""

    at: datetime
    account: str | None
    action: str
    subject: str
    number: int


@dataclass(frozen=True, slots=True)
class EventFilter:
    """A filter for events; None means any. `since` is inclusive, `until` exclusive.

    `account` may be `PROGRAM`, and `about` matches any part of the subject, ignoring upper and lower case.
    """

    account: str | None = None
    action: str | None = None
    subject: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    about: str | None = None


Kind = Literal["changed", "missing", "inserted", "unanchored", "unprotected"]


class TrailAction(StrEnum):
    """Actions in the audit trail that concern stored results and the trail itself; the words are stored."""

    SEALED = "row sealed"  # a row that existed before rows were sealed
    VERIFIED = "audit trail verified"
    ANALYSED = "image analysed"
    ANALYSIS_ENDED = "analysis ended"
    QUEUED_AGAIN = "analysis queued again"
    EVALUATED = "evaluation stored"
    SHIFT_STORED = "domain shift stored"


@dataclass(frozen=True, slots=True)
class Seal:
    """The digest of one row, such as "reads 7", when its event was written; made by `db.audit.seals`."""

    of: str
    sha256: str
    row_is_gone: bool = field(default=False, compare=False)  # only rows that belong to it are stored

    def __post_init__(self) -> None:
        if not 0 < len(self.of) <= _ROW_LIMIT or not SHA256.fullmatch(self.sha256):
            raise ValueError(f"a seal needs a row and its sha256, got {self.of!r} and {self.sha256!r}")


@dataclass(frozen=True, slots=True)
class AuditFinding:
    """Something that this program would not have written, in the events `first` to `last`.

    Numbers of 0 mean the whole trail. With `row`, that row does not match its event.
    """

    kind: Kind
    first: int
    last: int
    words: str
    row: str = ""

    def __post_init__(self) -> None:
        if not 0 <= self.first <= self.last:
            raise ValueError(f"a finding needs event numbers in order, got {self.first} to {self.last}")

    def __str__(self) -> str:
        where = "" if not self.last else f" event {self.first}" if self.first == self.last else self._between
        if self.row:
            where = f" {self.row} of{where}" if where else f" {self.row}"
        return f"{self.kind}{where}: {self.words}"

    @property
    def _between(self) -> str:
        return f" events {self.first} to {self.last}"


@dataclass(frozen=True, slots=True)
class Verification:
    """The result of a verification; `anchored` is the last event that the anchor file confirms.

    `rows` is the number of sealed rows checked, `files` that of stored files; 0 if they were left out.
    """

    events: int
    anchored: int
    findings: tuple[AuditFinding, ...]
    rows: int = 0
    files: int = 0

    @property
    def whole(self) -> bool:
        """Return whether there are no findings."""
        return not self.findings
