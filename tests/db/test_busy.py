"""A database that is locked, full, read-only or unreachable is told apart from one that is broken."""

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from errno import ENOSPC
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import make_url, text
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as NoConnectionError

from db import database, store, upgrade
from db.audit.anchor import AnchorFile
from db.audit.trail import record_event
from db.busy import telling_busy
from db.database import Sessions, open_database
from db.errors import DatabaseBusyError
from db.values.audit import EventFilter
from tests.helpers.concurrency import wait_until
from tests.helpers.databases import open_new, run_on_server


class _SqliteError(sqlite3.OperationalError):
    """An error of SQLite with the code that the driver gives it."""

    def __init__(self, code: int) -> None:
        super().__init__("words of the driver")
        self.sqlite_errorcode = code


class _PostgresqlError(Exception):
    """An error of PostgreSQL with its state; None is an error of the connection."""

    def __init__(self, state: str | None) -> None:
        super().__init__("words of the server")
        self.sqlstate = state


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of a database that does not wait long for whoever locks it."""
    monkeypatch.setattr(database, "_BUSY_SECONDS", 0.2)
    return tmp_path / "test.sqlite"


@pytest.fixture
def short(path: Path) -> Iterator[Sessions]:
    """Sessions of a database of SQLite."""
    opened = open_new(path)
    yield opened
    opened.dispose()


def test_a_click_on_a_locked_database_says_busy_and_the_next_one_saves(path: Path, short: Sessions) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(DatabaseBusyError, match="the database is busy"), short.begin() as session:
            record_event(session, None, "tried", "a")
        with pytest.raises(DatabaseBusyError, match="the database is busy"), short.read() as session:
            session.scalar(text("SELECT count(*) FROM cases"))
        other.execute("ROLLBACK")
    with short.begin() as session:
        record_event(session, None, "saved", "a")
        assert [event.action for event in store.audit.audit_trail(session)] == ["saved"]


def test_a_lock_that_comes_before_the_commit_says_busy_and_saves_nothing(path: Path, short: Sessions) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        # A reader that holds its snapshot keeps a commit waiting where the journal is deleted at its end.
        other.execute("PRAGMA journal_mode = DELETE")
        other.execute("BEGIN")
        other.execute("SELECT count(*) FROM cases").fetchone()
        with pytest.raises(DatabaseBusyError, match="busy"), short.begin() as session:
            record_event(session, None, "tried", "a")
        other.execute("ROLLBACK")
    with short.begin() as session:
        assert store.audit.audit_trail(session) == []


def _lock_account(sessions: Sessions, account: int, meanwhile: Callable[[], None]) -> None:
    """Lock the row of an account, waiting only briefly for others, and do something while it is locked."""
    with sessions.begin() as session:
        session.execute(text("SET LOCAL lock_timeout = '50ms'"))
        session.execute(text(f"SELECT id FROM accounts WHERE id = {account} FOR UPDATE"))  # noqa: S608
        meanwhile()


def test_a_postgresql_row_that_another_program_locks_says_busy(sessions: Sessions) -> None:
    if sessions.dialect != "postgresql":
        pytest.skip("PostgreSQL's limit for locks")
    with sessions.begin() as session:
        account = store.accounts.single_reader(session).id

    def lock_again() -> None:
        with pytest.raises(DatabaseBusyError, match="busy"):
            _lock_account(sessions, account, lambda: None)

    _lock_account(sessions, account, lock_again)


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_a_table_of_postgresql_that_another_program_locks_says_busy(
    with_tables: None, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "_BUSY_SECONDS", 0.2)
    sessions = open_database(database_url)
    # The other program has no limit of its own, and ends only after ours has given up.
    with psycopg.connect(make_url(database_url).set(drivername="postgresql").render_as_string(False)) as other:
        other.execute("LOCK TABLE audit_events IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(DatabaseBusyError, match="the database is busy"), sessions.begin() as session:
            record_event(session, None, "tried", "a")
        with pytest.raises(DatabaseBusyError, match="the database is busy"), sessions.read() as session:
            store.audit.audit_trail(session)
    with sessions.begin() as session:
        record_event(session, None, "saved", "a")
        assert [event.action for event in store.audit.audit_trail(session)] == ["saved"]
    sessions.dispose()


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_a_server_waits_for_the_upgrade_of_another_longer_than_for_a_lock(
    with_tables: None, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "_BUSY_SECONDS", 0.001)
    waits = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND database = "
    waits += "(SELECT oid FROM pg_database WHERE datname = current_database())"
    raw = make_url(database_url).set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(raw) as other, ThreadPoolExecutor(1) as pool:
        other.execute("SELECT pg_advisory_xact_lock(%s)", [upgrade._LOCK])
        opening = pool.submit(open_database, database_url)
        wait_until(lambda: other.execute(waits).fetchone() == (1,), "the second server to wait")
        # With the limit of a lock it would have ended long before it was seen again.
        assert other.execute(waits).fetchone() == (1,)
        assert not opening.done()
        other.rollback()
        sessions = opening.result()
    with sessions.read() as session:
        assert session.scalar(text("SHOW lock_timeout")) == "1ms"
    sessions.dispose()


def test_a_connection_that_the_server_ends_says_unreachable_and_the_next_click_saves(
    sessions: Sessions, database_url: str
) -> None:
    if sessions.dialect != "postgresql":
        pytest.skip("PostgreSQL's connections")
    server = make_url(database_url).set(drivername="postgresql+psycopg")
    end_all = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{server.database}'"  # noqa: S608

    def save(word: str, *, meanwhile: Sequence[str] = ()) -> None:
        with sessions.begin() as session:
            session.execute(text("SELECT 1"))
            run_on_server(server, *meanwhile)
            record_event(session, None, word, "a")

    with pytest.raises(DatabaseBusyError, match="cannot be reached"):
        save("tried", meanwhile=[end_all])
    save("saved")
    with sessions.read() as session:
        assert [event.action for event in store.audit.audit_trail(session)] == ["saved"]


def test_a_server_that_is_not_there_says_unreachable(tmp_path: Path) -> None:
    opened = open_new(tmp_path / "a.sqlite")
    opened.dispose()
    (tmp_path / "a.sqlite").rename(tmp_path / "b.sqlite")
    (tmp_path / "a.sqlite").mkdir()
    with pytest.raises(DatabaseBusyError, match="cannot be reached"), opened.read() as session:
        session.scalar(text("SELECT 1"))


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OperationalError("", {}, _SqliteError(sqlite3.SQLITE_FULL)), "disk of the database is full"),
        (OperationalError("", {}, _PostgresqlError("53100")), "disk of the database is full"),
        (OperationalError("", {}, _SqliteError(sqlite3.SQLITE_BUSY_SNAPSHOT)), "busy"),
        (OperationalError("", {}, _SqliteError(sqlite3.SQLITE_LOCKED_SHAREDCACHE)), "busy"),
        (OperationalError("", {}, _SqliteError(sqlite3.SQLITE_CANTOPEN_ISDIR)), "cannot be reached"),
        (OperationalError("", {}, _SqliteError(sqlite3.SQLITE_IOERR_READ)), "cannot be reached"),
        *((OperationalError("", {}, _PostgresqlError(state)), "busy") for state in ("55P03", "40P01", "57014")),
        *(
            (OperationalError("", {}, _PostgresqlError(state)), "cannot be reached")
            for state in (None, "08006", "57P01", "57P03", "53300")
        ),
        (DBAPIError("", {}, _PostgresqlError(None), connection_invalidated=True), "cannot be reached"),
        (NoConnectionError("QueuePool limit"), "busy"),
    ],
)
def test_every_error_that_may_pass_is_told_as_busy_full_or_unreachable(error: Exception, words: str) -> None:
    with pytest.raises(DatabaseBusyError, match=words), telling_busy():
        raise error


@pytest.mark.parametrize(
    "error",
    [
        OperationalError("", {}, _SqliteError(sqlite3.SQLITE_ERROR)),
        InterfaceError("", {}, _PostgresqlError("22P05")),
        DBAPIError("", {}, _PostgresqlError(None)),
        ValueError("the database is locked"),
    ],
)
def test_an_error_that_will_not_pass_stays_what_it_is(error: Exception) -> None:
    with pytest.raises(type(error)), telling_busy(writing=True):
        raise error


@pytest.mark.parametrize(
    "error",
    [
        OperationalError("", {}, _SqliteError(sqlite3.SQLITE_READONLY_DBMOVED)),
        DBAPIError("", {}, _PostgresqlError("25006")),
    ],
)
def test_a_read_only_database_is_told_in_a_session_that_may_write(error: Exception) -> None:
    with pytest.raises(DatabaseBusyError, match="read-only at the moment"), telling_busy(writing=True):
        raise error
    with pytest.raises(type(error)), telling_busy():
        raise error


def test_a_full_disk_saves_nothing_and_the_same_click_succeeds_when_there_is_room(short: Sessions) -> None:
    def save(pages: int) -> None:
        with short.begin() as session:
            session.execute(text(f"PRAGMA max_page_count = {pages}"))  # a disk of this size
            for number in range(500):
                record_event(session, None, "saved", f"a long subject of a case, {number}")

    with pytest.raises(DatabaseBusyError, match="the disk of the database is full"):
        save(1)
    with short.read() as session:
        assert store.audit.audit_trail(session) == []
    save(1_000_000)
    with short.read() as session:
        assert len(list(store.audit.each_event(session, EventFilter()))) == 500


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_a_server_that_is_read_only_for_a_while_loses_nothing(with_tables: None, database_url: str) -> None:
    sessions = open_database(database_url)
    server = make_url(database_url).set(drivername="postgresql+psycopg")
    alter = f"ALTER DATABASE {server.database} SET default_transaction_read_only ="

    def save() -> None:
        with sessions.begin() as session:
            record_event(session, None, "saved", "a")

    run_on_server(server, f"{alter} on")
    sessions.dispose()  # the setting holds for new connections
    with pytest.raises(DatabaseBusyError, match="read-only at the moment"):
        save()
    with sessions.read() as session:
        assert store.audit.audit_trail(session) == []
    run_on_server(server, f"{alter} off")
    sessions.dispose()
    save()
    with sessions.read() as session:
        assert [event.action for event in store.audit.audit_trail(session)] == ["saved"]
    sessions.dispose()


def test_a_click_that_cannot_be_announced_on_a_full_disk_saves_nothing(
    short: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    def announce(anchor: AnchorFile, added: object) -> None:
        raise OSError(ENOSPC, "No space left on device")

    with monkeypatch.context() as full:
        full.setattr(AnchorFile, "announce", announce)
        with pytest.raises(DatabaseBusyError, match="the disk of the data folder is full"), short.begin() as session:
            record_event(session, None, "tried", "a")
    with short.begin() as session:
        record_event(session, None, "saved", "a")
        assert [event.action for event in store.audit.audit_trail(session)] == ["saved"]
