"""Open the database: SQLite by default, PostgreSQL when asked, the same to every caller.

SQLite has no queue of writers, so threads of one process queue here and write in the order in which they came."""

import sqlite3
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Literal

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import ArgumentError, DatabaseError
from sqlalchemy.orm import Session
from sqlalchemy.pool import ConnectionPoolEntry

from db.audit.anchor import Heads, heads_of
from db.audit.chain import gather, head, write_pending
from db.errors import UnusableDatabaseError

# A writer waits this long for the others before it gives up.
_BUSY_SECONDS = 30
# Connections of one process: pages, routes and gate of a server share them. Opened when first needed.
_POOL_SIZE, _POOL_OVERFLOW = 20, 40
_USE = "second_read_use"  # execution option: what a connection is for; "write" if it does not say

Version = tuple[int, int, int]


class Turns:
    """A queue of threads."""

    def __init__(self, patience_seconds: float) -> None:
        self._patience_seconds = patience_seconds
        self._lock = threading.Lock()
        self._queue: deque[threading.Event] = deque()  # the first one has its turn

    @property
    def waiting(self) -> int:
        """Count the threads that wait for their turn."""
        return max(0, len(self._queue) - 1)

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Wait for one's turn, which lasts until the block ends; out of patience, go on without it."""
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
    """Gives sessions of one database; one per click, closed before anything is drawn."""

    def __init__(self, engine: Engine, heads: Heads | None) -> None:
        self._engine = engine
        self.heads = heads
        # PostgreSQL has a queue of its own for each row.
        self._turns = Turns(_BUSY_SECONDS) if engine.dialect.name == "sqlite" else None
        self._reading = engine.execution_options(**{_USE: "read", "postgresql_readonly": True})
        self._writing = engine.execution_options(**{_USE: "write"})

    @contextmanager
    def begin(self) -> Iterator[Session]:
        """Give a session that may write; saved at the end of the block, undone if it raises.

        On SQLite it is the only writer from the start: one that reads first and writes later would
        lose updates or fail half way. The events of the audit trail are written last, and anchored outside.
        """
        with Session(self._writing, expire_on_commit=False) as session:
            with self._turns.turn() if self._turns else nullcontext(), session.begin():
                session.connection()
                gather(session)
                yield session
                added = write_pending(session)
                if added and self.heads:
                    self.heads.announce(added)
            if added and self.heads:
                self.heads.confirm(added)

    @contextmanager
    def read(self) -> Iterator[Session]:
        """Give a session that sees one state of the database and cannot change it."""
        with Session(self._reading, expire_on_commit=False) as session:
            yield session

    @property
    def dialect(self) -> str:
        """Which database this is: `sqlite` or `postgresql`."""
        return self._engine.dialect.name

    def dispose(self) -> None:
        """Close all connections."""
        self._engine.dispose()


def open_database(url: str, *, data: Path | None = None, sqlite_version: Version | None = None) -> Sessions:
    """Open a database, made or brought up to date first; safe when several processes start at once.

    Args:
        url: `sqlite:////absolute/path`, or `postgresql://user@host/name`.
        data: Where the audit trail of a PostgreSQL database is anchored; not anchored if left out. That of
            SQLite is anchored beside its file.
        sqlite_version: Choose the journal as for this version; the linked one's if left out.

    Raises:
        UnusableDatabaseError: If it is newer than this program, or no database of ours.
        ValueError: If the URL names neither SQLite in a file nor PostgreSQL.
    """
    parsed = _checked(url)
    if parsed.get_backend_name() == "sqlite":
        Path(parsed.database or "").resolve().parent.mkdir(parents=True, exist_ok=True)
    # Alembic takes a quarter of the time that a page may take to import; only opening a database needs it.
    from db.upgrade import upgrade  # noqa: PLC0415

    engine = _engine(parsed, sqlite_version or _linked_sqlite())
    try:
        with engine.execution_options(**{_USE: "upgrade"}).begin() as connection:
            added = upgrade(connection)
            heads = heads_of(parsed, data)
            found = head(Session(connection)) if heads else None
            if heads and added and heads.begun:
                heads.announce(added)
    except (DatabaseError, sqlite3.DatabaseError) as error:
        where = parsed.render_as_string(hide_password=True)
        raise UnusableDatabaseError(f"the database {where} cannot be opened: {_first_line(error)}") from error
    if heads and found:
        if added and heads.begun:
            heads.confirm(added)
        heads.begin(found)
    return Sessions(engine, heads)


