"""Verify the audit trail and the rows it covers: hash chain, external anchor, row seals and triggers."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import Connection, MetaData, func, select, text
from sqlalchemy.orm import Session

from db.audit.anchor import HeadLine, anchor_findings, until
from db.audit.chain import GENESIS, Link
from db.audit.seals import SEALED, seals
from db.database import Sessions
from db.values.audit import Finding, Seal, Verified

_ROWS_AT_ONCE = 1000  # rows between two words of how far it has come

_AT_ONCE = 1000  # rows
_NO_TIME = datetime.min.replace(tzinfo=UTC)
_SELECT = (
    "SELECT previous_hash, id, at, account_id, content_of, content_sha256, action, subject, hash "
    "FROM audit_events ORDER BY id"
)
_SQLITE_TRIGGERS = "SELECT name FROM sqlite_master WHERE type = 'trigger' AND name LIKE tbl_name || '_no_%'"
_POSTGRESQL_TRIGGERS = (
    "SELECT tgname FROM pg_trigger JOIN pg_class ON pg_class.oid = tgrelid "
    "WHERE relnamespace = current_schema()::regnamespace AND tgname LIKE relname || '_no_%' "
    "AND NOT tgisinternal AND tgenabled <> 'D'"
)

# How many of how many events and rows were looked at.
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Told:
    """The seal of a row, and the number of the event that has it."""

    seal: Seal
    event: int


@dataclass(frozen=True, slots=True)
class CheckedRows:
    """How many rows were looked at, and what was found."""

    rows: int
    findings: tuple[Finding, ...]


def tables_there(connection: Connection) -> MetaData:
    """Read the sealed tables, and those linked to them, as the database has them."""
    wanted = {name for one in SEALED for name in (one.table, *(linked.table for linked in one.linked))}
    tables = MetaData()
    tables.reflect(connection, only=lambda name, _: name in wanted, resolve_fks=False)
    return tables


def kept_as_written(tables: MetaData) -> list[str]:
    """Name the tables whose rows are never changed, and so have triggers that refuse it."""
    whole = [one for one in SEALED if not one.later]
    names = [one.table for one in whole] + [linked.table for one in SEALED for linked in one.linked]
    return [name for name in names if name in tables.tables]


def count_rows(connection: Connection, tables: MetaData) -> int:
    """Count the rows of all sealed tables."""
    there = [tables.tables[one.table] for one in SEALED if one.table in tables.tables]
    return sum(connection.scalar(select(func.count()).select_from(table)) or 0 for table in there)


def row_findings(
    connection: Connection, tables: MetaData, told: Sequence[Told], progress: Callable[[int], None]
) -> CheckedRows:
    """Say which rows are not as they were told, gone, or told of by nobody.

    Args:
        connection: Of the database, at the same moment at which the events were read.
        tables: As `tables_there` gives them.
        told: What the events say.
        progress: Told how many rows were looked at, now and then.
    """
    by_row: dict[str, list[Told]] = {}
    for one in told:
        by_row.setdefault(one.seal.of, []).append(one)
    found: list[Finding] = []
    rows = 0
    for sealed in SEALED:
        if sealed.table not in tables.tables:
            continue
        for stored in seals(connection, sealed, tables):
            rows += 1
            found += _differences(stored, by_row.pop(stored.of, []))
            if rows % _ROWS_AT_ONCE == 0:
                progress(rows)
    found += _gone(by_row)
    return CheckedRows(rows, tuple(found))


def _differences(stored: Seal, told: Sequence[Told]) -> Iterator[Finding]:
    if not told:
        yield Finding("inserted", 0, 0, "no event tells of this row", stored.of)
    for one in told:
        if one.seal != stored:
            yield Finding(
                "changed", one.event, one.event, "the row is not as it was when the event was written", stored.of
            )


def _gone(by_row: Mapping[str, Sequence[Told]]) -> Iterator[Finding]:
    for of, told in by_row.items():
        numbers = [one.event for one in told]
        yield Finding("missing", min(numbers), max(numbers), "the row that the event tells of is gone", of)


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


def verify(
    sessions: Sessions,
    *,
    copy: Sequence[HeadLine | str] | None = None,
    progress: Progress = lambda done, of: None,
) -> Verified:
    """Check every event of a database, and every row of its sealed tables, while others may go on adding.

    Args:
        sessions: The database and, where there is one, its anchor.
        copy: The lines of an older copy of the file of heads, to compare with instead.
        progress: Told now and then how far this has come.
    """
    before = sessions.heads.lines() if sessions.heads and copy is None else []
    with sessions.read() as session:
        connection = _one_moment(session)
        tables = tables_there(connection)
        of = count_rows(connection, tables) + (session.scalar(text("SELECT count(*) FROM audit_events")) or 0)
        events = list(_events(session, lambda done: progress(done, of)))
        told = [Told(one.link.content, one.number) for one in events if one.link.content]
        rows = row_findings(connection, tables, told, lambda done: progress(len(events) + done, of))
        findings = [*_unprotected(session, kept_as_written(tables)), *chain_findings(events)]
    lines = copy
    if sessions.heads and copy is None:
        lines = until(before, sessions.heads.lines(), events[-1].number if events else 0)
    if lines is not None:
        hashes = {event.number: event.hash for event in events}
        actions = {event.number: event.link.action for event in events}
        findings += _new(findings, anchor_findings(hashes, actions, lines, complete=copy is None))
    confirmed = [line.added.last for line in lines or () if isinstance(line, HeadLine) and line.state != "saving"]
    progress(of, of)
    return Verified(len(events), max(confirmed, default=0), (*findings, *rows.findings), rows.rows)


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


def _one_moment(session: Session) -> Connection:
    """Let all that is read be of one moment, as SQLite does by itself: else rows would lack their events."""
    on_postgresql = session.get_bind().dialect.name == "postgresql"
    return session.connection(execution_options={"isolation_level": "REPEATABLE READ"} if on_postgresql else {})


def _events(session: Session, progress: Callable[[int], None]) -> Iterator[Stored]:
    # As it stands in the file: a value that the program could not read is to be found, not to stop the search.
    rows = session.execute(text(_SELECT).execution_options(yield_per=_AT_ONCE))
    for number, row in enumerate(rows, 1):
        if number % _AT_ONCE == 0:
            progress(number)
        yield _stored(*row)


def _stored(previous: str, number: int, at: object, account: object, *told: object) -> Stored:
    match (_time(at), account, *told):
        case (datetime() as when, int() | None as who, of, sha256, str() as action, str() as subject, str() as stored):
            content = _content(of, sha256)
            link = Link(str(previous), number, when, who, action, subject, content)
            readable = content is not None or (of is None and sha256 is None)
            return Stored(link, stored, link.hash if readable else "")
    # Computed as nothing: no hash agrees with what cannot be read.
    return Stored(Link(str(previous), number, _NO_TIME, None, "", ""), str(told[-1]), computed="")


def _content(of: object, sha256: object) -> Seal | None:
    try:
        return Seal(of, sha256) if isinstance(of, str) and isinstance(sha256, str) else None
    except ValueError:
        return None


def _time(value: object) -> datetime | None:
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            return None
    if not isinstance(value, datetime):
        return None
    return value if value.tzinfo else value.replace(tzinfo=UTC)


def _unprotected(session: Session, tables: Iterable[str]) -> Iterator[Finding]:
    on_postgresql = session.get_bind().dialect.name == "postgresql"
    there = set(session.scalars(text(_POSTGRESQL_TRIGGERS if on_postgresql else _SQLITE_TRIGGERS)))
    for verb in ("update", "delete", "truncate") if on_postgresql else ("update", "delete"):
        if f"audit_events_no_{verb}" not in there:
            yield Finding("unprotected", 0, 0, f"the trigger that refuses to {verb} events is missing")
        for table in tables:
            if f"{table}_no_{verb}" not in there:
                yield Finding("unprotected", 0, 0, f"the trigger that refuses to {verb} {table} is missing")


def _new(told: Sequence[Finding], more: Iterable[Finding]) -> list[Finding]:
    """Leave out what the chain has told already."""
    known = {number for finding in told if finding.last for number in range(finding.first, finding.last + 1)}
    return [f for f in more if not f.last or not known.issuperset(range(f.first, f.last + 1))]
