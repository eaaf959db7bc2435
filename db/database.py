"""Open the database: SQLite by default, PostgreSQL on request, with the same interface.

SQLite does not queue its writers, so the threads of one process queue here and write in order of arrival.
"""

import sqlite3
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import closing, contextmanager, nullcontext
from pathlib import Path
from typing import Literal

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import ArgumentError, DatabaseError
from sqlalchemy.orm import Session
from sqlalchemy.pool import ConnectionPoolEntry

from core import clock
from db.audit.anchor import AnchorFile, anchor_for
from db.audit.chain import last_event, start_collecting, write_pending
from db.audit.clock import record_if_set_back
from db.busy import telling_busy, telling_full_disk
from db.errors import UnusableDatabaseError
from db.projection.touched import start_watching
from db.projection.write import project_touched
from db.queries.text_search import SQLITE_FUNCTION, find_text

# How long a writer waits for the others before it gives up.
_BUSY_SECONDS = 30
# Connections of one process, shared by the pages, routes and gate of a server. Opened when first needed.
_POOL_SIZE, _POOL_OVERFLOW = 20, 40
_USE = "second_read_use"  # execution option: what a connection is used for; "write" if not set
_ANSWER_SECONDS = 10  # in which PostgreSQL must answer a new connection, unless the URL says otherwise

Version = tuple[int, int, int]


class WriteQueue:
    """A first-in, first-out queue of the threads that want to write."""

    def __init__(self, patience_seconds: float) -> None:
        self._patience_seconds = patience_seconds
        self._lock = threading.Lock()
        self._queue: deque[threading.Event] = deque()  # the first one may write

    @property
    def waiting(self) -> int:
        """Count the threads that wait to write."""
        return max(0, len(self._queue) - 1)

    @contextmanager
    def wait_to_write(self) -> Iterator[None]:
        """Wait until this thread is first in the queue; leave the queue when the block ends.

        After `patience_seconds` it goes ahead anyway, and SQLite decides.
        """
        mine = threading.Event()
        with self._lock:
            self._queue.append(mine)
            self._queue[0].set()
        mine.wait(self._patience_seconds)
        try:
            yield
        finally:
            with self._lock:
                self._queue.remove(mine)
                if self._queue:
                    self._queue[0].set()


