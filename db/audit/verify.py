"""Verify the audit trail and what it covers: hash chain, external anchor, row seals, triggers and stored files."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime

from sqlalchemy import text
from sqlalchemy.orm import Session

from db.audit.anchor import AnchorLine, find_anchor_mismatches, lines_until
from db.audit.chain import Link
from db.audit.chain_check import ChainCheck, CheckedEvent
from db.audit.kept_events import KeptSeals
from db.audit.rows import check_rows, count_rows, reflect_sealed_tables, unchangeable_tables
from db.audit.seals import SEALED, stored_time
from db.audit.shapes import EVENTS, find_altered_tables, find_lost_tables
from db.audit.stored_files import check_files, referenced_files
from db.audit.triggers import check_triggers
from db.database import Sessions
from db.files import Files
from db.values.audit import AuditFinding, Seal, Verification

_AT_ONCE = 1000  # events read at once
_NO_TIME = datetime.min.replace(tzinfo=UTC)
_SELECT = (
    "SELECT previous_hash, id, at, account_id, content_of, content_sha256, action, subject, hash "
    "FROM audit_events ORDER BY id"
)
# Called with the number of events, rows and files checked so far, and their total.
Progress = Callable[[int, int], None]


def verify(
    sessions: Sessions,
    *,
    copy: Sequence[AnchorLine | str] | None = None,
    files: Files | None = None,
    progress: Progress = lambda done, of: None,
) -> Verification:
    """Check every event of a database, every row of its sealed tables, and the files to which rows refer.

    Others may keep writing meanwhile.

    Args:
        sessions: The database and its anchor file, if it has one.
        copy: The lines of an older copy of the anchor file, to compare with instead.
        files: The stored files; None leaves them out.
        progress: Called now and then with the number of events, rows and files checked, and their total.
    """
    before = sessions.anchor.lines() if sessions.anchor and copy is None else []
    with sessions.read() as session:
        connection = session.connection()
        tables = reflect_sealed_tables(connection)
        altered, lost = find_altered_tables(tables), tuple(find_lost_tables(tables))
        if EVENTS in altered or EVENTS not in tables.tables:
            # Without the events nothing else has a meaning.
            return Verification(0, 0, (*lost, *altered.values()), 0, 0)
        referenced = referenced_files(connection, altered) if files else {}
        of = count_rows(connection, tables) + (session.scalar(text("SELECT count(*) FROM audit_events")) or 0)
        of += len(referenced)
        chain, seals = _check_chain(session, lambda done: progress(done, of))
        events = chain.events
        rows = check_rows(connection, tables, seals, lambda done: progress(len(events) + done, of), altered)
        findings = [
            *lost,
            *altered.values(),
            *check_triggers(connection, [EVENTS, *unchangeable_tables(tables)]),
            *chain.findings(),
        ]
    lines = copy
    if sessions.anchor and copy is None:
        lines = lines_until(before, sessions.anchor.lines(len(before)), events.numbers[-1] if events else 0)
    if lines is not None:
        findings += _new(findings, find_anchor_mismatches(events, lines, complete=copy is None))
    findings += rows.findings
    if files:
        findings += check_files(files, referenced, lambda done: progress(of - len(referenced) + done, of))
    confirmed = [line.added.last for line in lines or () if isinstance(line, AnchorLine) and line.state != "saving"]
    progress(of, of)
    return Verification(len(events), max(confirmed, default=0), tuple(findings), rows.rows, len(referenced))


def _check_chain(session: Session, progress: Callable[[int], None]) -> tuple[ChainCheck, KeptSeals]:
    """Check the chain of events, and keep the newest seal of each row."""
    chain, seals = ChainCheck(), KeptSeals(one.table for one in SEALED)
    for event in _events(session, progress):
        chain.add(event)
        if event.link.content:
            seals.add(event.link.content, event.number)
    return chain, seals


def _events(session: Session, progress: Callable[[int], None]) -> Iterator[CheckedEvent]:
    # Raw values: one that the program cannot read must be reported, not stop the check.
    rows = session.execute(text(_SELECT).execution_options(yield_per=_AT_ONCE))
    for number, row in enumerate(rows, 1):
        if number % _AT_ONCE == 0:
            progress(number)
        yield _stored(*row)


def _stored(previous: str, number: int, at: object, account: object, *fields: object) -> CheckedEvent:
    match (stored_time(at), account, *fields):
        case (datetime() as when, int() | None as who, of, sha256, str() as action, str() as subject, str() as stored):
            content = _content(of, sha256)
            link = Link(str(previous), number, when, who, action, subject, content)
            readable = content is not None or (of is None and sha256 is None)
            return CheckedEvent(link, stored, link.hash if readable else "")
    # An empty computed hash never matches, so an unreadable event is reported as changed.
    return CheckedEvent(Link(str(previous), number, _NO_TIME, None, "", ""), str(fields[-1]), computed="")


def _content(of: object, sha256: object) -> Seal | None:
    try:
        return Seal(of, sha256) if isinstance(of, str) and isinstance(sha256, str) else None
    except ValueError:
        return None


def _new(chain: Sequence[AuditFinding], more: Iterable[AuditFinding]) -> list[AuditFinding]:
    """Leave out the anchor findings about events that the chain check has already reported."""
    covered = {number for finding in chain if finding.last for number in range(finding.first, finding.last + 1)}
    return [
        finding
        for finding in more
        if not finding.last or not covered.issuperset(range(finding.first, finding.last + 1))
    ]
