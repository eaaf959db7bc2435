"""Consensus as rows: the standing one of a case, and who has seen what others said of it."""

from sqlalchemy import BindParameter, ColumnElement, Select, select
from sqlalchemy.orm import Session, aliased

from db import tables
from db.audit.trail import record_first_time, was_recorded
from db.errors import CaseChangedError
from db.values.reading import Action, Consensus


def standing_consensus(session: Session, case_id: int) -> Consensus | None:
    """Give the consensus on a case that no later one has replaced."""
    consensus = tables.Consensus
    query = select(consensus, tables.Account.name).join(tables.Account, tables.Account.id == consensus.account_id)
    found = session.execute(query.where(consensus.case_id == case_id, is_standing(consensus))).first()
    return consensus_value(found[0], found[1]) if found else None


def is_standing(consensus: type[tables.Consensus]) -> ColumnElement[bool]:
    """Select the consensus that no other has replaced."""
    newer = aliased(tables.Consensus)
    return ~select(newer.id).where(newer.supersedes_id == consensus.id).exists()


def settled_by(account_id: int | BindParameter[int]) -> Select[int]:
    """Select the ids of the cases on which this account ever gave a consensus."""
    return select(tables.Consensus.case_id).where(tables.Consensus.account_id == account_id)


def consensus_value(row: tables.Consensus, adjudicator: str) -> Consensus:
    """Give a row as a value."""
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


def record_shown(session: Session, account_id: int, accession: str) -> None:
    """Record the first time that an adjudicator was shown what the readers of a case said."""
    record_first_time(session, account_id, Action.OPINIONS_SHOWN, accession)


def refuse_adjudicator(session: Session, case: tables.Case, account_id: int) -> None:
    """Refuse a final read by who has seen the others' as an adjudicator: it would not be an opinion of its own.

    Raises:
        CaseChangedError: With where to go instead.
    """
    if was_recorded(session, account_id, Action.OPINIONS_SHOWN, case.accession):
        raise CaseChangedError(
            f"you have seen as an adjudicator what the readers of {case.accession} said: settle it under Adjudication"
        )
