"""The database opens safely, and a click is saved whole or not at all."""

import sqlite3
import uuid
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from urllib.parse import quote

import pytest
from sqlalchemy import func, make_url, select, text
from sqlalchemy.exc import DBAPIError, IntegrityError, StatementError

from db import store, tables
from db.audit.trail import record_event
from db.audit.verify import verify
from db.database import Sessions, journal_mode, open_as_it_is, open_database
from db.errors import UnusableDatabaseError
from db.values.accounts import Role
from tests.helpers import forked
from tests.helpers.concurrency import at_once
from tests.helpers.databases import run_on_server
from tests.helpers.rows import BENIGN, OPENED
from tests.helpers.world import analyse_all, make_case


@pytest.mark.parametrize(
    ("version", "mode"),
    [
        ((3, 40, 1), "delete"),
        ((3, 44, 5), "delete"),
        ((3, 44, 6), "wal"),
        ((3, 44, 9), "wal"),
        ((3, 45, 0), "delete"),
        ((3, 50, 6), "delete"),
        ((3, 50, 7), "wal"),
        ((3, 51, 0), "delete"),
        ((3, 51, 2), "delete"),
        ((3, 51, 3), "wal"),
        ((3, 53, 1), "wal"),
    ],
)
def test_wal_is_used_only_where_it_cannot_corrupt_the_file(version: tuple[int, int, int], mode: str) -> None:
    assert journal_mode(version) == mode


@pytest.mark.parametrize("version", [(3, 40, 1), (3, 53, 1)])
def test_every_connection_is_durable_and_asks_foreign_keys(tmp_path: Path, version: tuple[int, int, int]) -> None:
    sessions = open_database(f"sqlite:///{tmp_path / 'a.sqlite'}", sqlite_version=version)
    with sessions.begin() as session:
        found = {p: session.scalar(text(f"PRAGMA {p}")) for p in ("journal_mode", "synchronous", "foreign_keys")}
    assert found == {"journal_mode": journal_mode(version), "synchronous": 2, "foreign_keys": 1}
    sessions.dispose()


def test_the_folder_of_the_database_is_made(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b c" / "100% d.sqlite"
    # In an address a percent sign begins an escape.
    open_database(f"sqlite:///{quote(str(path))}").dispose()
    assert path.is_file()


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("sqlite://", "needs a database file"),
        ("sqlite:///:memory:", "needs a database file"),
        ("mysql://localhost/a", "mysql databases are not supported"),
        ("not a url", "is not a database URL"),
    ],
)
def test_an_address_we_cannot_serve_is_refused_in_words(url: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        open_database(url)


def test_a_file_that_is_no_database_is_refused_in_words(tmp_path: Path) -> None:
    path = tmp_path / "a.sqlite"
    path.write_bytes(b"this is not a database, but long enough to look at" * 100)
    with pytest.raises(UnusableDatabaseError, match="file is not a database"):
        open_database(f"sqlite:///{path}")


def test_a_server_that_does_not_answer_is_named_without_its_password(tmp_path: Path) -> None:
    with pytest.raises(UnusableDatabaseError, match="cannot open the database") as caught:
        open_database(f"postgresql://reader:secret@/a?host={tmp_path}")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql:/reader:secret@host/a",
        "postgresql://reader:secret@host:port/a",
        "postgresql://reader:secret@[::1/a",
        "postgresql://reader@/a?host=/nowhere&password=secret",
        "postgresql://reader@/a?host=/nowhere&sslpassword=secret",
        "postgresql://reader:part@secret@host/a",
        "reader:secret",
    ],
)
def test_no_refusal_of_an_address_repeats_its_password(url: str) -> None:
    words = "is not a database URL|cannot open the database postgresql"
    with pytest.raises((ValueError, UnusableDatabaseError), match=words) as caught:
        open_database(url)
    assert "secret" not in str(caught.value)


