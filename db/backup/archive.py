"""The archive of a backup: one tar file that names all it holds with their hashes, read and checked here.

The hashes tell damage. They prove nothing against somebody who makes an archive anew: keep backups where
only those write who make them.
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

from db.errors import BackupError

DATABASE = "second_read.sqlite"
HEADS = "second_read.audit_heads"
MANIFEST = "manifest.json"

_FORMAT = "second-read-backup-1"
_CHUNK = 1 << 20  # bytes
_LARGEST_MANIFEST = 1 << 30  # bytes; ten million files
# Nothing else is unpacked, so no name can lead out of the folder.
_NAME = re.compile(
    r"second_read\.sqlite|[\w.-]+\.audit_heads|manifest\.json|files/[0-9a-f]{2}/[0-9a-f]{2}/[0-9a-f]{64}"
)


@dataclass(frozen=True, slots=True)
class Member:
    """One file of an archive; `size` in bytes."""

    name: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """What an archive holds, besides this list.

    `lacking` are files that the database names and that were missing or damaged when the backup was made.
    """

    made_at: str
    members: tuple[Member, ...]
    lacking: tuple[str, ...]

    @property
    def has_database(self) -> bool:
        """Say whether the database is in it; that of PostgreSQL is backed up by its own means."""
        return any(member.name == DATABASE for member in self.members)

    @property
    def files(self) -> int:
        """The number of images, heat maps and previews."""
        return sum(member.name.startswith("files/") for member in self.members)

    def as_json(self) -> bytes:
        """Write it as it stands in the archive."""
        return json.dumps({"format": _FORMAT, **asdict(self)}, indent=1).encode()


def unpack(path: Path, place: Callable[[str], Path | None]) -> Manifest:
    """Read a whole archive, check every file in it, and write those that have a place.

    Args:
        path: The archive.
        place: Gives where a member is to be written; None to check it only.

    Raises:
        BackupError: If the archive is not whole, to the byte; what was written then is not to be used.
    """
    found: dict[str, Member] = {}
    listed: bytes | None = None
    try:
        with tarfile.open(path, "r:") as archive:
            for entry in archive:
                stream = archive.extractfile(entry) if entry.isreg() else None
                if stream is None or not _NAME.fullmatch(entry.name) or entry.name in found:
                    raise BackupError(f"{path.name} is no backup of Second Read: it holds {entry.name!r}")
                if entry.name == MANIFEST:
                    listed = stream.read(_LARGEST_MANIFEST)
                else:
                    found[entry.name] = _copy(entry.name, stream, place(entry.name))
    except (tarfile.TarError, EOFError, OSError) as error:
        raise BackupError(f"the backup {path} cannot be read to its end: {error}") from error
    return _compared(path, listed, found)


@contextmanager
def alone(lock: Path) -> Iterator[None]:
    """Keep others who ask for the same lock out until the block ends, or this process does.

    Raises:
        BackupError: If somebody has it.
    """
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as error:
        raise BackupError(f"another backup or restore is going on there (it holds {lock})") from error
    finally:
        os.close(descriptor)


def _copy(name: str, stream: IO[bytes], target: Path | None) -> Member:
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
    return Member(name, size, digest.hexdigest())


def _compared(path: Path, listed: bytes | None, found: dict[str, Member]) -> Manifest:
    if listed is None:
        raise BackupError(f"{path.name} is not whole: its list of files, which comes last, is missing")
    manifest = _parsed(path, listed)
    wanted = {member.name: member for member in manifest.members}
    for name in sorted(wanted.keys() | found.keys()):
        if name not in found:
            raise BackupError(f"{path.name} is not whole: {name} is missing")
        if wanted.get(name) != found[name]:
            raise BackupError(f"{path.name} is damaged: {name} is not what was backed up")
    return manifest


def _parsed(path: Path, listed: bytes) -> Manifest:
    try:
        values = json.loads(listed)
        if values["format"] != _FORMAT:
            raise BackupError(f"{path.name} was made by another version of Second Read ({values['format']})")
        members = tuple(Member(str(m["name"]), int(m["size"]), str(m["sha256"])) for m in values["members"])
        return Manifest(str(values["made_at"]), members, tuple(map(str, values["lacking"])))
    except (ValueError, KeyError, TypeError) as error:
        raise BackupError(f"the list of files in {path.name} is damaged") from error
