"""Make a backup while the server is running: the database, stored files, fitted checkpoints and the anchor file."""

import hashlib
import io
import os
import shutil
import sqlite3
import tarfile
import tempfile
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import URL, create_engine, make_url, text

from db.audit.anchor import encode_lines, lines_until
from db.audit.stored_files import referenced_files
from db.audit.trail import record_event
from db.backup.archive import ANCHOR, CHECKPOINTS, DATABASE, MANIFEST, ArchiveMember, Manifest, hold_lock
from db.database import Sessions, open_as_it_is
from db.errors import BackupError
from db.files import DamagedFileError, Files, sync_folder
from db.values.audit import Action

_UNFINISHED = ".making-backup-"  # prefix of the folder for an unfinished backup
_LOCK = ".second-read-backup.lock"


@dataclass(frozen=True, slots=True)
class BackupSource:
    """What to back up: a database URL, the data folder, and in it the folders of stored files and of checkpoints.

    `checkpoints` has those that were fitted to this site; it need not exist.
    """

    database: str
    data: Path
    files: Path
    checkpoints: Path


@dataclass(frozen=True, slots=True)
class FinishedBackup:
    """A finished backup."""

    path: Path
    manifest: Manifest


def make_backup(source: BackupSource, folder: Path, *, files_only: bool = False) -> FinishedBackup:
    """Make an archive in a folder, completely or not at all.

    It contains everything saved before the backup began, but no checkpoint from elsewhere, which is a separate file.

    Args:
        source: What to back up.
        folder: Where to make the archive; leftovers of an interrupted backup are removed.
        files_only: Leave the database out, as PostgreSQL requires.

    Raises:
        BackupError: If the database is PostgreSQL and not left out, or another backup is running in this folder.
        UnusableDatabaseError: If the database does not exist or belongs to another version.
        OSError: If it cannot be written, for example on a full disk.
    """
    sessions = open_as_it_is(source.database, data=source.data)
    if sessions.dialect != "sqlite" and not files_only:
        raise BackupError(
            "PostgreSQL databases are backed up with pg_dump: first run `pg_dump --format=custom "
            "--file=second_read.dump` on the database, then this command with --files-only. In that order, the backup "
            "contains every file that the dump refers to"
        )
    folder.mkdir(parents=True, exist_ok=True)
    with hold_lock(folder / _LOCK):
        for leftover in folder.glob(f"{_UNFINISHED}*"):
            shutil.rmtree(leftover)
        at = datetime.now(UTC)
        path = folder / f"second-read-{at:%Y%m%dT%H%M%S.%fZ}.tar"
        manifest = _write(path, sessions, source, at, files_only=files_only)
    with sessions.begin() as session:
        record_event(session, None, Action.BACKED_UP, path.name)
    sessions.dispose()
    return FinishedBackup(path, manifest)


def copy_database(source: Path, target: Path) -> None:
    """Copy one consistent state of a SQLite database while others may write to it.

    In a single step: in several, each write by another connection would restart the copy.

    Raises:
        BackupError: If the database cannot be read.
    """
    try:
        with closing(sqlite3.connect(source, timeout=60)) as original, closing(sqlite3.connect(target)) as copy:
            original.backup(copy, pages=-1)
    except sqlite3.Error as error:
        raise BackupError(f"cannot copy the database {source}: {error}") from error


def _write(path: Path, sessions: Sessions, source: BackupSource, at: datetime, *, files_only: bool) -> Manifest:
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=_UNFINISHED) as temporary:
        unfinished = Path(temporary) / path.name
        with unfinished.open("wb") as out:
            with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
                record = _add_anchor if files_only else _add_database
                members, referenced = record(archive, sessions, source, Path(temporary))
                members += _add_checkpoints(archive, source.checkpoints)
                manifest = _add_files(archive, Files(source.files), at, members, referenced)
            out.flush()
            os.fsync(out.fileno())
        unfinished.rename(path)
    sync_folder(path.parent)
    return manifest


def _add_anchor(
    archive: tarfile.TarFile, sessions: Sessions, source: BackupSource, temporary: Path
) -> tuple[list[ArchiveMember], set[str]]:
    """Add the anchor file only; return also the files that the database refers to."""
    with sessions.read() as session:
        referenced = set(referenced_files(session.connection()))
    if sessions.anchor is None:
        return [], referenced
    return [_add(archive, sessions.anchor.path.name, encode_lines(sessions.anchor.lines()))], referenced


def _add_database(
    archive: tarfile.TarFile, sessions: Sessions, source: BackupSource, temporary: Path
) -> tuple[list[ArchiveMember], set[str]]:
    """Add the database and the anchor lines of its events; return also the files that it refers to."""
    if sessions.anchor is None:
        raise ValueError("a SQLite database always has an anchor file beside it")
    copied = temporary / DATABASE
    before = sessions.anchor.lines()
    copy_database(Path(make_url(source.database).database or ""), copied)
    meanwhile = sessions.anchor.lines(len(before))
    engine = create_engine(URL.create("sqlite", database=str(copied)))
    with engine.connect() as copy:
        referenced = set(referenced_files(copy))
        last = copy.scalar(text("SELECT coalesce(max(id), 0) FROM audit_events")) or 0
    engine.dispose()
    anchor = encode_lines(lines_until(before, meanwhile, last))
    return [_add_path(archive, DATABASE, copied), _add(archive, ANCHOR, anchor)], referenced


def _add_checkpoints(archive: tarfile.TarFile, folder: Path) -> list[ArchiveMember]:
    """Add every checkpoint that was fitted to the site; nobody could make the same one again."""
    return [_add_path(archive, f"{CHECKPOINTS}/{path.name}", path) for path in sorted(folder.glob("*.safetensors"))]


def _add_files(
    archive: tarfile.TarFile, files: Files, at: datetime, members: list[ArchiveMember], referenced: set[str]
) -> Manifest:
    """Add every intact stored file, then the manifest of everything added.

    After the database: a file is stored before the row that refers to it, so none can be missing.
    """
    whole = set()
    for sha256 in files.stored():
        try:
            data = files.get(sha256)
        except DamagedFileError:
            continue  # listed as lacking if the database refers to it
        members.append(_add(archive, f"files/{sha256[:2]}/{sha256[2:4]}/{sha256}", data))
        whole.add(sha256)
    lacking = tuple(sorted(referenced - whole))
    manifest = Manifest(at.isoformat(timespec="seconds"), tuple(members), lacking)
    _add(archive, MANIFEST, manifest.as_json())
    return manifest


def _add_path(archive: tarfile.TarFile, name: str, path: Path) -> ArchiveMember:
    """Add a file that may be too large for the memory."""
    entry = tarfile.TarInfo(name)
    entry.size = path.stat().st_size
    with path.open("rb") as data:
        sha256 = hashlib.file_digest(data, "sha256").hexdigest()
        data.seek(0)
        archive.addfile(entry, data)
    return ArchiveMember(name, entry.size, sha256)


def _add(archive: tarfile.TarFile, name: str, data: bytes) -> ArchiveMember:
    entry = tarfile.TarInfo(name)
    entry.size = len(data)
    archive.addfile(entry, io.BytesIO(data))
    return ArchiveMember(name, len(data), hashlib.sha256(data).hexdigest())
