"""Find tables that are not as this program made them, so that their rows could not be read or compared."""

from collections.abc import Collection, Iterator, Mapping

from sqlalchemy import Column, MetaData, Table

from db import tables
from db.audit.seals import SEALED, SealedTable, column_kind, key_columns
from db.audit.stored_files import FILE_COLUMNS
from db.values.audit import AuditFinding

EVENTS = "audit_events"


def find_altered_tables(schema: MetaData) -> dict[str, AuditFinding]:
    """Return what is wrong with the tables that cannot be read as this program reads them, by their names.

    Args:
        schema: The schema from `reflect_sealed_tables`.
    """
    found: dict[str, AuditFinding] = {}
    for name, needed in _needed_columns().items():
        words = _find_fault(schema.tables[name], needed) if name in schema.tables else None
        if words is not None:
            found[name] = AuditFinding("changed", 0, 0, f"{words}, so its rows cannot be checked", f"table {name}")
    return found


def find_lost_tables(schema: MetaData) -> Iterator[AuditFinding]:
    """Find the tables that are gone."""
    for name in _needed_columns():
        if name not in schema.tables:
            yield AuditFinding("missing", 0, 0, "it is missing or was replaced", f"table {name}")


def is_altered(sealed: SealedTable, altered: Mapping[str, AuditFinding]) -> bool:
    """Return whether the rows of a sealed table, or those sealed with them, cannot be read."""
    return any(name in altered for name in (sealed.table, *(linked.table for linked in sealed.linked)))


def _needed_columns() -> dict[str, set[str]]:
    """Return the columns whose values must be of their type, or the rows of a table cannot be read."""
    needed = {EVENTS: set(key_columns(EVENTS))}
    for sealed in SEALED:
        needed.setdefault(sealed.table, set()).update(key_columns(sealed.table))
        if sealed.unfinished:
            needed[sealed.table].add(sealed.unfinished.column)
        for linked in sealed.linked:
            needed.setdefault(linked.table, set()).update(filter(None, (linked.by, linked.until)))
    for table, key, column in FILE_COLUMNS:
        needed.setdefault(table, set()).update((key, column))
    return needed


def _find_fault(stored: Table, needed: Collection[str]) -> str | None:
    made = tables.Base.metadata.tables[stored.name]
    # All columns of an event are read by name; those of other tables are read as they are.
    for name in sorted({*needed, *(made.columns.keys() if stored.name == EVENTS else ())}):
        column: Column[object] | None = stored.columns.get(name)
        if column is None:
            return f"its column {name} is gone"
        if name not in needed:
            continue
        if column_kind(column) is not column_kind(made.columns[name]):
            return f"its column {name} is of another type"
    return None