def test_what_a_click_saved_is_there_after_a_restart(database_url: str) -> None:
    first = open_database(database_url)
    with first.begin() as session:
        account = store.accounts.single_reader(session)
    first.dispose()
    second = open_database(database_url)
    with second.read() as session:
        assert store.accounts.single_reader(session) == account
    second.dispose()


def test_a_click_that_fails_saves_nothing(sessions: Sessions) -> None:
    def click() -> None:
        with sessions.begin() as session:
            record_event(session, None, "tried", "a")
            raise RuntimeError("half way")

    with pytest.raises(RuntimeError):
        click()
    with sessions.read() as session:
        assert store.audit.audit_trail(session) == []


def test_a_reading_session_cannot_write(sessions: Sessions) -> None:
    with sessions.read() as session, pytest.raises(DBAPIError, match=r"readonly|read-only"):
        record_event(session, None, "tried", "a")
    # The connection goes back to the pool and must be able to write again.
    with sessions.begin() as session:
        record_event(session, None, "done", "a")


def test_a_reading_session_sees_one_state_while_others_write(sessions: Sessions) -> None:
    if sessions.dialect == "sqlite":
        pytest.skip("a file of SQLite without WAL is not written while somebody reads it")
    with sessions.read() as session:
        before = store.audit.audit_trail(session)
        with sessions.begin() as writing:
            record_event(writing, None, "done", "a")
        assert store.audit.audit_trail(session) == before
    with sessions.read() as session:
        assert len(store.audit.audit_trail(session)) == len(before) + 1


def test_a_row_that_points_at_nothing_is_refused(sessions: Sessions) -> None:
    with pytest.raises(IntegrityError), sessions.begin() as session:
        record_event(session, 4711, "tried", "a")


def test_a_time_without_a_time_zone_is_refused(sessions: Sessions) -> None:
    naive = datetime(2026, 3, 1, 9, 30)  # noqa: DTZ001 (the point of the test)
    with pytest.raises(StatementError, match="needs a time zone"), sessions.begin() as session:
        session.add(tables.Account(name="a", role=Role.READER, created_at=naive))


def test_times_come_back_aware_and_in_utc(sessions: Sessions) -> None:
    tokyo = datetime(2026, 3, 1, 9, 30, 15, 123456, tzinfo=timezone(timedelta(hours=9)))
    with sessions.begin() as session:
        session.add(tables.Account(name="a", role=Role.READER, created_at=tokyo))
    with sessions.read() as session:
        found = session.scalars(select(tables.Account.created_at)).one()
    assert found == tokyo
    assert found.tzinfo is UTC


DEFAULTS = [
    "timezone = 'Asia/Kolkata'",
    "datestyle = 'German'",
    "extra_float_digits = -15",
    "bytea_output = 'escape'",
    "standard_conforming_strings = off",
    "client_encoding = 'SQL_ASCII'",
    "quote_all_identifiers = on",
    "default_transaction_isolation = 'repeatable read'",
    "default_transaction_isolation = 'serializable'",
]


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
@pytest.mark.parametrize("default", DEFAULTS)
def test_what_is_stored_does_not_depend_on_the_defaults_of_postgresql(database_url: str, default: str) -> None:
    server = make_url(database_url)
    run_on_server(server, f"ALTER DATABASE {server.database} SET {default}")
    sessions = open_database(database_url)
    with sessions.begin() as session:
        reader = store.accounts.single_reader(session).id
        case_id = make_case(session, reader)
    analyse_all(sessions, 1 / 3)
    with sessions.begin() as session:
        store.open_case.open_case(session, case_id, reader)
        # Another click is saved between the first look at the database and the end of this one.
        with sessions.begin() as other:
            make_case(other, reader)
        store.reads.record_first_read(session, case_id, reader, replace(BENIGN, note="C:\\x 'ü漢"), OPENED)
    with sessions.read() as session:
        (read,) = store.reads.own_reads(session, reader)
        assert read.opinion.note == "C:\\x 'ü漢"
        assert session.scalars(select(tables.Prediction.malignant_probability)).one() == 1 / 3
        assert session.scalars(select(tables.Read.saved_at)).one().utcoffset() == timedelta(0)
    assert verify(sessions).findings == ()
    sessions.dispose()


