"""Makes a backup while the server goes on: the database, every stored file and the heads of the audit trail."""

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

from sqlalchemy import make_url, text

from db.audit.anchor import as_bytes, until
from db.audit.trail import record_event
from db.backup.archive import DATABASE, HEADS, MANIFEST, Manifest, Member, alone
from db.database import Sessions, open_as_it_is
from db.errors import BackupError
from db.files import DamagedFileError, Files, sync_folder
from db.values.reading import Action

_WORKSHOP = ".making-backup-"  # a folder that holds what is not finished
_LOCK = ".second-read-backup.lock"
# Every column that names a stored file.
_NAMED = (
    "SELECT file_sha256 FROM images UNION SELECT heatmap_sha256 FROM predictions "
    "UNION SELECT preview_sha256 FROM evaluated_images UNION SELECT heatmap_sha256 FROM evaluated_images"
)


@dataclass(frozen=True, slots=True)
class Source:
    """What is backed up: a database, the data folder, and the stored files in it."""

    database: str
    data: Path
    files: Path


@dataclass(frozen=True, slots=True)
class Made:
    """A finished backup."""

    path: Path
    manifest: Manifest


def make_backup(source: Source, folder: Path, *, files_only: bool = False) -> Made:
    """Make an archive in a folder: whole and on the disk, or not at all.

    What was saved before the backup began is in it. The checkpoint in service is not: it is a file of its own.

    Args:
        source: What to back up.
        folder: Where the archive is made; what an interrupted backup left there is removed.
        files_only: Leave the database out, as has to be with PostgreSQL.

    Raises:
        BackupError: If the database is PostgreSQL's and not left out, or another backup is going on there.
        UnusableDatabaseError: If the database is not there or of another version.
        OSError: If it cannot be written, for example on a full disk.
    """
    sessions = open_as_it_is(source.database, data=source.data)
    if sessions.dialect != "sqlite" and not files_only:
        raise BackupError(
            "PostgreSQL has its own way: run `pg_dump --format=custom --file=second_read.dump` on the database "
            "first, then this again with --files-only. In that order every file that the dump names is there"
        )
    folder.mkdir(parents=True, exist_ok=True)
    with alone(folder / _LOCK):
        for left in folder.glob(f"{_WORKSHOP}*"):
            shutil.rmtree(left)
        at = datetime.now(UTC)
        path = folder / f"second-read-{at:%Y%m%dT%H%M%S.%fZ}.tar"
        manifest = _write(path, sessions, source, at, files_only=files_only)
    with sessions.begin() as session:
        record_event(session, None, Action.BACKED_UP, path.name)
    sessions.dispose()
    return Made(path, manifest)


def copy_database(source: Path, target: Path) -> None:
    """Copy a SQLite database as it is at one moment, whoever writes to it.

    In one step: in several, each change by somebody else would begin the copy anew, for ever.

    Raises:
        BackupError: If the database cannot be read.
    """
    try:
        with closing(sqlite3.connect(source, timeout=60)) as original, closing(sqlite3.connect(target)) as copy:
            original.backup(copy, pages=-1)
    except sqlite3.Error as error:
        raise BackupError(f"the database {source} cannot be copied: {error}") from error


def _write(path: Path, sessions: Sessions, source: Source, at: datetime, *, files_only: bool) -> Manifest:
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=_WORKSHOP) as workshop:
        made = Path(workshop) / path.name
        with made.open("wb") as out:
            with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
                record = _add_heads if files_only else _add_database
                members, named = record(archive, sessions, source, Path(workshop))
                manifest = _add_files(archive, Files(source.files), at, members, named)
            out.flush()
            os.fsync(out.fileno())
        made.rename(path)
    sync_folder(path.parent)
    return manifest


def _add_heads(
    archive: tarfile.TarFile, sessions: Sessions, source: Source, workshop: Path
) -> tuple[list[Member], set[str]]:
    """Add the heads alone; give also the files that the database names."""
    with sessions.read() as session:
        named = set(session.scalars(text(_NAMED)))
    if sessions.heads is None:
        return [], named
    return [_add(archive, sessions.heads.path.name, as_bytes(sessions.heads.lines()))], named


def _add_database(
    archive: tarfile.TarFile, sessions: Sessions, source: Source, workshop: Path
) -> tuple[list[Member], set[str]]:
    """Add the database, and of the heads those of the events in it; give also the files that it names."""
    if sessions.heads is None:
        raise ValueError("a SQLite database always has its heads beside it")
    copied = workshop / DATABASE
    before = sessions.heads.lines()
    copy_database(Path(make_url(source.database).database or ""), copied)
    after = sessions.heads.lines()
    with closing(sqlite3.connect(copied)) as copy:
        named = {sha256 for (sha256,) in copy.execute(_NAMED)}
        (last,) = copy.execute("SELECT coalesce(max(id), 0) FROM audit_events").fetchone()
    entry = tarfile.TarInfo(DATABASE)
    entry.size = copied.stat().st_size
    with copied.open("rb") as data:
        sha256 = hashlib.file_digest(data, "sha256").hexdigest()
        data.seek(0)
        archive.addfile(entry, data)
    heads = _add(archive, HEADS, as_bytes(until(before, after, last)))
    return [Member(DATABASE, entry.size, sha256), heads], named


def _add_files(
    archive: tarfile.TarFile, files: Files, at: datetime, members: list[Member], named: set[str]
) -> Manifest:
    """Add every stored file that is whole, and the list of all that was added.

    After the database: a file is stored before the row that names it, so none of these can be missing.
    """
    whole = set()
    for sha256 in files.stored():
        try:
            data = files.get(sha256)
        except DamagedFileError:
            continue  # named as lacking, if the database needs it
        members.append(_add(archive, f"files/{sha256[:2]}/{sha256[2:4]}/{sha256}", data))
        whole.add(sha256)
    lacking = tuple(sorted(sha256 for sha256 in named - whole if sha256))
    manifest = Manifest(at.isoformat(timespec="seconds"), tuple(members), lacking)
    _add(archive, MANIFEST, manifest.as_json())
    return manifest


def _add(archive: tarfile.TarFile, name: str, data: bytes) -> Member:
    entry = tarfile.TarInfo(name)
    entry.size = len(data)
    archive.addfile(entry, io.BytesIO(data))
    return Member(name, len(data), hashlib.sha256(data).hexdigest())
