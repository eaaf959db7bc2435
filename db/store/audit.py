"""What administrators see of the audit trail: its events by what is asked, and whether anybody changed it."""

from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from db import tables
from db.audit.chain import write_pending
from db.audit.trail import conditions, record_event
from db.audit.verify import Progress, verify
from db.database import Sessions
from db.queries.permissions import need
from db.values.accounts import Permission
from db.values.audit import EventFilter, TrailAction, Verified
from db.values.reading import AuditEvent


def audit_trail(
    session: Session,
    *,
    subject: str | None = None,
    limit: int | None = 500,
    offset: int = 0,
    wanted: EventFilter | None = None,
) -> list[AuditEvent]:
    """Return the newest events, newest first, all of them with `limit` None; of one subject when asked."""
    # Those of this very session are part of it.
    write_pending(session)
    event = tables.AuditEvent
    query = select(event, tables.Account.name).outerjoin(tables.Account, tables.Account.id == event.account_id)
    query = query.where(*conditions(wanted or EventFilter()))
    if subject is not None:
        query = query.where(event.subject == subject)
    rows = session.execute(query.order_by(event.id.desc()).limit(limit).offset(offset))
    return [AuditEvent(row.at, name, row.action, row.subject, row.id) for row, name in rows]


@dataclass(frozen=True, slots=True)
class EventPage:
    """Some of the events that were asked for, newest first, and how many there are in all."""

    events: tuple[AuditEvent, ...]
    found: int


@dataclass(frozen=True, slots=True)
class EventChoices:
    """Who did anything at all, and what was ever done, in the order of the alphabet."""

    accounts: tuple[str, ...]
    actions: tuple[str, ...]


def event_page(session: Session, by: int | None, wanted: EventFilter, *, number: int, size: int) -> EventPage:
    """Return one page of the events that are wanted; the newest are on page 1.

    Raises:
        NotAllowedError: If this account may not.
    """
    need(session, by, Permission.ADMINISTER)
    event = tables.AuditEvent
    query = select(func.count()).select_from(event).outerjoin(tables.Account, tables.Account.id == event.account_id)
    found = session.scalar(query.where(*conditions(wanted))) or 0
    return EventPage(tuple(audit_trail(session, limit=size, offset=(number - 1) * size, wanted=wanted)), found)


def event_choices(session: Session, by: int | None) -> EventChoices:
    """Return the accounts and the actions that stand in the audit trail.

    Raises:
        NotAllowedError: If this account may not.
    """
    need(session, by, Permission.ADMINISTER)
    event = tables.AuditEvent
    people = select(tables.Account.name).where(tables.Account.id.in_(select(event.account_id)))
    actions = select(event.action).distinct()
    return EventChoices(tuple(sorted(session.scalars(people))), tuple(sorted(session.scalars(actions))))


def all_events(session: Session, by: int | None, wanted: EventFilter) -> list[AuditEvent]:
    """Return every event that is wanted, newest first.

    Raises:
        NotAllowedError: If this account may not.
    """
    need(session, by, Permission.ADMINISTER)
    return audit_trail(session, limit=None, wanted=wanted)


def verify_for(sessions: Sessions, by: int | None, progress: Progress) -> Verified:
    """Check the audit trail and the rows it tells of, and record who asked and how many things were found.

    Raises:
        NotAllowedError: If this account may not.
    """
    with sessions.read() as session:
        need(session, by, Permission.ADMINISTER)
    verified = verify(sessions, progress=progress)
    with sessions.begin() as session:
        found = len(verified.findings)
        words = "nothing found" if verified.whole else f"{found} finding{'s' if found > 1 else ''}"
        record_event(session, by, TrailAction.VERIFIED, f"{verified.events} events, {verified.rows} rows: {words}")
    return verified
