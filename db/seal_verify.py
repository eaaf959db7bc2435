"""Compares the rows of sealed tables with what events told of them when they were written."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, MetaData, func, select

from db.audit_values import Finding, Seal
from db.seals import SEALED, seals

_AT_ONCE = 1000  # rows between two words of how far it has come


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
            if rows % _AT_ONCE == 0:
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