@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1"])
def test_a_database_that_is_not_in_utf_8_is_refused_in_words(postgres_server: str, encoding: str) -> None:
    server = make_url(postgres_server).set(drivername="postgresql+psycopg")
    name = f"test_{uuid.uuid4().hex}"
    run_on_server(server, f"CREATE DATABASE {name} TEMPLATE template0 ENCODING {encoding} LOCALE 'C'")
    try:
        with pytest.raises(UnusableDatabaseError, match=f"the database is in {encoding}: create one in UTF-8"):
            open_database(server.set(database=name).render_as_string(hide_password=False))
    finally:
        run_on_server(server, f"DROP DATABASE {name} WITH (FORCE)")


def test_tables_of_two_revisions_are_refused_in_words(sessions: Sessions, database_url: str) -> None:
    with sessions.begin() as session:
        session.execute(text("INSERT INTO alembic_version VALUES ('r0001')"))
    for open_again in (open_database, open_as_it_is):
        with pytest.raises(UnusableDatabaseError, match="several revisions at once"):
            open_again(database_url)


def test_read_then_write_by_twenty_threads_loses_no_update(sessions: Sessions) -> None:
    if sessions.dialect == "postgresql":
        pytest.skip("PostgreSQL locks rows, not the file; the store asks for those locks itself")

    def count_one_more(_: int) -> None:
        for _ in range(5):
            with sessions.begin() as session:
                known = session.scalar(select(func.count()).select_from(tables.AuditEvent))
                record_event(session, None, "counted", str(known))

    assert at_once(20, count_one_more) == [None] * 20
    with sessions.read() as session:
        subjects = session.scalars(select(tables.AuditEvent.subject)).all()
    assert sorted(map(int, subjects)) == list(range(100))


@pytest.mark.slow
@pytest.mark.parametrize("version", [(3, 40, 1), (3, 53, 1)])
def test_processes_that_start_at_once_agree_on_one_database(database_url: str, version: tuple[int, int, int]) -> None:
    program = (
        "import sys\nfrom db import store\nfrom db.database import open_database\n"
        f"sessions = open_database(sys.argv[1], sqlite_version={version})\n"
        "with sessions.begin() as session:\n    print(store.accounts.single_reader(session).id)\n"
    )
    with ExitStack() as processes:
        started = [processes.enter_context(forked.running(program, database_url)) for _ in range(3)]
        ended = [process.finish() for process in started]
    assert [each.returncode for each in ended] == [0] * 3, ended
    assert {each.stdout for each in ended} == {"1\n"}


def test_a_copy_by_the_backup_interface_is_whole_while_others_write(tmp_path: Path) -> None:
    path = tmp_path / "a.sqlite"
    sessions = open_database(f"sqlite:///{path}")
    with sessions.begin() as session:
        record_event(session, None, "before", "a")
        source, copy = sqlite3.connect(path), sqlite3.connect(tmp_path / "copy.sqlite")
        source.backup(copy)
    assert copy.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    source.close()
    copy.close()
    sessions.dispose()


def test_a_killed_server_loses_nothing_that_it_said_was_saved(sessions: Sessions, database_url: str) -> None:
    program = (
        "import sys\nfrom itertools import count\nfrom db.audit.trail import record_event\n"
        "from db.database import open_database\n"
        "sessions = open_database(sys.argv[1])\n"
        "for number in count(1):\n"
        "    with sessions.begin() as session:\n        record_event(session, None, 'saved', str(number))\n"
        "    print(number, flush=True)\n"
    )
    with forked.running(program, database_url) as process:
        said = [process.stdout.readline() for _ in range(10)]
        process.kill()
        said += process.stdout.readlines()
    acknowledged = {line.strip() for line in said if line.endswith("\n")}
    with sessions.read() as session:
        assert acknowledged <= {event.subject for event in store.audit.audit_trail(session, limit=100_000)}
    assert len(acknowledged) >= 10
