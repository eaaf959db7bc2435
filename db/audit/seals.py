"""Row seals: a digest of everything written in a row, stored in the event that describes it.

A changed row no longer matches the digest in its event, a deleted row still has an event, and a row added outside
the program has none.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import JSON, Column, ColumnElement, Connection, MetaData, Table, TypeDecorator, column, inspect, select
from sqlalchemy import table as named_table
from sqlalchemy.orm import Session

from db import tables
from db.values.audit import Seal

_FORMAT = "second-read-row-1"
_AT_ONCE = 1000  # rows


@dataclass(frozen=True, slots=True)
class LinkedTable:
    """A table whose rows belong to a row of another and are sealed with it; `by` is the column that refers to it."""

    table: str
    by: str


@dataclass(frozen=True, slots=True)
class SealedTable:
    """A table whose rows are sealed, each by the event that records its insertion; `later` columns are left out.

    To seal a table: add it to `SEALED`, and pass `content=seal(session, row)` to the `record_event` of a new row,
    after everything linked to it was added.
    """

    table: str
    linked: tuple[LinkedTable, ...] = ()
    later: tuple[str, ...] = ()  # filled in after the row was added


# All tables whose rows are sealed; a table that the database does not have yet is skipped.
SEALED = (
    SealedTable(
        "reads",
        (
            LinkedTable("read_predictions", "read_id"),
            LinkedTable("regions", "read_id"),
            LinkedTable("read_images", "read_id"),
        ),
    ),
    SealedTable("predictions"),
    SealedTable("evaluations", (LinkedTable("evaluated_images", "evaluation_id"),)),
    SealedTable("shifts"),
    SealedTable("deployments"),
    SealedTable("consensus", (LinkedTable("consensus_reads", "consensus_id"),)),
    SealedTable("sign_offs"),
    SealedTable("studies", (LinkedTable("study_places", "study_id"),), later=("closed_at",)),
    SealedTable("assignments"),
    SealedTable("priorities"),
    SealedTable("intakes"),
    SealedTable("intake_ends"),
    SealedTable("image_orders"),
)


def seal(session: Session, row: tables.Base) -> Seal:
    """Digest a row of a sealed table as stored in the database, with its linked rows."""
    session.flush()
    sealed = next((one for one in SEALED if one.table == row.__tablename__), None)
    if sealed is None:
        raise ValueError(f"rows of {row.__tablename__} are not sealed: add the table to SEALED first")
    key = tuple(inspect(row).identity or ())
    (computed,) = compute_seals(session.connection(), sealed, tables.Base.metadata, key)
    return computed


def seal_read(session: Session, read_id: int) -> Seal:
    """Digest one read with its images, the predictions that were shown and the regions that were marked."""
    return seal(session, session.get_one(tables.Read, read_id))


def compute_seals(
    connection: Connection, sealed: SealedTable, schema: MetaData, key: Sequence[object] = ()
) -> Iterator[Seal]:
    """Digest the rows of a table in the order of their keys, or only the row with this key.

    The digest covers canonical JSON of the columns that are not null, sorted by name, so that adding a nullable
    column or a linked table does not change the digests of older rows.

    Args:
        connection: A connection to the database.
        sealed: The table.
        schema: The columns of the tables, as the program knows them or as the database has them.
        key: The key of one row; all rows if empty.
    """
    table = schema.tables[sealed.table]
    names = [one.name for one in table.primary_key]
    present = [one for one in sealed.linked if one.table in schema.tables]
    linked = [(one.table, _linked(connection, schema.tables[one.table], one.by, key)) for one in present]
    for row in _rows(connection, table, names, key):
        of = " ".join(str(row.get(name)) for name in names)
        content = {name: value for name, value in row.items() if name not in sealed.later}
        linked_rows = {name: sorted(rows[of]) for name, rows in linked if of in rows}
        encoded = _json([_FORMAT, sealed.table, content, linked_rows])
        yield Seal(f"{sealed.table} {of}", hashlib.sha256(encoded.encode("ascii")).hexdigest())


def _linked(connection: Connection, table: Table, by: str, key: Sequence[object]) -> dict[str, list[str]]:
    """Return the rows of a linked table as JSON, by the key of the row to which they belong."""
    rows: dict[str, list[str]] = {}
    for row in _rows(connection, table, [by], key):
        rows.setdefault(str(row.pop(by, None)), []).append(_json(row))
    return rows


def _rows(
    connection: Connection, table: Table, by: Sequence[str], key: Sequence[object]
) -> Iterator[dict[str, object]]:
    """Read the rows, or those of one key, as stored, so that values the program cannot read are detected too."""
    kinds = {one.name: _kind(one) for one in table.columns}
    # Without column types, so that nothing is converted.
    columns: list[ColumnElement[object]] = [column(name) for name in kinds]
    query = select(*columns).select_from(named_table(table.name))
    if key:
        query = query.where(*(column(name) == value for name, value in zip(by, key, strict=True)))
    for row in connection.execute(query.order_by(*(column(name) for name in by)).execution_options(yield_per=_AT_ONCE)):
        plain = {name: _plain(value, kinds[name]) for name, value in zip(kinds, row, strict=True)}
        yield {name: value for name, value in plain.items() if value is not None}


def _kind(of: Column[object]) -> type[object]:
    column_type = of.type.impl_instance if isinstance(of.type, TypeDecorator) else of.type
    if isinstance(column_type, JSON):
        return dict
    try:
        return column_type.python_type
    except NotImplementedError:  # a type that no migration has used
        return str


def _plain(value: object, kind: type[object]) -> object:
    """Return a value as JSON, the same from SQLite and PostgreSQL; mark one that does not fit its column."""
    try:
        if kind is datetime:
            return _time(value)
        if kind is dict and isinstance(value, str):
            return json.loads(value)
    except ValueError:
        return {"unreadable": repr(value)}
    if kind is bool and isinstance(value, int) and value in (0, 1):
        return bool(value)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    is_json = value is None or isinstance(value, str | int | float) or (kind is dict and isinstance(value, dict | list))
    return value if is_json else {"unreadable": repr(value)}


def _time(value: object) -> object:
    at = datetime.fromisoformat(value) if isinstance(value, str) else value
    if not isinstance(at, datetime):
        return value if at is None else {"unreadable": repr(value)}
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    return at.astimezone(UTC).isoformat(timespec="microseconds")


def _json(value: object) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))
