"""Distinguish a database that is locked, full, read-only or unreachable, which may pass, from one that is broken."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from errno import EDQUOT, ENOSPC

from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as NoConnectionError

from db.errors import DatabaseBusyError

_BUSY = "the database is busy"
_UNREACHABLE = "the database cannot be reached"
_FULL = "the disk of the database is full"
_READ_ONLY = "the database is read-only at the moment"
_NO_ROOM_FOR_FILES = "the disk of the data folder is full"

# Primary result codes, the low byte of the extended ones. A share that went away gives the last two.
_SQLITE_BUSY = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL)
_SQLITE_UNREACHABLE = (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_IOERR)
# https://www.postgresql.org/docs/current/errcodes-appendix.html
_POSTGRESQL_BUSY = (
    *("40001", "40P01", "55P03", "57014"),  # serialization, deadlock, lock not available, cancelled by a timeout
    *("25P03", "25P04"),  # a transaction that was idle, or lasted, too long
)
_POSTGRESQL_UNREACHABLE = ("57P01", "57P02", "57P03", "57P05", "53300")  # shut down, starting, too many connections
_POSTGRESQL_FULL, _POSTGRESQL_READ_ONLY = "53100", "25006"
_CONNECTION_CLASS = "08"


@contextmanager
def telling_busy(*, writing: bool = False) -> Iterator[None]:
    """Raise DatabaseBusyError in place of an error that may pass; `writing` says that the block may change rows."""
    try:
        yield
    except NoConnectionError as error:
        raise DatabaseBusyError(_BUSY) from error
    except DBAPIError as error:
        # In a session that only reads, this would mean that the program tried to write, which is a fault of its own.
        words = _READ_ONLY if writing and _is_read_only(error) else _describe(error)
        if words is None:
            raise
        raise DatabaseBusyError(words) from error


@contextmanager
def telling_full_disk() -> Iterator[None]:
    """Raise DatabaseBusyError in place of an error that says that the disk of the data folder is full."""
    try:
        yield
    except OSError as error:
        if error.errno not in (ENOSPC, EDQUOT):
            raise
        raise DatabaseBusyError(_NO_ROOM_FOR_FILES) from error


def _describe(error: DBAPIError) -> str | None:
    """Return what a person is told of an error that may pass; None for any other error."""
    if isinstance(error.orig, sqlite3.Error):
        code = _sqlite_code(error.orig)
        if code == sqlite3.SQLITE_FULL:
            return _FULL
        return _BUSY if code in _SQLITE_BUSY else _UNREACHABLE if code in _SQLITE_UNREACHABLE else None
    state = _sqlstate(error)
    if state == _POSTGRESQL_FULL:
        return _FULL
    if state in _POSTGRESQL_BUSY:
        return _BUSY
    # An operational error without a state is one of the connection: refused, timed out or broken off.
    lost = error.connection_invalidated or (state is None and isinstance(error, OperationalError))
    away = state is not None and (state.startswith(_CONNECTION_CLASS) or state in _POSTGRESQL_UNREACHABLE)
    return _UNREACHABLE if lost or away else None


def _is_read_only(error: DBAPIError) -> bool:
    if isinstance(error.orig, sqlite3.Error):
        return _sqlite_code(error.orig) == sqlite3.SQLITE_READONLY
    return _sqlstate(error) == _POSTGRESQL_READ_ONLY


def _sqlite_code(error: sqlite3.Error) -> int:
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF


def _sqlstate(error: DBAPIError) -> str | None:
    # By name, because importing psycopg would take time that pages on SQLite need not spend.
    state: str | None = getattr(error.orig, "sqlstate", None)
    return state
