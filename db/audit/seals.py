"""Seals rows: a digest of all that was written, kept in the event that tells of it.

A changed row no longer has the digest that its event has, a deleted one is still told of, and one that was
added behind the program's back is told of by nobody.
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
class Linked:
    """A table whose rows belong to one row of another and are sealed with it; `by` is the column that names it."""

    table: str
    by: str


@dataclass(frozen=True, slots=True)
class Sealed:
    """A table whose rows are sealed, each by the event of the click that added it; `later` columns are left out.

    To seal a table: name it in `SEALED`, and pass `content=seal(session, row)` to the `record_event` that
    tells of a new row, after everything linked to it was added.
    """

    table: str
    linked: tuple[Linked, ...] = ()
    later: tuple[str, ...] = ()  # filled in after the row was added


# All tables whose rows are sealed; one that a database does not have yet is passed over.
SEALED = (
    Sealed("reads", (Linked("read_predictions", "read_id"), Linked("regions", "read_id"))),
    Sealed("predictions"),
    Sealed("evaluations", (Linked("evaluated_images", "evaluation_id"),)),
    Sealed("shifts"),
    Sealed("deployments"),
    Sealed("consensus", (Linked("consensus_reads", "consensus_id"),)),
    Sealed("sign_offs"),
    Sealed("studies", (Linked("study_places", "study_id"),), later=("closed_at",)),
    Sealed("assignments"),
    Sealed("priorities"),
)


def seal(session: Session, row: tables.Base) -> Seal:
    """Digest a row of a sealed table as the database has it, with what is linked to it."""
    session.flush()
    sealed = next((one for one in SEALED if one.table == row.__tablename__), None)
    if sealed is None:
        raise ValueError(f"rows of {row.__tablename__} are not sealed: name the table in SEALED first")
    key = tuple(inspect(row).identity or ())
    (found,) = seals(session.connection(), sealed, tables.Base.metadata, key)
    return found


def seal_read(session: Session, read_id: int) -> Seal:
    """Digest one read with the predictions that were shown and the regions that were marked."""
    return seal(session, session.get_one(tables.Read, read_id))


def seals(connection: Connection, sealed: Sealed, schema: MetaData, key: Sequence[object] = ()) -> Iterator[Seal]:
    """Digest the rows of a table in the order of their keys, or the one with this key.

    The digest is of canonical JSON of the columns that are not null, sorted by name, so that a nullable column
    or a linked table that comes later leaves the digests of older rows as they are.

    Args:
        connection: Of the database.
        sealed: The table.
        schema: Their columns, as the program knows them or as the database has them.
        key: Of one row.
    """
    table = schema.tables[sealed.table]
    names = [one.name for one in table.primary_key]
    there = [one for one in sealed.linked if one.table in schema.tables]
    linked = [(one.table, _linked(connection, schema.tables[one.table], one.by, key)) for one in there]
    for row in _rows(connection, table, names, key):
        of = " ".join(str(row.get(name)) for name in names)
        content = {name: value for name, value in row.items() if name not in sealed.later}
        belonging = {name: sorted(rows[of]) for name, rows in linked if of in rows}
        encoded = _json([_FORMAT, sealed.table, content, belonging])
        yield Seal(f"{sealed.table} {of}", hashlib.sha256(encoded.encode("ascii")).hexdigest())


def _linked(connection: Connection, table: Table, by: str, key: Sequence[object]) -> dict[str, list[str]]:
    """Give the rows of a linked table as JSON, by the key of the row to which they belong."""
    found: dict[str, list[str]] = {}
    for row in _rows(connection, table, [by], key):
        found.setdefault(str(row.pop(by, None)), []).append(_json(row))
    return found


def _rows(
    connection: Connection, table: Table, by: Sequence[str], key: Sequence[object]
) -> Iterator[dict[str, object]]:
    """Read rows, or those of one key, as they stand in the file: what the program could not read is to be found."""
    kinds = {one.name: _kind(one) for one in table.columns}
    # Without their types, so that nothing is converted on the way.
    columns: list[ColumnElement[object]] = [column(name) for name in kinds]
    query = select(*columns).select_from(named_table(table.name))
    if key:
        query = query.where(*(column(name) == value for name, value in zip(by, key, strict=True)))
    for found in connection.execute(
        query.order_by(*(column(name) for name in by)).execution_options(yield_per=_AT_ONCE)
    ):
        plain = {name: _plain(value, kinds[name]) for name, value in zip(kinds, found, strict=True)}
        yield {name: value for name, value in plain.items() if value is not None}


def _kind(of: Column[object]) -> type[object]:
    stored = of.type.impl_instance if isinstance(of.type, TypeDecorator) else of.type
    if isinstance(stored, JSON):
        return dict
    try:
        return stored.python_type
    except NotImplementedError:  # a type that no revision has given it
        return str


def _plain(value: object, kind: type[object]) -> object:
    """Give a value as JSON has it, the same from SQLite and PostgreSQL; one that does not fit its column shows."""
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
    known = value is None or isinstance(value, str | int | float) or (kind is dict and isinstance(value, dict | list))
    return value if known else {"unreadable": repr(value)}


def _time(value: object) -> object:
    at = datetime.fromisoformat(value) if isinstance(value, str) else value
    if not isinstance(at, datetime):
        return value if at is None else {"unreadable": repr(value)}
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    return at.astimezone(UTC).isoformat(timespec="microseconds")


def _json(value: object) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))
