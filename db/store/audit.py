"""The audit trail for administrators: filtered events, and verification."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

from core.wording import count_words
from db import tables
from db.audit.chain import write_pending
from db.audit.trail import event_conditions, record_event
from db.audit.verify import Progress, verify
from db.database import Sessions
from db.files import Files
from db.queries.permissions import require_permission
from db.values.accounts import Permission
from db.values.audit import AuditEvent, EventFilter, TrailAction, Verification

AT_ONCE = 1000  # events in memory


def audit_trail(
    session: Session,
    *,
    subject: str | None = None,
    limit: int | None = 500,
    offset: int = 0,
    filters: EventFilter | None = None,
) -> list[AuditEvent]:
    """Return the newest events, newest first; all of them if `limit` is None, or only those of one subject."""
    # Include the events of this session.
    write_pending(session)
    query = _newest_first(filters or EventFilter())
    if subject is not None:
        query = query.where(tables.AuditEvent.subject == subject)
    return [AuditEvent(*row) for row in session.execute(query.limit(limit).offset(offset))]


def each_event(session: Session, filters: EventFilter, most: int | None = None) -> Iterator[AuditEvent]:
    """Yield the newest matching events, newest first, all or so many of them; few are in memory at once."""
    write_pending(session)
    query = _newest_first(filters)
    yielded, before = 0, None
    while most is None or yielded < most:
        many = AT_ONCE if most is None else min(AT_ONCE, most - yielded)
        page = query if before is None else query.where(tables.AuditEvent.id < before)
        rows = session.execute(page.limit(many)).all()
        for row in rows:
            yield AuditEvent(*row)
        yielded += len(rows)
        if len(rows) < many:
            return
        before = rows[-1].id


def _newest_first(filters: EventFilter) -> Select[datetime, str, str, str, int]:
    """Select the matching events, in the order of the fields of AuditEvent."""
    event = tables.AuditEvent
    # Columns, not rows, which the session would keep.
    query = select(event.at, tables.Account.name, event.action, event.subject, event.id)
    query = query.outerjoin(tables.Account, tables.Account.id == event.account_id)
    return query.where(*event_conditions(filters)).order_by(event.id.desc())


@dataclass(frozen=True, slots=True)
class EventPage:
    """One page of the matching events, newest first, and the total number of matches."""

    events: tuple[AuditEvent, ...]
    found: int


@dataclass(frozen=True, slots=True)
class EventChoices:
    """The accounts and actions that occur in the audit trail, sorted alphabetically."""

    accounts: tuple[str, ...]
    actions: tuple[str, ...]


def event_page(session: Session, by: int | None, filters: EventFilter, *, number: int, size: int) -> EventPage:
    """Return one page of the matching events; the newest are on page 1.

    Raises:
        NotAllowedError: If `by` is not an administrator.
    """
    require_permission(session, by, Permission.ADMINISTER)
    event = tables.AuditEvent
    query = select(func.count()).select_from(event)
    if filters.account is not None:  # otherwise, the join would only cost time
        query = query.outerjoin(tables.Account, tables.Account.id == event.account_id)
    total = session.scalar(query.where(*event_conditions(filters))) or 0
    return EventPage(tuple(audit_trail(session, limit=size, offset=(number - 1) * size, filters=filters)), total)


def event_choices(session: Session, by: int | None) -> EventChoices:
    """Return the accounts and actions that occur in the audit trail.

    Raises:
        NotAllowedError: If `by` is not an administrator.
    """
    require_permission(session, by, Permission.ADMINISTER)
    event = tables.AuditEvent
    acted = select(event.id).where(event.account_id == tables.Account.id).exists()
    people = select(tables.Account.name).where(acted)
    # Without an index of actions: SQLite would use it to find the few events of a case among all of an action.
    actions = select(event.action).distinct()
    return EventChoices(tuple(sorted(session.scalars(people))), tuple(sorted(session.scalars(actions))))


def all_events(session: Session, by: int | None, filters: EventFilter) -> Iterator[AuditEvent]:
    """Return all matching events, newest first, as the database gives them.

    Raises:
        NotAllowedError: If `by` is not an administrator.
    """
    require_permission(session, by, Permission.ADMINISTER)
    return each_event(session, filters)


def verify_for(sessions: Sessions, files: Files, by: int | None, progress: Progress) -> Verification:
    """Verify the audit trail, the sealed rows and the stored files; record who did so and the number of findings.

    Raises:
        NotAllowedError: If `by` is not an administrator.
    """
    with sessions.read() as session:
        require_permission(session, by, Permission.ADMINISTER)
    verified = verify(sessions, files=files, progress=progress)
    with sessions.begin() as session:
        number = len(verified.findings)
        words = "nothing found" if verified.whole else count_words(number, "finding")
        counts = ((verified.events, "event"), (verified.rows, "row"), (verified.files, "file"))
        checked = ", ".join(count_words(count, noun) for count, noun in counts)
        record_event(session, by, TrailAction.VERIFIED, f"{checked}: {words}")
    return verified