def open_as_it_is(url: str, *, data: Path | None = None) -> Sessions:
    """Open a database to look at it: it is neither made nor brought up to date.

    Raises:
        UnusableDatabaseError: If it is not there, or not of this version of the program.
        ValueError: If the URL names neither SQLite in a file nor PostgreSQL.
    """
    parsed = _checked(url)
    if parsed.get_backend_name() == "sqlite" and not Path(parsed.database or "").is_file():
        raise UnusableDatabaseError(f"there is no database at {parsed.database}")
    from db.upgrade import require_current  # noqa: PLC0415

    sessions = Sessions(_engine(parsed, _linked_sqlite()), heads_of(parsed, data))
    try:
        with sessions.read() as session:
            require_current(session.connection())
    except (DatabaseError, sqlite3.DatabaseError) as error:
        where = parsed.render_as_string(hide_password=True)
        raise UnusableDatabaseError(f"the database {where} cannot be opened: {_first_line(error)}") from error
    return sessions


def journal_mode(version: Version) -> Literal["wal", "delete"]:
    """Choose SQLite's journal: WAL can corrupt the file in versions 3.7.0 to 3.51.2.

    Two connections that write and checkpoint at the same moment are enough. Fixed in 3.51.3, and in
    3.50.7 and 3.44.6 (https://sqlite.org/wal.html, "The WAL-reset bug").
    """
    fixed = version >= (3, 51, 3) or (3, 50, 7) <= version < (3, 51, 0) or (3, 44, 6) <= version < (3, 45, 0)
    return "wal" if fixed else "delete"


def _checked(url: str) -> URL:
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise ValueError(f"not the address of a database: {url!r}") from error
    backend = parsed.get_backend_name()
    if backend == "postgresql":
        return parsed.set(drivername="postgresql+psycopg")
    if backend != "sqlite":
        raise ValueError(f"{backend} is not supported: use SQLite or PostgreSQL")
    if parsed.database in (None, "", ":memory:"):
        raise ValueError("SQLite needs a file: in memory, every thread would have a database of its own")
    return parsed


def _engine(url: URL, version: Version) -> Engine:
    if url.get_backend_name() == "postgresql":
        return create_engine(url, pool_size=_POOL_SIZE, max_overflow=_POOL_OVERFLOW, pool_pre_ping=True)
    engine = create_engine(
        url, pool_size=_POOL_SIZE, max_overflow=_POOL_OVERFLOW, connect_args={"timeout": _BUSY_SECONDS}
    )
    mode = journal_mode(version)

    @event.listens_for(engine, "connect")
    def _prepare(connection: DBAPIConnection, _: ConnectionPoolEntry) -> None:
        _prepare_sqlite(connection, mode)

    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(connection: DBAPIConnection, mode: str) -> None:
    # The driver would begin transactions late and end them early; SQLAlchemy's recipe is to begin them ourselves.
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA journal_mode = {mode}")
    cursor.execute("PRAGMA synchronous = FULL")
    # Else INSERT OR REPLACE would delete without asking the triggers that refuse it.
    cursor.execute("PRAGMA recursive_triggers = ON")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    use = connection.get_execution_options().get(_USE, "write")
    # SQLite ignores foreign keys unless asked, on every connection; a migration that rebuilds a table needs them off.
    connection.exec_driver_sql(f"PRAGMA foreign_keys = {'OFF' if use == 'upgrade' else 'ON'}")
    connection.exec_driver_sql(f"PRAGMA query_only = {'ON' if use == 'read' else 'OFF'}")
    connection.exec_driver_sql("BEGIN" if use == "read" else "BEGIN IMMEDIATE")


def _linked_sqlite() -> Version:
    major, minor, patch = sqlite3.sqlite_version_info
    return major, minor, patch


def _first_line(error: Exception) -> str:
    return str(getattr(error, "orig", None) or error).strip().partition("\n")[0]
