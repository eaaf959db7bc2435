"""What checking the audit trail gives: where it was changed, and how that shows."""

from dataclasses import dataclass
from typing import Literal

Kind = Literal["changed", "missing", "inserted", "unanchored", "unprotected"]


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that this program would not have written; it lies among the events `first` to `last`.

    Numbers of 0 mean the trail as a whole.
    """

    kind: Kind
    first: int
    last: int
    words: str

    def __post_init__(self) -> None:
        if not 0 <= self.first <= self.last:
            raise ValueError(f"a finding lies among events in order, got {self.first} to {self.last}")

    def __str__(self) -> str:
        where = "" if not self.last else f" event {self.first}" if self.first == self.last else self._between
        return f"{self.kind}{where}: {self.words}"

    @property
    def _between(self) -> str:
        return f" events {self.first} to {self.last}"


@dataclass(frozen=True, slots=True)
class Verified:
    """What was looked at and what was found; `anchored` is the last event that the anchor confirms."""

    events: int
    anchored: int
    findings: tuple[Finding, ...]

    @property
    def whole(self) -> bool:
        """Say whether nothing was found."""
        return not self.findings
