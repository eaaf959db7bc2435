"""Checks the audit trail and says where it was changed: by its chain, by its anchor, and by its triggers."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import text
from sqlalchemy.orm import Session

from db.audit_anchor import anchor_findings
from db.audit_chain import GENESIS, Link
from db.audit_heads import HeadLine, until
from db.audit_values import Finding, Verified
from db.session import Sessions

_AT_ONCE = 1000  # rows
_NO_TIME = datetime.min.replace(tzinfo=UTC)
_SELECT = "SELECT previous_hash, id, at, account_id, action, subject, hash FROM audit_events ORDER BY id"
_SQLITE_TRIGGERS = "SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'audit_events'"
_POSTGRESQL_TRIGGERS = (
    "SELECT tgname FROM pg_trigger WHERE tgrelid = 'audit_events'::regclass AND NOT tgisinternal AND tgenabled <> 'D'"
)


@dataclass(frozen=True, slots=True)
class Stored:
    """One event as it is stored: what it says, and the hash that it says it has."""

    link: Link
    hash: str
    computed: str

    @property
    def agrees(self) -> bool:
        """Say whether the event has the hash of what it says."""
        return self.hash == self.computed

    @property
    def number(self) -> int:
        """The event's number."""
        return self.link.number


def verify(sessions: Sessions, *, copy: Sequence[HeadLine | str] | None = None) -> Verified:
    """Check every event of a database, while others may go on adding.

    Args:
        sessions: The database and, where there is one, its anchor.
        copy: The lines of an older copy of the file of heads, to compare with instead.
    """
    before = sessions.heads.lines() if sessions.heads and copy is None else []
    with sessions.read() as session:
        events = list(_events(session))
        findings = [*_unprotected(session), *chain_findings(events)]
    lines = copy
    if sessions.heads and copy is None:
        lines = until(before, sessions.heads.lines(), events[-1].number if events else 0)
    if lines is not None:
        hashes = {event.number: event.hash for event in events}
        actions = {event.number: event.link.action for event in events}
        findings += _new(findings, anchor_findings(hashes, actions, lines, complete=copy is None))
    confirmed = [line.added.last for line in lines or () if isinstance(line, HeadLine) and line.state != "saving"]
    return Verified(len(events), max(confirmed, default=0), tuple(findings))


def chain_findings(events: Sequence[Stored]) -> list[Finding]:
    """Follow the chain from its beginning and say where it is broken.

    An event that follows one further back shows that those between do not belong to the chain. Where it
    follows none that is there, numbers left out say that events are missing; else one of the two was changed.
    """
    place = {GENESIS: -1}  # of the event with this hash, among those already passed
    found: list[Finding] = []
    broken: list[tuple[int, Finding]] = []  # the place of the event that follows nothing
    for here, event in enumerate(events):
        if not event.agrees:
            found.append(
                Finding("changed", max(0, event.number), max(0, event.number), "its hash is not that of what it says")
            )
        origin = place.get(event.link.previous_hash)
        if origin is not None and origin < here - 1:
            found.append(_inserted(events[origin + 1 : here]))
            broken = [(at, finding) for at, finding in broken if not origin < at < here]
        elif origin is None and (finding := _break(events[here - 1] if here else None, event)):
            broken.append((here, finding))
        place[event.hash] = place[event.computed] = here
    return sorted([*found, *(finding for _, finding in broken)], key=lambda finding: (finding.first, finding.last))


def _break(before: Stored | None, event: Stored) -> Finding | None:
    last = before.number if before else 0
    if event.number > last + 1:
        return Finding("missing", last + 1, event.number - 1, "the next event does not follow the one before them")
    if not event.agrees or (before and not before.agrees):
        return None  # told already
    if before is None or last < 1:
        return Finding("changed", max(0, event.number), max(0, event.number), "it does not begin the chain")
    return Finding("changed", last, event.number, "one of them: the second does not follow the first")


def _inserted(events: Sequence[Stored]) -> Finding:
    numbers = [event.number for event in events]
    stored = f" (stored as number {numbers[0]})" if numbers[0] < 1 else ""
    words = f"not part of the chain, which goes on past it{stored}"
    return Finding("inserted", max(0, min(numbers)), max(0, *numbers), words)


def _events(session: Session) -> Iterator[Stored]:
    # As it stands in the file: a value that the program could not read is to be found, not to stop the search.
    rows = session.execute(text(_SELECT).execution_options(yield_per=_AT_ONCE))
    for row in rows:
        yield _stored(*row)


def _stored(previous: str, number: int, at: object, account: object, *told: object) -> Stored:
    match (_time(at), account, *told):
        case (datetime() as when, int() | None as who, str() as action, str() as subject, str() as stored):
            link = Link(str(previous), number, when, who, action, subject)
            return Stored(link, stored, link.hash)
    # Computed as nothing: no hash agrees with what cannot be read.
    return Stored(Link(str(previous), number, _NO_TIME, None, "", ""), str(told[-1]), computed="")


def _time(value: object) -> datetime | None:
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            return None
    if not isinstance(value, datetime):
        return None
    return value if value.tzinfo else value.replace(tzinfo=UTC)


def _unprotected(session: Session) -> Iterator[Finding]:
    on_postgresql = session.get_bind().dialect.name == "postgresql"
    there = set(session.scalars(text(_POSTGRESQL_TRIGGERS if on_postgresql else _SQLITE_TRIGGERS)))
    for verb in ("update", "delete", "truncate") if on_postgresql else ("update", "delete"):
        if f"audit_events_no_{verb}" not in there:
            yield Finding("unprotected", 0, 0, f"the trigger that refuses to {verb} events is missing")


def _new(told: Sequence[Finding], more: Iterable[Finding]) -> list[Finding]:
    """Leave out what the chain has told already."""
    known = {number for finding in told if finding.last for number in range(finding.first, finding.last + 1)}
    return [f for f in more if not f.last or not known.issuperset(range(f.first, f.last + 1))]
