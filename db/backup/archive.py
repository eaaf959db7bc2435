"""The archive of a backup: one tar file with a manifest of hashes, read and checked here.

The hashes reveal damage. They do not protect against someone who builds a new archive: keep backups where only
the people who make them can write.
"""

import fcntl
import hashlib
import json
import os
import re
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

from pydantic import TypeAdapter, ValidationError

from core.archives import TarReader
from db.errors import BackupError

DATABASE = "second_read.sqlite"
ANCHOR = "second_read.audit_heads"
MANIFEST = "manifest.json"
CHECKPOINTS = "checkpoints"  # folder of those that were fitted to the site

_FORMAT = "second-read-backup-1"
_CHUNK = 1 << 20  # bytes
_LARGEST_MANIFEST = 1 << 30  # bytes; ten million files
# Nothing else is unpacked, so no name can point outside the folder.
_NAME = re.compile(
    r"second_read\.sqlite|[\w.-]+\.audit_heads|manifest\.json|files/[0-9a-f]{2}/[0-9a-f]{2}/[0-9a-f]{64}"
    rf"|{CHECKPOINTS}/[^/\\\0]+\.safetensors"
)


@dataclass(frozen=True, slots=True)
class ArchiveMember:
    """One file of an archive; `size` in bytes."""

    name: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """The contents of an archive, apart from the manifest itself.

    `lacking` lists files that the database refers to but that were missing or damaged when the backup was made.
    """

    made_at: str
    members: tuple[ArchiveMember, ...]
    lacking: tuple[str, ...]

    @property
    def has_database(self) -> bool:
        """Return whether it contains the database; PostgreSQL is backed up separately."""
        return any(member.name == DATABASE for member in self.members)

    @property
    def files(self) -> int:
        """Count the images, heat maps and previews."""
        return sum(member.name.startswith("files/") for member in self.members)

    @property
    def checkpoints(self) -> int:
        """Count the checkpoints that were fitted to the site."""
        return sum(member.name.startswith(f"{CHECKPOINTS}/") for member in self.members)

    def as_json(self) -> bytes:
        """Encode it as it is stored in the archive."""
        return json.dumps({"format": _FORMAT, **asdict(self)}, indent=1).encode()


@dataclass(frozen=True, slots=True)
class _StoredManifest:
    format: str
    made_at: str
    members: tuple[ArchiveMember, ...]
    lacking: tuple[str, ...]


_MANIFEST = TypeAdapter(_StoredManifest)


def unpack(path: Path, place: Callable[[str], Path | None]) -> Manifest:
    """Read a whole archive, check every file in it, and write those that have a destination.

    Args:
        path: The archive.
        place: Returns where to write a member; None to check it only.

    Raises:
        BackupError: If the archive is incomplete or damaged; do not use the files written by then.
    """
    members: dict[str, ArchiveMember] = {}
    manifest: bytes | None = None
    try:
        with path.open("rb") as file:
            archive = TarReader(file)
            for entry in archive:
                stream = archive.open(entry) if entry.isreg() else None
                # A sparse file could fill the disk.
                is_file = stream is not None and entry.type in (tarfile.REGTYPE, tarfile.AREGTYPE)
                if stream is None or not is_file or not _NAME.fullmatch(entry.name) or entry.name in members:
                    raise BackupError(f"{path.name} is not a Second Read backup: it contains {entry.name!r}")
                if entry.name == MANIFEST:
                    manifest = stream.read(_LARGEST_MANIFEST)
                else:
                    members[entry.name] = _copy(entry.name, stream, place(entry.name))
    except (tarfile.TarError, EOFError, OSError, ValueError, OverflowError) as error:
        raise BackupError(f"the backup {path} cannot be read completely: {error}") from error
    return _check_members(path, manifest, members)


@contextmanager
def hold_lock(lock: Path) -> Iterator[None]:
    """Hold a lock file until the block or the process ends.

    Raises:
        BackupError: If another process holds the lock.
    """
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as error:
        raise BackupError(
            f"another backup or restore is already running here (it holds {lock}): wait until it has finished"
        ) from error
    finally:
        os.close(descriptor)


def _copy(name: str, stream: IO[bytes], target: Path | None) -> ArchiveMember:
    digest, size = hashlib.sha256(), 0
    if target:
        target.parent.mkdir(parents=True, exist_ok=True)
    with (target or Path(os.devnull)).open("wb") as out:
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
            size += len(chunk)
            out.write(chunk)
        if target:
            out.flush()
            os.fsync(out.fileno())
    return ArchiveMember(name, size, digest.hexdigest())


def _check_members(path: Path, manifest_bytes: bytes | None, unpacked: dict[str, ArchiveMember]) -> Manifest:
    if manifest_bytes is None:
        raise BackupError(f"{path.name} is incomplete: its list of files, which comes last, is missing")
    manifest = _parse_manifest(path, manifest_bytes)
    expected = {member.name: member for member in manifest.members}
    for name in sorted(expected.keys() | unpacked.keys()):
        if name not in unpacked:
            raise BackupError(f"{path.name} is incomplete: {name} is missing")
        if expected.get(name) != unpacked[name]:
            raise BackupError(f"{path.name} is damaged: {name} has changed since the backup")
    return manifest


def _parse_manifest(path: Path, manifest_bytes: bytes) -> Manifest:
    try:
        stored = _MANIFEST.validate_json(manifest_bytes)
    except ValidationError as error:
        raise BackupError(f"the list of files in {path.name} is damaged") from error
    if stored.format != _FORMAT:
        raise BackupError(f"{path.name} was made by another version of Second Read ({stored.format!r})")
    return Manifest(stored.made_at, stored.members, stored.lacking)
