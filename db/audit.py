"""The audit trail: who did what to what, and when; lines are added and never changed."""

from datetime import UTC, datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from db import models
from db.values import Action, AuditEvent

# A page is drawn anew at every click; that is still the same opening of the case.
_SAME_OPENING = timedelta(minutes=10)


def record_event(session: Session, account_id: int | None, action: str, subject: str) -> None:
    """Add one line to the audit trail; `account_id` None means the program itself."""
    session.add(models.AuditEvent(at=datetime.now(UTC), account_id=account_id, action=str(action), subject=subject))
    session.flush()


def audit_trail(session: Session, *, subject: str | None = None, limit: int = 500) -> list[AuditEvent]:
    """Give the newest events, newest first; of one subject when asked."""
    event = models.AuditEvent
    query = select(event, models.Account.name).outerjoin(models.Account, models.Account.id == event.account_id)
    if subject is not None:
        query = query.where(event.subject == subject)
    rows = session.execute(query.order_by(event.id.desc()).limit(limit))
    return [AuditEvent(row.at, name, row.action, row.subject) for row, name in rows]


def record_opening(session: Session, account_id: int, accession: str) -> None:
    """Record that a case was opened, once as long as this reader does nothing else."""
    event = models.AuditEvent
    last = session.scalar(select(event).where(event.account_id == account_id).order_by(event.id.desc()).limit(1))
    same = last is not None and last.subject == accession and last.action in (Action.CASE_OPENED, Action.REVEALED)
    if last is None or not same or datetime.now(UTC) - last.at > _SAME_OPENING:
        record_event(session, account_id, Action.CASE_OPENED, accession)


def record_reveal(session: Session, account_id: int, accession: str) -> None:
    """Record the first time that this reader was shown the model's opinion of a case."""
    event = models.AuditEvent
    known = select(event.id).where(
        event.subject == accession, event.account_id == account_id, event.action == Action.REVEALED
    )
    if session.scalar(known.limit(1)) is None:
        record_event(session, account_id, Action.REVEALED, accession)
