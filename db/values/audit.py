"""What checking the audit trail gives: where it was changed, and how that shows."""

import re
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Literal

# Instead of the name of an account: what nobody did but the program itself.
PROGRAM = ""


@dataclass(frozen=True, slots=True)
class EventFilter:
    """Which events are wanted; None means any. `since` is inside, `until` is not.

    `account` may be `PROGRAM`, and `about` is any part of the subject, in any case of letters.
    """

    account: str | None = None
    action: str | None = None
    subject: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    about: str | None = None


Kind = Literal["changed", "missing", "inserted", "unanchored", "unprotected"]


_SHA256 = re.compile(r"[0-9a-f]{64}")
_ROW_LIMIT = 120  # characters; the width of the column


class TrailAction(StrEnum):
    """What the audit trail says of the records themselves."""

    SEALED = "row sealed"  # one that was there before rows were sealed
    VERIFIED = "audit trail verified"
    ANALYSED = "image analysed"
    EVALUATED = "evaluation stored"
    SHIFT_STORED = "domain shift stored"


@dataclass(frozen=True, slots=True)
class Seal:
    """The digest of one row, as "reads 7" names it, when an event told of it; made by `db.audit.seals`."""

    of: str
    sha256: str

    def __post_init__(self) -> None:
        if not 0 < len(self.of) <= _ROW_LIMIT or not _SHA256.fullmatch(self.sha256):
            raise ValueError(f"a seal names a row and its sha256, got {self.of!r} and {self.sha256!r}")


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that this program would not have written; it lies among the events `first` to `last`.

    Numbers of 0 mean the trail as a whole. With `row`, it is that row which is not as the event says.
    """

    kind: Kind
    first: int
    last: int
    words: str
    row: str = ""

    def __post_init__(self) -> None:
        if not 0 <= self.first <= self.last:
            raise ValueError(f"a finding lies among events in order, got {self.first} to {self.last}")

    def __str__(self) -> str:
        where = "" if not self.last else f" event {self.first}" if self.first == self.last else self._between
        if self.row:
            where = f" {self.row} of{where}" if where else f" {self.row}"
        return f"{self.kind}{where}: {self.words}"

    @property
    def _between(self) -> str:
        return f" events {self.first} to {self.last}"


@dataclass(frozen=True, slots=True)
class Verified:
    """What was looked at and what was found; `anchored` is the last event that the anchor confirms.

    `rows` are those of the tables whose rows events tell of.
    """

    events: int
    anchored: int
    findings: tuple[Finding, ...]
    rows: int = 0

    @property
    def whole(self) -> bool:
        """Say whether nothing was found."""
        return not self.findings
