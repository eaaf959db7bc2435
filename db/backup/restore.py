"""Checks backups, and makes a data folder from one: whole, or nothing is changed."""

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

from db.audit.trail import record_event
from db.audit.verify import verify
from db.backup.archive import DATABASE, HEADS, Manifest, alone, unpack
from db.database import open_as_it_is, open_database
from db.errors import BackupError, UnusableDatabaseError
from db.files import sync_folder
from db.values.reading import Action

_EXCHANGE = 2  # RENAME_EXCHANGE of linux/fs.h
_HERE = -100  # AT_FDCWD of fcntl.h


@dataclass(frozen=True, slots=True)
class Checked:
    """A backup that is whole to the byte; `problems` are those that were already there when it was made."""

    manifest: Manifest
    problems: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Restored:
    """A restored data folder, and where the one before it is now."""

    checked: Checked
    data: Path
    kept: Path | None


def check_backup(path: Path) -> Checked:
    """Read a whole backup, and try its database.

    Raises:
        BackupError: If it is damaged or no backup.
    """
    with tempfile.TemporaryDirectory() as folder:
        inside = Path(folder)
        manifest = unpack(path, lambda name: inside / name if name in (DATABASE, HEADS) else None)
        return Checked(manifest, _problems(manifest, inside))


def restore_backup(path: Path, data: Path, *, replace: bool = False) -> Restored:
    """Make a data folder from a backup; a kill at any moment leaves the old folder or the new one.

    Args:
        path: The archive.
        data: The data folder: absent, empty, or replaced if so told. What was in it is kept beside it.
        replace: Whether it may have something in it. The server has to be stopped then.

    Raises:
        BackupError: If the backup is damaged, the folder is not empty, or a program still uses its database.
    """
    taken = data.exists() and (not data.is_dir() or any(data.iterdir()))
    if taken and not replace:
        raise BackupError(f"{data} is not empty: nothing was restored. Name another folder, or say --replace")
    if taken and (users := _users(data / DATABASE)):
        raise BackupError(f"stop the server first: process {users[0]} uses {data / DATABASE}")
    data.parent.mkdir(parents=True, exist_ok=True)
    workshop = f".{data.name}-restoring-"
    with alone(data.parent / f".{data.name}.restore.lock"):
        for left in data.parent.glob(f"{workshop}*"):
            shutil.rmtree(left)
        made = Path(tempfile.mkdtemp(dir=data.parent, prefix=workshop))
        try:
            checked = _make(path, made)
            kept = _exchange(made, data) if taken else None
            if not taken:
                _move_in(made, data)
        finally:
            shutil.rmtree(made, ignore_errors=True)
    return Restored(checked, data, kept)


def _make(path: Path, made: Path) -> Checked:
    manifest = unpack(path, lambda name: made / name)
    checked = Checked(manifest, _problems(manifest, made))
    if manifest.has_database:
        # As the first thing in the new life of the trail; also brings an older database up to date, or refuses.
        try:
            sessions = open_database(_url(made))
        except UnusableDatabaseError as error:
            raise BackupError(f"nothing was restored: {error}") from error
        with sessions.begin() as session:
            record_event(session, None, Action.RESTORED, path.name)
        sessions.dispose()
    for folder, _, _ in os.walk(made):
        sync_folder(Path(folder))
    return checked


def _problems(manifest: Manifest, inside: Path) -> tuple[str, ...]:
    """Say what was wrong already when the backup was made."""
    lacking = [f"the stored file {name[:12]} was missing or damaged" for name in manifest.lacking]
    if not manifest.has_database:
        return tuple(lacking)
    if damage := _damage(inside / DATABASE):
        return (*lacking, f"the database was damaged: {damage}")
    try:
        sessions = open_as_it_is(_url(inside))
    except UnusableDatabaseError:
        return tuple(lacking)  # of another version, which alone can verify its trail
    trail = [f"audit trail: {finding}" for finding in verify(sessions).findings]
    sessions.dispose()
    return (*lacking, *trail)


def _damage(database: Path) -> str | None:
    try:
        with closing(sqlite3.connect(database)) as connection:
            (said,) = connection.execute("PRAGMA integrity_check").fetchone()
            dangling = connection.execute("PRAGMA foreign_key_check").fetchone()
    except sqlite3.DatabaseError as error:
        return str(error)
    if dangling:
        return f"rows of {dangling[0]} point at nothing"
    return None if said == "ok" else str(said)


def _url(folder: Path) -> str:
    return f"sqlite:///{quote(str(folder / DATABASE))}"


def _users(database: Path) -> list[int]:
    """Give the other processes that have the database open, as far as the system lets us see."""
    found = []
    for process in psutil.process_iter():
        try:
            if any(Path(file.path) == database for file in process.open_files()) and process.pid != os.getpid():
                found.append(process.pid)
        except (psutil.Error, OSError):
            continue
    return found


def _move_in(made: Path, data: Path) -> None:
    try:
        made.rename(data)
    except OSError as error:
        raise BackupError(
            f"{data} cannot be put in place ({error.strerror}); if it is a mount point, name a folder inside it"
        ) from error
    sync_folder(data.parent)


def _exchange(made: Path, data: Path) -> Path:
    """Exchange the folders in one step, so that there is always one of the two, and keep the old one."""
    # Under its last name before the exchange: what is named like a workshop is removed by the next restore.
    kept = data.with_name(f"{data.name}-before-restore-{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}")
    _move_in(made, kept)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.renameat2(_HERE, os.fsencode(kept), _HERE, os.fsencode(data), _EXCHANGE):
        words = os.strerror(ctypes.get_errno())
        kept.rename(made)
        raise BackupError(f"{data} cannot be replaced ({words}); move it away yourself and restore again")
    sync_folder(data.parent)
    return kept
