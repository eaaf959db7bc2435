"""Row seals: a digest of everything written in a row, stored in the event that describes it.

A changed row no longer matches the digest in its event, a deleted row still has an event, and a row added outside
the program has none. Rows that the program itself changes are sealed again by the event that reports the change, and
the newest seal counts.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice

from sqlalchemy import (
    JSON,
    Column,
    ColumnElement,
    Connection,
    MetaData,
    Table,
    TypeDecorator,
    and_,
    column,
    inspect,
    or_,
    select,
)
from sqlalchemy import table as named_table
from sqlalchemy.orm import Session

from db import tables
from db.errors import StoredDifferentlyError
from db.values.audit import Seal

_FORMAT = "second-read-row-1"
_AT_ONCE = 1000  # rows
_TOO_DEEP = '{"unreadable":"nested too deeply"}'


@dataclass(frozen=True, slots=True)
class LinkedTable:
    """A table whose rows belong to a row of another and are sealed with it; `by` is the column that refers to it.

    Its rows are never changed unless it `changes`; with `early` they may be there before the row to which they belong.
    Rows whose column `until` is filled in have ended and are left out, and so are the columns in `without`.
    """

    table: str
    by: str
    until: str | None = None
    without: tuple[str, ...] = ()
    changes: bool = False
    early: bool = False


@dataclass(frozen=True, slots=True)
class Unfinished:
    """The values of a column that mark a row as still in progress; it is sealed when it is finished."""

    column: str
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SealedTable:
    """A table whose rows are sealed by the events that record their insertion and, if it `changes`, each change.

    To seal a table: add it to `SEALED`, and pass `content=seal(session, row)` to the `record_event` of a new or
    changed row, after everything linked to it was written. New columns that may be null need nothing more; those in
    `without` are left out.
    """

    table: str
    linked: tuple[LinkedTable, ...] = ()
    changes: bool = False
    unfinished: Unfinished | None = None
    without: tuple[str, ...] = ()


# All tables whose rows are sealed; a table that the database does not have yet is skipped.
SEALED = (
    SealedTable(
        "reads",
        (
            LinkedTable("read_predictions", "read_id"),
            LinkedTable("regions", "read_id"),
            LinkedTable("read_images", "read_id"),
            LinkedTable("read_scopes", "read_id"),
        ),
    ),
    SealedTable("microscope_profiles"),
    SealedTable("image_scales"),
    SealedTable("predictions", (LinkedTable("image_embeddings", "prediction_id"),)),
    SealedTable("evaluations", (LinkedTable("evaluated_images", "evaluation_id"),)),
    SealedTable("shifts"),
    SealedTable("deployments"),
    SealedTable("model_confirmations"),
    SealedTable("site_thresholds"),
    SealedTable("prediction_permits"),
    SealedTable("consensus", (LinkedTable("consensus_reads", "consensus_id"),)),
    SealedTable("sign_offs"),
    SealedTable("assignments"),
    SealedTable("priorities"),
    SealedTable("intakes"),
    # Images join an intake until it ends.
    SealedTable("intake_ends", (LinkedTable("intake_images", "intake_id", changes=True, early=True),)),
    SealedTable("image_orders"),
    SealedTable("studies", (LinkedTable("study_places", "study_id"),), changes=True),
    SealedTable(
        "cases",
        (LinkedTable("images", "case_id", changes=True), LinkedTable("case_numbers", "case_id", changes=True)),
        changes=True,
    ),
    SealedTable(
        "jobs",
        (LinkedTable("image_scopes", "job_id"),),
        changes=True,
        unfinished=Unfinished("state", ("queued", "running")),
    ),
    SealedTable(
        "accounts",
        (
            LinkedTable("credentials", "account_id", changes=True),
            LinkedTable("api_tokens", "account_id", changes=True),
            LinkedTable("identities", "account_id", changes=True),
            # Only those that still let somebody in; their idle time moves with every request.
            LinkedTable("sign_ins", "account_id", until="ended_at", without=("idle_until",), changes=True),
        ),
        changes=True,
    ),
)


def sealed_table(name: str) -> SealedTable:
    """Return how the rows of a table are sealed.

    Raises:
        ValueError: If they are not.
    """
    for one in SEALED:
        if one.table == name:
            return one
    raise ValueError(f"rows of {name} are not sealed: add the table to SEALED first")


def seal(session: Session, row: tables.Base, linked: Sequence[tables.Base] | None = None) -> Seal:
    """Digest a row of a sealed table as stored in the database, with its linked rows.

    Args:
        session: The session that wrote the row.
        row: The row, as the program meant it.
        linked: All rows that belong to it, to be compared with what is stored too; None leaves them uncompared.

    Raises:
        StoredDifferentlyError: If the database holds something other than what was meant; nothing may be saved then.
    """
    session.flush()
    sealed = sealed_table(row.__tablename__)
    key = tuple(inspect(row).identity or ())
    (stored,) = _contents(session.connection(), sealed, tables.Base.metadata, key)
    if stored.row != _meant(row) or (linked is not None and stored.linked != _meant_linked(sealed, linked)):
        raise StoredDifferentlyError
    return stored.seal


def seal_of_unfinished(of: str) -> Seal:
    """Return what the program records when it takes up a finished row again: that the row is in progress.

    Args:
        of: The row, such as "jobs 7".
    """
    return Seal(of, hashlib.sha256(_json([_FORMAT, of, "unfinished"]).encode("ascii")).hexdigest())


def compute_seals(
    connection: Connection, sealed: SealedTable, schema: MetaData, key: Sequence[object] = ()
) -> Iterator[Seal]:
    """Digest the finished rows of a table in the order of their keys, or only the row with this key.

    The digest covers canonical JSON of the columns that are not null, sorted by name, so that adding a nullable
    column or a linked table does not change the digests of older rows.

    Args:
        connection: A connection to the database.
        sealed: The table.
        schema: The columns of the tables, as the program knows them or as the database has them.
        key: The key of one row; all rows if empty.
    """
    for content in _contents(connection, sealed, schema, key):
        yield content.seal


@dataclass(frozen=True, slots=True)
class _Content:
    """Everything that a seal covers; the linked rows of each table as sorted JSON."""

    table: str
    of: str
    row: dict[str, object]
    linked: dict[str, list[str]]

    @property
    def seal(self) -> Seal:
        encoded = _json([_FORMAT, self.table, self.row, self.linked])
        digest = hashlib.sha256(encoded.encode("ascii")).hexdigest()
        return Seal(f"{self.table} {self.of}", digest, row_is_gone=not self.row)


def _contents(
    connection: Connection, sealed: SealedTable, schema: MetaData, key: Sequence[object]
) -> Iterator[_Content]:
    table = schema.tables[sealed.table]
    names = key_columns(sealed.table)
    present = [one for one in sealed.linked if one.table in schema.tables]
    skip = sealed.unfinished
    chosen = [column(name) == value for name, value in zip(names, key, strict=True)] if key else []
    for rows in _blocks(_rows(connection, table, names, *chosen)):
        keys = [row.get(names[0]) for row in rows]
        linked = {one.table: _linked(connection, schema.tables[one.table], one, keys) for one in present}
        for row in rows:
            of = " ".join(str(row.get(name)) for name in names)
            if skip and row.get(skip.column) in skip.values:
                # What belongs to it was sealed before it was taken up again, and will be with its next end.
                continue
            columns = {name: value for name, value in row.items() if name not in sealed.without}
            belonging = {name: sorted(found[of]) for name, found in linked.items() if of in found}
            yield _Content(sealed.table, of, columns, belonging)
    if not key:
        yield from _orphans(connection, table, schema, [one for one in present if not one.early])


def _orphans(
    connection: Connection, table: Table, schema: MetaData, linked: Sequence[LinkedTable]
) -> Iterator[_Content]:
    """Return the linked rows that belong to no row."""
    found = {one.table: _linked(connection, schema.tables[one.table], one, owners=table) for one in linked}
    for of in sorted({of for rows in found.values() for of in rows}):
        yield _Content(table.name, of, {}, {name: sorted(rows[of]) for name, rows in found.items() if of in rows})


def _blocks(rows: Iterator[dict[str, object]]) -> Iterator[list[dict[str, object]]]:
    while block := list(islice(rows, _AT_ONCE)):
        yield block


def _linked(
    connection: Connection, table: Table, of: LinkedTable, owners: Sequence[object] | Table
) -> dict[str, list[str]]:
    """Return linked rows as JSON, by the key of the row to which they belong.

    Args:
        connection: A connection to the database.
        table: The linked table.
        of: How it is linked.
        owners: The keys of the rows whose linked rows are asked for; or the table of all, for those of none of them.
    """
    owner: ColumnElement[object] = column(of.by)
    if isinstance(owners, Table):
        key: ColumnElement[object] = column(key_columns(owners.name)[0])
        condition = or_(owner.is_(None), owner.not_in(select(key).select_from(named_table(owners.name))))
    else:
        condition = owner.in_(owners)
    if of.until:
        condition = and_(condition, column(of.until).is_(None))
    rows: dict[str, list[str]] = {}
    for row in _rows(connection, table, [of.by], condition):
        rows.setdefault(str(row.get(of.by)), []).append(_linked_json(of, row))
    return rows


def _linked_json(of: LinkedTable, row: dict[str, object]) -> str:
    return _json({name: value for name, value in row.items() if name != of.by and name not in of.without})


def _rows(
    connection: Connection, table: Table, by: Sequence[str], *conditions: ColumnElement[bool]
) -> Iterator[dict[str, object]]:
    """Read the rows that meet all conditions, as stored, so that values the program cannot read are detected too."""
    kinds = {one.name: column_kind(one) for one in table.columns}
    # Without column types, so that nothing is converted.
    columns: list[ColumnElement[object]] = [column(name) for name in kinds]
    query = select(*columns).select_from(named_table(table.name)).where(*conditions)
    for row in connection.execute(query.order_by(*(column(name) for name in by)).execution_options(yield_per=_AT_ONCE)):
        plain = {name: _plain(value, kinds[name]) for name, value in zip(kinds, row, strict=True)}
        yield {name: value for name, value in plain.items() if value is not None}


def _meant(row: tables.Base) -> dict[str, object]:
    """Return the columns of a row that are not null, as the program holds them."""
    pairs = [(attribute.columns[0], getattr(row, attribute.key)) for attribute in inspect(row).mapper.column_attrs]
    plain = {of.name: _plain(value, column_kind(of)) for of, value in pairs if isinstance(of, Column)}
    return {name: value for name, value in plain.items() if value is not None}


def _meant_linked(sealed: SealedTable, linked: Sequence[tables.Base]) -> dict[str, list[str]]:
    by_table = {one.table: one for one in sealed.linked}
    rows: dict[str, list[str]] = {}
    for row in linked:
        rows.setdefault(row.__tablename__, []).append(_linked_json(by_table[row.__tablename__], _meant(row)))
    return {name: sorted(found) for name, found in rows.items()}


def key_columns(table: str) -> list[str]:
    """Return the names of the primary key of a table as this program made it."""
    return [one.name for one in tables.Base.metadata.tables[table].primary_key]


def column_kind(of: Column[object]) -> type[object]:
    """Return the type of Python for the values of a column."""
    column_type = of.type.impl_instance if isinstance(of.type, TypeDecorator) else of.type
    if isinstance(column_type, JSON):
        return dict
    try:
        kind: type[object] = column_type.python_type
        return str if issubclass(kind, str) else kind  # an enum is stored as text
    except NotImplementedError:  # a type that no migration has used
        return str


def _plain(value: object, kind: type[object]) -> object:
    """Return a value as JSON, the same from SQLite and PostgreSQL; mark one that does not fit its column."""
    try:
        if kind in (datetime, bytes):
            return _time(value) if kind is datetime else _digest(value)
        if kind is dict and isinstance(value, str):
            return json.loads(value)
    except (ValueError, RecursionError):
        return {"unreadable": repr(value)}
    if kind is bool and isinstance(value, int) and value in (0, 1):
        return bool(value)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    is_json = value is None or isinstance(value, str | int | float) or (kind is dict and isinstance(value, dict | list))
    return value if is_json else {"unreadable": repr(value)}


def _digest(value: object) -> object:
    if value is None:
        return None
    # Text in the place of bytes must not look like the digest of some.
    return hashlib.sha256(value).hexdigest() if isinstance(value, bytes | memoryview) else {"unreadable": repr(value)}


def _time(value: object) -> object:
    at = stored_time(value)
    if at is None:
        return value if value is None else {"unreadable": repr(value)}
    return at.isoformat(timespec="microseconds")


def stored_time(value: object) -> datetime | None:
    """Return a time as stored, in UTC; None if it is not one, or not written as this program writes it.

    SQLite keeps times as text and sorts them as text, so another form or zone of the same moment changes the order.
    """
    at = value
    if isinstance(value, str):
        try:
            at = datetime.fromisoformat(value)
        except ValueError:
            return None
        if value not in (at.isoformat(" ", timespec="microseconds"), at.isoformat(" ")) or at.tzinfo:
            return None
    if not isinstance(at, datetime):
        return None
    return at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)


def _json(value: object) -> str:
    try:
        return json.dumps(value, sort_keys=True, separators=(",", ":"))
    except RecursionError:  # nested deeper than anything that this program writes
        return _TOO_DEEP