class Sessions:
    """Opens sessions of one database: one per click, closed before anything is drawn."""

    def __init__(self, engine: Engine, anchor: AnchorFile | None, known: int = 0) -> None:
        self._engine = engine
        self._known = known  # the last event when the clock of this process was right
        self.anchor = anchor
        on_sqlite = engine.dialect.name == "sqlite"
        # PostgreSQL queues writers itself, for each row.
        self._write_queue = WriteQueue(_BUSY_SECONDS) if on_sqlite else None
        # In SQLite every transaction sees one state.
        one_state = {} if on_sqlite else {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
        self._reading = engine.execution_options(**{_USE: "read"} | one_state)
        self._writing = engine.execution_options(**{_USE: "write"})

    @contextmanager
    def begin(self) -> Iterator[Session]:
        """Open a session that may write; committed at the end of the block, rolled back if the block raises.

        On SQLite it is the only writer from the start: a session that reads first and writes later could
        lose updates or fail halfway. Audit events are written at the end and recorded in the anchor file, and the
        worklists of the cases that the session has touched are derived again.

        Raises:
            DatabaseBusyError: If the database is locked for too long, full or read-only, or cannot be reached.
        """
        with telling_busy(writing=True), Session(self._writing, expire_on_commit=False) as session:
            with self._write_queue.wait_to_write() if self._write_queue else nullcontext(), session.begin():
                session.connection()
                start_collecting(session)
                start_watching(session)
                told = record_if_set_back(session, self._known)
                yield session
                added = write_pending(session)
                project_touched(session)
                if added and self.anchor:
                    with telling_full_disk():
                        self.anchor.announce(added)
            if added and self.anchor:
                self.anchor.confirm(added)
            if told is not None:
                clock.accept()
                self._known = added.last if added else told

    @contextmanager
    def read(self) -> Iterator[Session]:
        """Open a session that sees one state of the database and cannot change it.

        Raises:
            DatabaseBusyError: If the database is locked for too long, or cannot be reached.
        """
        with telling_busy(), Session(self._reading, expire_on_commit=False) as session:
            yield session

    @property
    def dialect(self) -> str:
        """The kind of database: `sqlite` or `postgresql`."""
        return self._engine.dialect.name

    def dispose(self) -> None:
        """Close all connections."""
        self._engine.dispose()


def open_database(url: str, *, data: Path | None = None, sqlite_version: Version | None = None) -> Sessions:
    """Open a database, creating or upgrading it first; safe when several processes start at once.

    Args:
        url: `sqlite:////absolute/path`, or `postgresql://user@host/name`.
        data: Folder for the anchor file of a PostgreSQL database; without it, there is none. SQLite's anchor file
            is always beside the database.
        sqlite_version: Choose the journal mode for this version of SQLite; the linked version if left out.

    Raises:
        UnusableDatabaseError: If it is newer than this program, or not a Second Read database.
        ValueError: If the URL names neither SQLite in a file nor PostgreSQL.
    """
    parsed = _checked(url)
    if parsed.get_backend_name() == "sqlite":
        Path(parsed.database or "").resolve().parent.mkdir(parents=True, exist_ok=True)
    # Importing Alembic takes a quarter of the time allowed for importing a page; only opening a database needs it.
    from db.upgrade import upgrade  # noqa: PLC0415

    engine = _engine(parsed, sqlite_version or _linked_sqlite())
    try:
        with engine.execution_options(**{_USE: "upgrade"}).begin() as connection:
            added = upgrade(connection)
            anchor = anchor_for(parsed, data)
            newest = last_event(Session(connection))
            if anchor and added and anchor.begun:
                anchor.announce(added)
    except (DatabaseError, sqlite3.DatabaseError) as error:
        raise UnusableDatabaseError(f"cannot open the database {describe_url(parsed)}: {_first_line(error)}") from error
    if anchor:
        anchor.mend()
        if added and anchor.begun:
            anchor.confirm(added)
        anchor.begin(newest)
    return Sessions(engine, anchor, newest.last)


def open_as_it_is(url: str, *, data: Path | None = None) -> Sessions:
    """Open an existing database without creating or upgrading it.

    Raises:
        UnusableDatabaseError: If it does not exist, or belongs to another version of the program.
        ValueError: If the URL names neither SQLite in a file nor PostgreSQL.
    """
    parsed = _checked(url)
    if parsed.get_backend_name() == "sqlite" and not Path(parsed.database or "").is_file():
        raise UnusableDatabaseError(f"there is no database at {parsed.database}")
    from db.upgrade import require_current  # noqa: PLC0415

    sessions = Sessions(_engine(parsed, _linked_sqlite()), anchor_for(parsed, data))
    try:
        with sessions.read() as session:
            require_current(session.connection())
    except (DatabaseError, sqlite3.DatabaseError) as error:
        raise UnusableDatabaseError(f"cannot open the database {describe_url(parsed)}: {_first_line(error)}") from error
    return sessions


def journal_mode(version: Version) -> Literal["wal", "delete"]:
    """Choose SQLite's journal mode: WAL can corrupt the file in versions 3.7.0 to 3.51.2.

    Two connections that write and checkpoint at the same moment are enough. Fixed in 3.51.3, and in
    3.50.7 and 3.44.6 (https://sqlite.org/wal.html, "The WAL-reset bug").
    """
    fixed = version >= (3, 51, 3) or (3, 50, 7) <= version < (3, 51, 0) or (3, 44, 6) <= version < (3, 45, 0)
    return "wal" if fixed else "delete"


def describe_url(url: URL) -> str:
    """Return a URL as it may be shown: without a password, wherever that is."""
    return url.difference_update_query(["password", "sslpassword"]).render_as_string(hide_password=True)


def _checked(url: str) -> URL:
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        parsed = None
    # With an @ that was not escaped, a part of the password is taken for the host.
    if parsed is None or "@" in (parsed.host or ""):
        # Without repeating the URL, or the error that does: a password may be in it.
        raise ValueError(
            "this is not a database URL: use sqlite:////absolute/path or postgresql://user:password@host:port/name, "
            "and write special characters of the password as in %40 for @"
        ) from None
    backend = parsed.get_backend_name()
    if backend == "postgresql":
        return parsed.set(drivername="postgresql+psycopg")
    if backend != "sqlite":
        raise ValueError(f"{backend} databases are not supported: use SQLite or PostgreSQL")
    if parsed.database in (None, "", ":memory:"):
        raise ValueError("SQLite needs a database file: in memory, every thread would have its own database")
    return parsed


def _engine(url: URL, version: Version) -> Engine:
    if url.get_backend_name() == "postgresql":
        return _postgresql_engine(url)
    engine = create_engine(
        url, pool_size=_POOL_SIZE, max_overflow=_POOL_OVERFLOW, connect_args={"timeout": _BUSY_SECONDS}
    )
    mode = journal_mode(version)

    @event.listens_for(engine, "connect")
    def _prepare(connection: DBAPIConnection, _: ConnectionPoolEntry) -> None:
        _prepare_sqlite(connection, mode)

    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _postgresql_engine(url: URL) -> Engine:
    # Importing psycopg takes time that is not spent on SQLite.
    from db.postgresql import PostgresqlConnection, prepare  # noqa: PLC0415

    engine = create_engine(
        url,
        pool_size=_POOL_SIZE,
        max_overflow=_POOL_OVERFLOW,
        pool_pre_ping=True,
        # What comes after a lock must see what the lock has waited for, so each statement needs the newest state.
        isolation_level="READ COMMITTED",
        connect_args={} if "connect_timeout" in url.query else {"connect_timeout": _ANSWER_SECONDS},
    )

    def _prepare(connection: PostgresqlConnection, _: ConnectionPoolEntry) -> None:
        prepare(connection, _BUSY_SECONDS)

    # Before SQLAlchemy asks its first question, whose answer it could not read in some encodings.
    event.listen(engine, "connect", _prepare, insert=True)
    return engine


def _prepare_sqlite(connection: DBAPIConnection, mode: str) -> None:
    # The driver begins transactions late and ends them early; as SQLAlchemy recommends, we begin them ourselves.
    connection.isolation_level = None
    # Bytes that are no text, which only tampering can put there, are read as they are, so that they can be found.
    connection.text_factory = lambda stored: stored.decode("utf-8", "surrogateescape")
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA journal_mode = {mode}")
    cursor.execute("PRAGMA synchronous = FULL")
    # Otherwise INSERT OR REPLACE would delete rows without firing the triggers that refuse it.
    cursor.execute("PRAGMA recursive_triggers = ON")
    cursor.close()
    connection.create_function(SQLITE_FUNCTION, 2, find_text, deterministic=True)


def _begin_sqlite(connection: Connection) -> None:
    use = connection.get_execution_options().get(_USE, "write")
    # The driver's own cursor: every transaction begins with this, and SQLAlchemy would take several times as long.
    with closing(connection.connection.cursor()) as cursor:
        # SQLite ignores foreign keys unless asked to on every connection; migrations that rebuild tables need them off.
        cursor.execute(f"PRAGMA foreign_keys = {'OFF' if use == 'upgrade' else 'ON'}")
        cursor.execute(f"PRAGMA query_only = {'ON' if use == 'read' else 'OFF'}")
        if use == "read":
            cursor.execute("BEGIN")
        else:
            # It may wait for a lock in vain, which SQLAlchemy then reports as it does every error.
            connection.exec_driver_sql("BEGIN IMMEDIATE")


def _linked_sqlite() -> Version:
    major, minor, patch = sqlite3.sqlite_version_info
    return major, minor, patch


def _first_line(error: Exception) -> str:
    return str(getattr(error, "orig", None) or error).strip().partition("\n")[0]
