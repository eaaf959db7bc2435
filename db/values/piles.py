"""The piles of a worklist: all cases of one reader with the same state, urgency and share form one.

The number of a pile is stored, so the numbers of states and shares must never change; a new state gets the next one.
"""

from dataclasses import dataclass
from enum import IntEnum

from db.values.reading import CaseState

STATE_NUMBERS: dict[CaseState, int] = {
    CaseState.READY: 0,
    CaseState.IN_READING: 1,  # depends on the time, so no row holds it
    CaseState.REVEALED: 2,
    CaseState.FIRST_READ: 3,
    CaseState.INCOMPLETE: 4,
    CaseState.WAITING: 5,
    CaseState.UNREADABLE: 6,
    CaseState.DISCORDANT: 7,
    CaseState.ADJUDICATION: 8,
    CaseState.FINAL: 9,
    CaseState.RESOLVED: 10,
    CaseState.SIGNED_OFF: 11,
    CaseState.AMENDED: 12,
}
SHARES = 3
_STATES = {number: state for state, number in STATE_NUMBERS.items()}

# Cases that wait for this reader come first, then those that wait for others or for the analysis, then finished ones.
TO_DO = (CaseState.READY, CaseState.IN_READING, CaseState.REVEALED, CaseState.FIRST_READ)
_UNREAD = (CaseState.READY, CaseState.IN_READING)
_AFTER_TO_DO = (
    CaseState.INCOMPLETE,
    CaseState.WAITING,
    CaseState.UNREADABLE,
    CaseState.DISCORDANT,
    CaseState.ADJUDICATION,
    CaseState.FINAL,
    CaseState.RESOLVED,
    CaseState.SIGNED_OFF,
    CaseState.AMENDED,
)

WorkKey = tuple[int, bool, bool, bool, bool]


class Share(IntEnum):
    """To whom a case is assigned, as its reader sees it."""

    NOBODY = 0
    MINE = 1  # and perhaps to others too
    OTHERS = 2


@dataclass(frozen=True, slots=True)
class Pile:
    """The cases of one reader that have the same state and the same place in the order of work."""

    state: CaseState
    urgent: bool
    share: Share

    @classmethod
    def of_number(cls, number: int) -> "Pile":
        """Return the pile with a number."""
        state, rest = divmod(number, 2 * SHARES)
        return cls(_STATES[state], rest >= SHARES, Share(rest % SHARES))

    @property
    def number(self) -> int:
        """The number that is stored."""
        return (STATE_NUMBERS[self.state] * 2 + self.urgent) * SHARES + self.share

    @property
    def only_for_others(self) -> bool:
        """Whether its cases are unread and assigned only to others; a case already begun may be finished."""
        return self.share is Share.OTHERS and self.state in _UNREAD

    @property
    def to_do(self) -> bool:
        """Whether its cases wait for this reader."""
        return self.state in TO_DO and not self.only_for_others

    def work_key(self, *, open_elsewhere: bool = False) -> WorkKey:
        """Return the place in the order of work; ties are broken by case.

        Urgent cases come first, those that another reader has open last; unread cases come before those already
        begun, and those assigned to this reader before others.
        """
        place = 0 if self.state in TO_DO else 2 + _AFTER_TO_DO.index(self.state)
        rank = 1 if self.only_for_others else place
        begun = self.state in (CaseState.REVEALED, CaseState.FIRST_READ)
        return rank, open_elsewhere, not self.urgent, begun, self.share is not Share.MINE
