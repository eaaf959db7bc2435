"""The few cases whose state for a reader depends on the time: those that are open now, and those with Undo."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import Integer, Select, bindparam, select
from sqlalchemy.orm import Session, aliased

from core import clock
from db import tables
from db.queries.cached import cache_statement
from db.queries.reader_knowledge import UndoWindow, can_be_withdrawn, others_have_read
from db.tables import UtcDateTime
from db.values.piles import Pile
from db.values.reading import GRACE, CaseState, Holder

_READER = bindparam("reader", type_=Integer())
_NOW = bindparam("now", type_=UtcDateTime())
_UNDO = UndoWindow(bindparam("undo_after", type_=UtcDateTime()), _NOW)

# What only those who know others' opinions may learn of a case; while Undo is possible, it is final for its reader.
_OF_OTHERS = (CaseState.RESOLVED, CaseState.ADJUDICATION, CaseState.DISCORDANT)


@dataclass(frozen=True, slots=True)
class LiveCases:
    """The cases that others have open, the one that this reader has open, and those whose final read has Undo."""

    elsewhere: Mapping[int, Holder]
    mine: int | None
    with_undo: frozenset[int]

    @property
    def ids(self) -> frozenset[int]:
        """The ids of all these cases."""
        return self.with_undo | self.elsewhere.keys() | ({self.mine} if self.mine is not None else set())

    def now(self, case_id: int, pile: Pile) -> Pile:
        """Return the pile on which a case is for the reader now."""
        if pile.state in _OF_OTHERS and case_id in self.with_undo:
            return replace(pile, state=CaseState.FINAL)
        if pile.state is CaseState.READY and case_id == self.mine:
            return replace(pile, state=CaseState.IN_READING)
        return pile


def live_cases(session: Session, account_id: int) -> LiveCases:
    """Return the live cases of a reader.

    Several holders of a case are named in one `Holder`, with the time of the first.
    """
    now = clock.now()
    parameters: dict[str, int | datetime] = {"reader": account_id, "now": now, "undo_after": now - GRACE}
    elsewhere: dict[int, Holder] = {}
    mine: int | None = None
    for case_id, holder, name, since in session.execute(_claims(), parameters):
        if holder == account_id:
            mine = case_id
        elif case_id in elsewhere:
            before = elsewhere[case_id]
            elsewhere[case_id] = Holder(f"{before.reader}, {name}", before.since)
        else:
            elsewhere[case_id] = Holder(name, since)
    return LiveCases(elsewhere, mine, frozenset(session.scalars(_with_undo(), parameters)))


@cache_statement
def _claims() -> Select[int, int, str, datetime]:
    claim, account = tables.Claim, tables.Account
    return (
        select(claim.case_id, claim.account_id, account.name, claim.claimed_at)
        .join(account, account.id == claim.account_id)
        .where(claim.expires_at > _NOW)
        .order_by(claim.claimed_at, claim.account_id)
    )


@cache_statement
def _with_undo() -> Select[int]:
    final = aliased(tables.Read)
    return select(final.case_id).where(
        final.account_id == _READER,
        can_be_withdrawn(final, _UNDO),
        others_have_read(final.case_id, final.account_id),
    )
