"""A database with rows in many sealed tables, and connections that change them without the program's knowledge."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from sqlalchemy import Connection, Engine, create_engine, event, inspect, make_url, text

from db import store
from db.audit.verify import verify
from db.database import Sessions, open_as_it_is, open_database
from db.values.accounts import Role
from db.values.audit import AuditFinding
from tests.helpers.rows import BENIGN, MALIGNANT, OPENED, evaluated_image, new_evaluation, sha256_of
from tests.helpers.world import analyse_all, make_case

# Databases with rows that were changed without the program's knowledge: its worklists cannot know of it.
TAMPERED_URLS: set[str] = set()

READERS = 3
CASES = 2
READS = 13  # two of each reader for each case, and the amended one


def fill_database(url: str, data: Path) -> Sessions:
    """Make a database with first and final reads of two cases by three readers, one of them amended."""
    sessions = open_database(url, data=data)
    with sessions.begin() as session:
        readers = [store.accounts.add_account(session, f"dr. {number}", Role.READER).id for number in range(READERS)]
        cases = [make_case(session, readers[0], images=2) for _ in range(CASES)]
    analyse_all(sessions)
    for reader in readers:
        for case_id in cases:
            with sessions.begin() as session:
                store.reads.record_first_read(session, case_id, reader, BENIGN, OPENED)
            with sessions.begin() as session:
                store.reads.record_final_read(session, case_id, reader, MALIGNANT, OPENED)
    with sessions.begin() as session:
        store.reads.amend_read(session, cases[0], readers[0], replace(MALIGNANT, confidence=5), OPENED)
        store.evaluations.add_evaluation(session, new_evaluation(), [evaluated_image(n, True, 0.7) for n in range(2)])
        store.evaluations.add_shift(session, "breakhis", "bach", "3f9a1c22b0e4", "{}")
        store.models.put_in_service(session, None, "models/a.safetensors", sha256_of("a"), "a")
    return sessions


def findings_of(url: str, data: Path) -> Sequence[AuditFinding]:
    """Return what is found in a database, opened without an upgrade."""
    sessions = open_as_it_is(url, data=data)
    found = verify(sessions).findings
    sessions.dispose()
    return found


def rows_named(findings: Sequence[AuditFinding]) -> set[tuple[str, str]]:
    """Give what was found of which row."""
    return {(found.kind, found.row) for found in findings}


@contextmanager
def without_triggers(url: str) -> Iterator[Connection]:
    """Give a connection on which nothing refuses a change of a row, and leave the triggers as they were."""
    TAMPERED_URLS.add(url)
    engine = engine_of(url)
    with engine.begin() as connection:
        if engine.dialect.name == "postgresql":
            tables = inspect(connection).get_table_names()
            _loosen_postgresql(connection, tables)
            yield connection
            for table in tables:
                connection.exec_driver_sql(f"ALTER TABLE {table} ENABLE TRIGGER USER")
        else:
            triggers = connection.exec_driver_sql("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'").all()
            for name, _ in triggers:
                connection.exec_driver_sql(f"DROP TRIGGER {name}")
            for name in ("uq_reads_first", "uq_reads_final"):
                connection.exec_driver_sql(f"DROP INDEX IF EXISTS {name}")
            yield connection
            for _, sql in triggers:
                connection.exec_driver_sql(sql)
    engine.dispose()


def engine_of(url: str) -> Engine:
    """Give an engine that asks nothing of the program, and no conditions of SQLite."""
    if "postgresql" in url:
        return create_engine(make_url(url).set(drivername="postgresql+psycopg"))
    engine = create_engine(url)

    @event.listens_for(engine, "connect")
    def _loosen_sqlite(connection: object, _: object) -> None:
        connection.execute("PRAGMA ignore_check_constraints = ON")  # type: ignore[attr-defined]

    return engine


def _loosen_postgresql(connection: Connection, tables: list[str]) -> None:
    for table in tables:
        connection.exec_driver_sql(f"ALTER TABLE {table} DISABLE TRIGGER USER")
    words = text(
        "SELECT conrelid::regclass::text, conname FROM pg_constraint "
        "WHERE contype IN ('c', 'u', 'f') AND connamespace = current_schema()::regnamespace"
    )
    for table, name in connection.execute(words).all():
        connection.exec_driver_sql(f"ALTER TABLE {table} DROP CONSTRAINT {name} CASCADE")
    for name in ("uq_reads_first", "uq_reads_final"):
        connection.exec_driver_sql(f"DROP INDEX IF EXISTS {name}")
