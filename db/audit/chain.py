"""The chain of the audit trail: every event holds its own hash and that of the event before it.

Events are gathered while a click is saved and written last, so that the one lock which all writers share is
held for a moment only, and nobody waits for a case while holding it.
"""

import hashlib
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from db import tables
from db.values.audit import Seal

# What the first event follows.
GENESIS = "0" * 64

_FORMAT = "second-read-audit-1"
_FORMAT_WITH_CONTENT = "second-read-audit-2"
# Under which a revision tells the upgrade which events it added.
ADDED_EVENTS = "second_read_added_events"
_LOCK = 0x5EC0_4D4F  # any number, but the same in every process, and another than that of the upgrade
_TRAIL = "audit trail"  # where a session keeps what it gathers


@dataclass(frozen=True, slots=True)
class Link:
    """All that is hashed of one event; `account_id` None means the program itself.

    `content` is the seal of the row that the event tells of.
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
        """Hash a canonical encoding of all fields: JSON, ASCII only, no blanks, times in UTC to the microsecond.

        Never to be changed: the hashes of the events that are already stored could no longer be checked.
        """
        at = self.at.astimezone(UTC).isoformat(timespec="microseconds")
        fields = [_FORMAT, self.previous_hash, self.number, at, self.account_id, self.action, self.subject]
        if self.content:
            fields = [_FORMAT_WITH_CONTENT, *fields[1:], self.content.of, self.content.sha256]
        return hashlib.sha256(json.dumps(fields, separators=(",", ":")).encode("ascii")).hexdigest()


@dataclass(frozen=True, slots=True)
class Added:
    """The events that one click added: their first and last number, and the hash of the last."""

    first: int
    last: int
    hash: str


@dataclass(frozen=True, slots=True)
class Pending:
    """An event that waits to be written."""

    account_id: int | None
    action: str
    subject: str
    content: Seal | None = None


@dataclass(slots=True)
class _Trail:
    pending: list[Pending] = field(default_factory=list)
    added: Added | None = None


def gather(session: Session) -> None:
    """Let this session gather its events, to be written at its end by `write_pending`."""
    session.info[_TRAIL] = _Trail()


def append(session: Session, event: Pending) -> None:
    """Add an event: at the end of a session that gathers them, else at once."""
    trail = _trail_of(session)
    trail.pending.append(event)
    if _TRAIL not in session.info:
        _write(session, trail)


def pending(session: Session) -> list[Pending]:
    """Give the events that this session has gathered and not yet written."""
    return list(_trail_of(session).pending)


def write_pending(session: Session) -> Added | None:
    """Write what the session gathered at the end of the chain; say what it has added in all."""
    trail = _trail_of(session)
    if trail.pending:
        _write(session, trail)
    return trail.added


def head(session: Session) -> Added:
    """Give the last event of the chain; number 0 where there is none."""
    event = tables.AuditEvent
    found = session.execute(select(event.id, event.hash).order_by(event.id.desc()).limit(1)).first()
    return Added(found[0], found[0], found[1]) if found else Added(0, 0, GENESIS)


def _trail_of(session: Session) -> _Trail:
    found = session.info.get(_TRAIL)
    return found if isinstance(found, _Trail) else _Trail()


def _write(session: Session, trail: _Trail) -> None:
    """Chain the pending events to the last one; whoever comes meanwhile waits.

    SQLite needs no lock of its own: a writing session is the only one. On PostgreSQL the lock comes before
    the look at the last event, in a statement of its own, so that the look sees what the lock waited for.
    """
    if session.get_bind().dialect.name == "postgresql":
        session.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
    last = head(session)
    first, number, previous = last.last + 1, last.last, last.hash
    for event in trail.pending:
        number += 1
        link = Link(previous, number, datetime.now(UTC), event.account_id, event.action, event.subject, event.content)
        session.add(_row(link))
        previous = link.hash
    session.flush()
    trail.pending.clear()
    trail.added = Added(trail.added.first if trail.added else first, number, previous)


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
