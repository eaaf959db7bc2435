"""The audit trail: who did what to what, and when; events are added and never changed."""

from datetime import UTC, datetime, timedelta

from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import Session

from db import tables
from db.audit.chain import PendingEvent, add_event, pending
from db.queries.events import is_event_of
from db.queries.text_search import contains_text
from db.values.audit import PROGRAM, Action, EventFilter, Seal

# A page is redrawn at every click; that still counts as opening the case once.
_SAME_OPENING = timedelta(minutes=10)
_ACTION_LIMIT = 64  # characters; the widths of the columns
_SUBJECT_LIMIT = 200


def record_event(
    session: Session, account_id: int | None, action: str, subject: str, *, content: Seal | None = None
) -> None:
    """Add one event to the audit trail when the session is saved; `account_id` None means the program itself.

    `content` is the seal of the row that the event describes, from `db.audit.seals.seal`: it reveals any change of
    that row made outside the program.
    """
    # The row itself is written now; only the event waits for its place in the chain.
    session.flush()
    # Cut to the column widths: SQLite would store more, and PostgreSQL would refuse the transaction.
    add_event(session, PendingEvent(account_id, str(action)[:_ACTION_LIMIT], subject[:_SUBJECT_LIMIT], content))


def event_conditions(filters: EventFilter) -> list[ColumnElement[bool]]:
    """Return the SQL conditions of a filter, for a query that joins the account."""
    event, person = tables.AuditEvent, tables.Account.name
    terms: list[ColumnElement[bool]] = []
    if filters.account is not None:
        terms.append(event.account_id.is_(None) if filters.account == PROGRAM else person == filters.account)
    if filters.action is not None:
        terms.append(event.action == filters.action)
    if filters.subject is not None:
        terms.append(event.subject == filters.subject)
    if filters.about is not None:
        terms.append(contains_text(event.subject, filters.about))
    if filters.since is not None:
        terms.append(event.at >= filters.since)
    if filters.until is not None:
        terms.append(event.at < filters.until)
    return terms


def record_opening(session: Session, account_id: int, accession: str) -> None:
    """Record that a case was opened, unless it was the last thing this reader did."""
    event = tables.AuditEvent
    now = datetime.now(UTC)
    recent = [(now, one.action, one.subject) for one in pending(session) if one.account_id == account_id]
    if not recent:
        last = session.scalar(select(event).where(event.account_id == account_id).order_by(event.id.desc()).limit(1))
        recent = [(last.at, last.action, last.subject)] if last else []
    for at, action, subject in recent[-1:]:
        same = subject == accession and action in (Action.CASE_OPENED, Action.REVEALED)
        if same and now - at <= _SAME_OPENING:
            return
    record_event(session, account_id, Action.CASE_OPENED, accession)


def record_reveal(session: Session, account_id: int, accession: str) -> None:
    """Record the first time that this reader was shown the model's opinion of a case."""
    record_first_time(session, account_id, Action.REVEALED, accession)


def record_first_time(session: Session, account_id: int, action: Action, subject: str) -> None:
    """Record an action unless this account has already done it to this subject."""
    if not was_recorded(session, account_id, action, subject):
        record_event(session, account_id, action, subject)


def was_recorded(session: Session, account_id: int, action: Action, subject: str) -> bool:
    """Return whether this account has ever done this to this subject, in this session or before."""
    event = tables.AuditEvent
    query = select(event.id).where(event.subject == subject, is_event_of(event, account_id), event.action == action)
    is_pending = PendingEvent(account_id, str(action), subject) in pending(session)
    return is_pending or session.scalar(query.limit(1)) is not None
