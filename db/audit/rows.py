"""Compare the rows of the sealed tables with the seals in the events."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, MetaData, func, select

from db.audit.kept_events import EventSeal, KeptSeals
from db.audit.seals import SEALED, compute_seals, seal_of_unfinished
from db.audit.shapes import EVENTS, is_altered
from db.values.audit import AuditFinding, Seal

_ROWS_PER_REPORT = 1000  # rows checked between two reports of progress


@dataclass(frozen=True, slots=True)
class CheckedRows:
    """How many rows were checked, and the findings."""

    rows: int
    findings: tuple[AuditFinding, ...]


def reflect_sealed_tables(connection: Connection) -> MetaData:
    """Read the schema of the events, the sealed tables and those linked to them from the database."""
    names = {EVENTS, *(name for one in SEALED for name in (one.table, *(linked.table for linked in one.linked)))}
    tables = MetaData()
    tables.reflect(connection, only=lambda name, _: name in names, resolve_fks=False)
    return tables


def unchangeable_tables(tables: MetaData) -> list[str]:
    """Return the names of the tables whose rows never change and so have triggers that refuse changes."""
    names = [one.table for one in SEALED if not one.changes]
    names += [linked.table for one in SEALED for linked in one.linked if not linked.changes]
    return [name for name in names if name in tables.tables]


def count_rows(connection: Connection, tables: MetaData) -> int:
    """Count the rows of all sealed tables that are there."""
    present = [tables.tables[one.table] for one in SEALED if one.table in tables.tables]
    return sum(connection.scalar(select(func.count()).select_from(table)) or 0 for table in present)


def check_rows(
    connection: Connection,
    tables: MetaData,
    seals: KeptSeals,
    progress: Callable[[int], None],
    altered: Mapping[str, AuditFinding],
) -> CheckedRows:
    """Find the rows that differ from their seal, are missing, or are not described by any event.

    Args:
        connection: A connection that sees the database as it was when the events were read.
        tables: The schema from `reflect_sealed_tables`.
        seals: The seals that the events hold.
        progress: Called now and then with the number of rows checked.
        altered: The tables that cannot be read; their rows are left out.
    """
    seals.order()
    findings: list[AuditFinding] = []
    rows = 0
    for sealed in SEALED:
        if sealed.table not in tables.tables or is_altered(sealed, altered):
            continue
        for stored in compute_seals(connection, sealed, tables):
            rows += 1
            events = seals.take(stored.of)
            if stored.row_is_gone and events:
                findings.append(_gone(stored.of, events))
                continue
            # A row that changes was sealed again at each change.
            findings += _differences(stored, events[-1:] if sealed.changes else events)
            if rows % _ROWS_PER_REPORT == 0:
                progress(rows)
    unread = {sealed.table for sealed in SEALED if is_altered(sealed, altered)}
    # Rows in progress are not looked at, and those taken up again have had a seal before.
    findings += [
        _gone(of, events)
        for of, events in seals.take_rest()
        if of.partition(" ")[0] not in unread and events[-1].seal != seal_of_unfinished(of)
    ]
    return CheckedRows(rows, tuple(findings))


def _differences(stored: Seal, events: Sequence[EventSeal]) -> Iterator[AuditFinding]:
    if not events:
        yield AuditFinding("inserted", 0, 0, "no event describes this row", stored.of)
    for event in events:
        if event.seal != stored:
            yield AuditFinding(
                "changed", event.event, event.event, "the row has changed since the event was written", stored.of
            )


def _gone(of: str, events: Sequence[EventSeal]) -> AuditFinding:
    numbers = [one.event for one in events]
    return AuditFinding("missing", min(numbers), max(numbers), "the row that the event describes is missing", of)
