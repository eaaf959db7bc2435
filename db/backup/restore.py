"""Check backups, and restore a data folder from one, completely or not at all."""

import ctypes
import os
import shutil
import sqlite3
import tempfile
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

import psutil
from sqlalchemy import make_url

from db.audit.trail import record_event
from db.audit.verify import verify
from db.backup.archive import ANCHOR, DATABASE, Manifest, hold_lock, unpack
from db.database import describe_url, open_as_it_is, open_database
from db.errors import BackupError, UnusableDatabaseError
from db.files import FolderInUse, sync_folder
from db.values.audit import Action

_EXCHANGE = 2  # RENAME_EXCHANGE of linux/fs.h
_EMPTY = "the backup is damaged: its database is empty, or not one of Second Read"
# Every version of the program has these tables.
_FIRST_TABLES = {"accounts", "cases", "images", "reads", "audit_events"}
_HERE = -100  # AT_FDCWD of fcntl.h


@dataclass(frozen=True, slots=True)
class CheckedBackup:
    """An intact backup; `problems` existed already when it was made."""

    manifest: Manifest
    problems: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RestoredBackup:
    """A restored data folder, and where the previous one was moved to."""

    checked: CheckedBackup
    data: Path
    kept: Path | None


def check_backup(path: Path) -> CheckedBackup:
    """Read a whole backup and check its database.

    Raises:
        BackupError: If it is damaged or not a backup.
    """
    with tempfile.TemporaryDirectory() as folder:
        inside = Path(folder)
        manifest = unpack(path, lambda name: inside / name if name in (DATABASE, ANCHOR) else None)
        return CheckedBackup(manifest, _problems(manifest, inside))


def restore_backup(path: Path, data: Path, *, replace: bool = False, database: str | None = None) -> RestoredBackup:
    """Restore a data folder from a backup; if interrupted, either the old folder or the new one is in place.

    Args:
        path: The archive.
        data: The data folder: absent, empty, or replaced with `replace`. The old folder is kept beside it.
        replace: Whether a folder that is not empty may be replaced. The server must be stopped first.
        database: The URL of the database that the server of this folder uses; None if no server uses the folder.

    Raises:
        BackupError: If the backup is damaged, the folder is not empty, a program still uses it, or the server would
            not use the database that is restored.
    """
    occupied = data.exists() and (not data.is_dir() or any(data.iterdir()))
    if occupied and not replace:
        raise BackupError(f"{data} is not empty, so nothing was restored: choose another folder, or use --replace")
    if occupied and (users := _users(data / DATABASE)):
        raise BackupError(f"stop the server first: process {users[0]} uses {data / DATABASE}")
    if occupied and FolderInUse.by_server(data):
        raise BackupError(f"stop the server first: it uses {data}")
    data.parent.mkdir(parents=True, exist_ok=True)
    prefix = f".{data.name}-restoring-"
    with hold_lock(data.parent / f".{data.name}.restore.lock"):
        for leftover in data.parent.glob(f"{prefix}*"):
            shutil.rmtree(leftover)
        unpacked = Path(tempfile.mkdtemp(dir=data.parent, prefix=prefix))
        try:
            checked = _unpack_into(unpacked, path)
            if checked.manifest.has_database and database is not None:
                _require_in_folder(database, data)
            old = _exchange(unpacked, data) if occupied else None
            if not occupied:
                _move_in(unpacked, data)
        finally:
            shutil.rmtree(unpacked, ignore_errors=True)
    return RestoredBackup(checked, data, old)


def _require_in_folder(database: str, data: Path) -> None:
    """Refuse to restore a database that the server would not use."""
    url = make_url(database)
    inside = data.resolve() / DATABASE
    if url.get_backend_name() != "sqlite" or Path(url.database or "").resolve() != inside:
        raise BackupError(
            f"nothing was restored: SECOND_READ_DATABASE is {describe_url(url)}, so the server would not use the "
            f"database of this backup, which is restored as {inside}. Unset SECOND_READ_DATABASE first, or restore "
            "into another folder with --data"
        )


