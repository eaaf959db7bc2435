"""Rows of consensus: the current one of a case, and who has seen the readers' opinions."""

from sqlalchemy import BindParameter, ColumnElement, Select, exists, select
from sqlalchemy.orm import InstrumentedAttribute, Session, aliased

from db import tables
from db.audit.trail import was_recorded
from db.errors import CaseChangedError
from db.values.adjudication import Consensus
from db.values.audit import Action

# Made once: each alias lays its columns out anew.
_NEWER, _SETTLED = aliased(tables.Consensus), aliased(tables.Consensus)


def current_consensus(session: Session, case_id: int) -> Consensus | None:
    """Return the current consensus on a case, which no later one has replaced."""
    consensus = tables.Consensus
    query = select(consensus, tables.Account.name).join(tables.Account, tables.Account.id == consensus.account_id)
    row = session.execute(query.where(consensus.case_id == case_id, is_current_consensus(consensus))).first()
    return consensus_value(row[0], row[1]) if row else None


def is_current_consensus(consensus: type[tables.Consensus]) -> ColumnElement[bool]:
    """Select the consensus that no other has replaced."""
    return ~select(_NEWER.id).where(_NEWER.supersedes_id == consensus.id).exists()


def settled_by(account_id: int | BindParameter[int]) -> Select[int]:
    """Select the ids of the cases on which this account has ever saved a consensus."""
    return select(tables.Consensus.case_id).where(tables.Consensus.account_id == account_id)


def has_settled(
    case_id: ColumnElement[int] | InstrumentedAttribute[int],
    account_id: ColumnElement[int] | InstrumentedAttribute[int] | int,
) -> ColumnElement[bool]:
    """Select the cases on which an account has ever saved a consensus, one case at a time."""
    return exists().where(_SETTLED.case_id == case_id, _SETTLED.account_id == account_id)


def consensus_value(row: tables.Consensus, adjudicator: str) -> Consensus:
    """Convert a row to a value."""
    return Consensus(
        id=row.id,
        case_id=row.case_id,
        adjudicator=adjudicator,
        label=row.label,
        confidence=row.confidence,
        subtype=row.subtype,
        severity=row.severity,
        note=row.note,
        opened_at=row.opened_at,
        saved_at=row.saved_at,
        supersedes=row.supersedes_id,
    )


def refuse_adjudicator(session: Session, case: tables.Case, account_id: int) -> None:
    """Refuse a final read by an adjudicator who has seen the readers' opinions: it would not be independent.

    Raises:
        CaseChangedError: If this account has seen them; the message says where to go instead.
    """
    if was_recorded(session, account_id, Action.OPINIONS_SHOWN, case.accession):
        raise CaseChangedError(
            f"as an adjudicator you have already seen the readers' opinions of {case.accession}: "
            "settle it under Adjudication"
        )
