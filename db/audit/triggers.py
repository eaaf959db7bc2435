"""Triggers that refuse to change or delete rows: their definitions, and the check that these and no others are there.

Databases hold the definitions as they were when a revision made them, so the texts here must never change.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from sqlalchemy import Connection, text

from db.values.audit import AuditFinding

FUNCTION = "refuse_change"
_BODY = " BEGIN RAISE EXCEPTION 'rows of % are added, never changed', TG_TABLE_NAME; END "
# PostgreSQL's bits: for each row 1, before 2, delete 8, update 16, truncate 32.
_POSTGRESQL_KINDS = {"update": ("ROW", 1 + 2 + 16), "delete": ("ROW", 1 + 2 + 8), "truncate": ("STATEMENT", 2 + 32)}
_SQLITE_VERBS = ("update", "delete")

_SQLITE_TRIGGERS = "SELECT name, tbl_name, sql FROM sqlite_master WHERE type = 'trigger' ORDER BY name"
_POSTGRESQL_TRIGGERS = """
    SELECT tgname, relname, tgenabled, tgtype, tgqual IS NULL AND tgattr = ''::int2vector AS plain, proname, prosrc
    FROM pg_trigger JOIN pg_class ON pg_class.oid = tgrelid JOIN pg_proc ON pg_proc.oid = tgfoid
    WHERE relnamespace = current_schema()::regnamespace AND NOT tgisinternal ORDER BY tgname
"""
_POSTGRESQL_RULES = "SELECT rulename, tablename FROM pg_rules WHERE schemaname = current_schema() ORDER BY rulename"


def sqlite_trigger(table: str, verb: str) -> str:
    """Return the statement that makes SQLite refuse to update or delete the rows of a table."""
    return (
        f"CREATE TRIGGER {table}_no_{verb} BEFORE {verb.upper()} ON {table} "
        f"BEGIN SELECT RAISE(ABORT, 'rows of {table} are added, never changed'); END"
    )


def refuse_changes(table: str, dialect: str) -> Iterator[str]:
    """Return the statements that make a database refuse to change or delete the rows of a table."""
    if dialect == "sqlite":
        yield from (sqlite_trigger(table, verb) for verb in _SQLITE_VERBS)
        return
    yield f"CREATE OR REPLACE FUNCTION {FUNCTION}() RETURNS trigger LANGUAGE plpgsql AS $${_BODY}$$"
    for verb, (each, _) in _POSTGRESQL_KINDS.items():
        yield (
            f"CREATE TRIGGER {table}_no_{verb} BEFORE {verb.upper()} ON {table} "
            f"FOR EACH {each} EXECUTE FUNCTION {FUNCTION}()"
        )


@dataclass(frozen=True, slots=True)
class _Trigger:
    """One trigger, or one rule of PostgreSQL; `ours` if it does what a revision made it for."""

    name: str
    table: str
    ours: bool


def check_triggers(connection: Connection, protected: Iterable[str]) -> Iterator[AuditFinding]:
    """Find protecting triggers that are missing or changed, and triggers that this program did not make.

    Args:
        connection: A connection to the database.
        protected: The tables whose rows are never changed.
    """
    on_postgresql = connection.dialect.name == "postgresql"
    found = list(_on_postgresql(connection) if on_postgresql else _on_sqlite(connection))
    by_place = {(one.table, one.name): one for one in found}
    for verb in _POSTGRESQL_KINDS if on_postgresql else _SQLITE_VERBS:
        for table in protected:
            rows = "events" if table == "audit_events" else table
            present = by_place.pop((table, f"{table}_no_{verb}"), None)
            if present is None:
                yield AuditFinding("unprotected", 0, 0, f"the trigger that refuses to {verb} {rows} is missing")
            elif not present.ours:
                words = f"the trigger that refuses to {verb} {rows} was replaced or switched off"
                yield AuditFinding("unprotected", 0, 0, words)
    for one in by_place.values():
        words = "this program did not make it, and it can change what is saved"
        yield AuditFinding("inserted", 0, 0, words, f"trigger {one.name} on {one.table}")


def _on_sqlite(connection: Connection) -> Iterator[_Trigger]:
    for name, table, words in connection.execute(text(_SQLITE_TRIGGERS)):
        yield _Trigger(name, table, words in [sqlite_trigger(table, verb) for verb in _SQLITE_VERBS])


def _on_postgresql(connection: Connection) -> Iterator[_Trigger]:
    for name, table, enabled, kind, plain, function, body in connection.execute(text(_POSTGRESQL_TRIGGERS)):
        expected = {f"{table}_no_{verb}": bits for verb, (_, bits) in _POSTGRESQL_KINDS.items()}
        works = enabled in ("O", "A") and kind == expected.get(name) and plain
        yield _Trigger(name, table, bool(works) and (function, body) == (FUNCTION, _BODY))
    for name, table in connection.execute(text(_POSTGRESQL_RULES)):
        yield _Trigger(name, table, ours=False)