def _unpack_into(target: Path, path: Path) -> CheckedBackup:
    manifest = unpack(path, lambda name: target / name)
    checked = CheckedBackup(manifest, _problems(manifest, target))
    if manifest.has_database:
        # The first event after the restore; opening also upgrades an older database, or refuses it.
        try:
            sessions = open_database(_url(target))
        except UnusableDatabaseError as error:
            raise BackupError(f"nothing was restored: {error}") from error
        with sessions.begin() as session:
            record_event(session, None, Action.RESTORED, path.name)
        sessions.dispose()
    for folder, _, _ in os.walk(target):
        sync_folder(Path(folder))
    return checked


def _problems(manifest: Manifest, inside: Path) -> tuple[str, ...]:
    """List what was already wrong when the backup was made."""
    lacking = [f"the stored file {name[:12]} was missing or damaged" for name in manifest.lacking]
    if not manifest.has_database:
        return tuple(lacking)
    if damage := _damage(inside / DATABASE):
        return (*lacking, f"the database was damaged: {damage}")
    _require_tables(inside / DATABASE)
    try:
        sessions = open_as_it_is(_url(inside))
    except UnusableDatabaseError:
        return tuple(lacking)  # only the version that made it can verify its trail
    trail = [f"audit trail: {finding}" for finding in verify(sessions).findings]
    sessions.dispose()
    return (*lacking, *trail)


def _require_tables(database: Path) -> None:
    """Refuse a file that is a database, but holds nothing of Second Read; opening it would make an empty one."""
    try:
        with closing(sqlite3.connect(database)) as connection:
            names = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            (revisions,) = connection.execute("SELECT count(version_num) FROM alembic_version").fetchone()
    except sqlite3.DatabaseError as error:
        raise BackupError(_EMPTY) from error
    if revisions != 1 or not names >= _FIRST_TABLES:
        raise BackupError(_EMPTY)


def _damage(database: Path) -> str | None:
    try:
        with closing(sqlite3.connect(database)) as connection:
            (verdict,) = connection.execute("PRAGMA integrity_check").fetchone()
            dangling = connection.execute("PRAGMA foreign_key_check").fetchone()
    except sqlite3.DatabaseError as error:
        return str(error)
    if dangling:
        return f"rows of {dangling[0]} refer to missing rows"
    return None if verdict == "ok" else str(verdict)


def _url(folder: Path) -> str:
    return f"sqlite:///{quote(str(folder / DATABASE))}"


def _users(database: Path) -> list[int]:
    """Return the other processes that have the database open, as far as the system reveals them."""
    users = []
    for process in psutil.process_iter():
        try:
            if any(Path(file.path) == database for file in process.open_files()) and process.pid != os.getpid():
                users.append(process.pid)
        except (psutil.Error, OSError):
            continue
    return users


def _move_in(unpacked: Path, data: Path) -> None:
    try:
        unpacked.rename(data)
    except OSError as error:
        raise BackupError(
            f"{data} cannot be replaced ({error.strerror}); if it is a mount point, choose a folder inside it"
        ) from error
    sync_folder(data.parent)


def _exchange(unpacked: Path, data: Path) -> Path:
    """Swap the folders in one step, so that one of them is always in place, and keep the old one."""
    # Moved to its final name first: folders with the temporary prefix are removed by the next restore.
    old = data.with_name(f"{data.name}-before-restore-{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}")
    _move_in(unpacked, old)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.renameat2(_HERE, os.fsencode(old), _HERE, os.fsencode(data), _EXCHANGE):
        words = os.strerror(ctypes.get_errno())
        old.rename(unpacked)
        raise BackupError(f"{data} cannot be replaced ({words}): move it away yourself, then restore again")
    sync_folder(data.parent)
    return old
