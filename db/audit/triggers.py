"""Triggers that refuse to change or delete rows: their definitions, and the check that these and no others are there.

On PostgreSQL also that nothing else switches them off, hides rows or changes what is saved.

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
# Every name with its schema: another schema of the search path may have something of the same name.
_POSTGRESQL_TRIGGERS = """
    SELECT tgname, relname, tgenabled, tgtype, tgqual IS NULL AND tgattr = ''::pg_catalog.int2vector AS plain,
        proname, prosrc
    FROM pg_catalog.pg_trigger
        JOIN pg_catalog.pg_class ON pg_class.oid = tgrelid JOIN pg_catalog.pg_proc ON pg_proc.oid = tgfoid
    WHERE relnamespace = pg_catalog.current_schema()::pg_catalog.regnamespace
        -- PostgreSQL's own, for foreign keys; that a trigger is internal can be written into the catalogue.
        AND NOT (tgisinternal AND proname LIKE 'RI\\_FKey\\_%' AND pronamespace = 'pg_catalog'::pg_catalog.regnamespace)
    ORDER BY tgname
"""
_POSTGRESQL_RULES = """
    SELECT rulename, tablename FROM pg_catalog.pg_rules
    WHERE schemaname = pg_catalog.current_schema() ORDER BY rulename
"""
_POSTGRESQL_ROW_SECURITY = """
    SELECT relname FROM pg_catalog.pg_class
    WHERE relnamespace = pg_catalog.current_schema()::pg_catalog.regnamespace AND relrowsecurity ORDER BY relname
"""
# As it is for this connection, and as it is set for other roles that use this database.
_POSTGRESQL_SWITCHED_OFF = """
    SELECT pg_catalog.current_setting('session_replication_role') <> 'origin' OR EXISTS (
        SELECT FROM pg_catalog.pg_db_role_setting, pg_catalog.unnest(setconfig) AS one
        WHERE setdatabase IN (0, (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()))
            AND one LIKE 'session_replication_role=%' AND one <> 'session_replication_role=origin')
"""
_POSTGRESQL_FIRST_SCHEMA = """
    SELECT name FROM pg_catalog.unnest(pg_catalog.current_schemas(true)) WITH ORDINALITY AS one (name, place)
    WHERE name NOT LIKE 'pg\\_temp%' ORDER BY place LIMIT 1
"""


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
    if on_postgresql:
        yield from _check_surroundings(connection)


def _check_surroundings(connection: Connection) -> Iterator[AuditFinding]:
    """Find what makes triggers of PostgreSQL ineffective or hides rows, and leaves triggers and rows as they are."""
    for (table,) in connection.execute(text(_POSTGRESQL_ROW_SECURITY)):
        words = "this program did not switch it on, and it can hide rows or refuse new ones"
        yield AuditFinding("inserted", 0, 0, words, f"row security of {table}")
    if connection.scalar(text(_POSTGRESQL_SWITCHED_OFF)):
        words = "the setting session_replication_role switches off the triggers that refuse changes"
        yield AuditFinding("unprotected", 0, 0, words)
    if (first := connection.scalar(text(_POSTGRESQL_FIRST_SCHEMA))) != "pg_catalog":
        words = f"the setting search_path lets names of schema {first} take the place of PostgreSQL's own"
        yield AuditFinding("unprotected", 0, 0, words)


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
