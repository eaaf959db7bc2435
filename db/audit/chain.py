"""The hash chain of the audit trail: every event holds its own hash and that of the event before it.

Events are collected during a transaction and written last, so that the lock all writers share is held only
briefly, and no writer waits for a case while holding it.
"""

import hashlib
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from core import clock
from db import tables
from db.values.audit import Seal

# The previous hash of the first event.
GENESIS = "0" * 64

_FORMAT = "second-read-audit-1"
_FORMAT_WITH_CONTENT = "second-read-audit-2"
# Configuration key under which a migration passes the events it added to the upgrade.
ADDED_EVENTS = "second_read_added_events"
_LOCK = 0x5EC0_4D4F  # any number, but the same in every process and different from that of the upgrade
_TRAIL = "audit trail"  # key in `session.info` of the events collected so far


@dataclass(frozen=True, slots=True)
class Link:
    """The hashed fields of one event; `account_id` None means the program itself.

    `content` is the seal of the row that the event describes.
    """

    previous_hash: str
    number: int
    at: datetime
    account_id: int | None
    action: str
    subject: str
    content: Seal | None = None

    @property
    def hash(self) -> str:
        """Hash a canonical encoding of all fields: JSON, ASCII only, no spaces, times in UTC to the microsecond.

        Never change it: stored events could no longer be verified.
        """
        at = self.at.astimezone(UTC).isoformat(timespec="microseconds")
        fields = [_FORMAT, self.previous_hash, self.number, at, self.account_id, self.action, self.subject]
        if self.content:
            fields = [_FORMAT_WITH_CONTENT, *fields[1:], self.content.of, self.content.sha256]
        return hashlib.sha256(json.dumps(fields, separators=(",", ":")).encode("ascii")).hexdigest()


@dataclass(frozen=True, slots=True)
class AddedEvents:
    """The events that one transaction added: first and last number, and the hash of the last."""

    first: int
    last: int
    hash: str


@dataclass(frozen=True, slots=True)
class PendingEvent:
    """An event that is not written yet."""

    account_id: int | None
    action: str
    subject: str
    content: Seal | None = None


@dataclass(slots=True)
class _Trail:
    pending: list[PendingEvent] = field(default_factory=list)
    added: AddedEvents | None = None
    may_be_earlier: bool = False


def start_collecting(session: Session) -> None:
    """Make this session collect its events, to be written at its end by `write_pending`."""
    session.info[_TRAIL] = _Trail()


def add_event(session: Session, event: PendingEvent) -> None:
    """Add an event: at the end of a session that collects them, otherwise at once."""
    trail = _trail_of(session)
    trail.pending.append(event)
    if _TRAIL not in session.info:
        _write(session, trail)


def pending(session: Session) -> list[PendingEvent]:
    """Return the events that this session has collected but not yet written."""
    return list(_trail_of(session).pending)


def write_pending(session: Session) -> AddedEvents | None:
    """Append the collected events to the chain; return everything that this session has added."""
    trail = _trail_of(session)
    if trail.pending:
        _write(session, trail)
    return trail.added


def newest_moment(session: Session) -> datetime | None:
    """Return the time of the newest event; None if there is none."""
    event = tables.AuditEvent
    return session.scalar(select(event.at).order_by(event.id.desc()).limit(1))


def allow_earlier_time(session: Session) -> None:
    """Let the events of this session be earlier than the one before them, because the clock was set back."""
    _trail_of(session).may_be_earlier = True


def last_event(session: Session) -> AddedEvents:
    """Return the last event of the chain; number 0 if there is none."""
    event = tables.AuditEvent
    newest = session.execute(select(event.id, event.hash).order_by(event.id.desc()).limit(1)).first()
    return AddedEvents(newest[0], newest[0], newest[1]) if newest else AddedEvents(0, 0, GENESIS)


def lock_chain(session: Session) -> None:
    """Let this session be the only one that ends its work, until it commits.

    SQLite needs no extra lock: there is only one writing session at a time.
    """
    if session.get_bind().dialect.name == "postgresql":
        session.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})


def _trail_of(session: Session) -> _Trail:
    trail = session.info.get(_TRAIL)
    return trail if isinstance(trail, _Trail) else _Trail()


def _write(session: Session, trail: _Trail) -> None:
    """Chain the pending events to the last one while other writers wait.

    The lock is taken before the last event is read, in a separate statement, so that the read sees what the lock
    waited for.
    """
    lock_chain(session)
    last = last_event(session)
    # Corrections of the clock by less than what counts as set back do not show in the trail.
    earliest = None if trail.may_be_earlier else newest_moment(session)
    first, number, previous = last.last + 1, last.last, last.hash
    for event in trail.pending:
        number += 1
        now = clock.time_of_day() if trail.may_be_earlier else clock.now()
        at = max(now, earliest) if earliest else now
        link = Link(previous, number, at, event.account_id, event.action, event.subject, event.content)
        session.add(_row(link))
        previous = link.hash
    session.flush()
    trail.pending.clear()
    trail.added = AddedEvents(trail.added.first if trail.added else first, number, previous)


def _row(link: Link) -> tables.AuditEvent:
    return tables.AuditEvent(
        id=link.number,
        at=link.at,
        account_id=link.account_id,
        action=link.action,
        subject=link.subject,
        previous_hash=link.previous_hash,
        hash=link.hash,
        content_of=link.content.of if link.content else None,
        content_sha256=link.content.sha256 if link.content else None,
    )
