"""Store images and heat maps on disk, named by their sha256 and verified at every read."""

import fcntl
import hashlib
import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

from db.busy import telling_full_disk
from db.errors import UnusableDatabaseError

_SHA256 = re.compile(r"[0-9a-f]{64}")
_IN_USE = ".in_use"  # file in the data folder


class DamagedFileError(Exception):
    """A stored file is missing, unreadable or changed; the message is for the reader."""


class Files:
    """A folder of files that are written once, completely or not at all."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def put(self, data: bytes) -> str:
        """Store bytes and return their sha256; an intact copy is not written again.

        Raises:
            DatabaseBusyError: If the disk is full; nothing is left behind.
            OSError: If they cannot be stored for another reason; nothing is left behind either.
        """
        sha256 = hashlib.sha256(data).hexdigest()
        path = self._path(sha256)
        if not _holds(path, sha256):
            with telling_full_disk():
                _make_folder(path.parent, self._root)
                _write_whole(path, data)
        return sha256

    def get(self, sha256: str) -> bytes:
        """Read stored bytes and check that they are unchanged.

        Raises:
            DamagedFileError: If they are missing, unreadable or changed.
        """
        path = self._path(sha256)
        try:
            data = path.read_bytes()
        except FileNotFoundError as error:
            raise DamagedFileError(f"the stored file {sha256[:12]} is missing; restore it from a backup") from error
        except OSError as error:
            raise DamagedFileError(f"the stored file {sha256[:12]} cannot be read: {error.strerror}") from error
        if hashlib.sha256(data).hexdigest() != sha256:
            raise DamagedFileError(
                f"the stored file {sha256[:12]} has changed since it was stored; restore it from a backup"
            )
        return data

    def stored(self) -> Iterator[str]:
        """Yield the sha256 of every stored file, in order, intact or not."""
        for path in sorted(self._root.glob("[0-9a-f][0-9a-f]/[0-9a-f][0-9a-f]/*")):
            if _SHA256.fullmatch(path.name):
                yield path.name

    def _path(self, sha256: str) -> Path:
        if not _SHA256.fullmatch(sha256):
            raise ValueError(f"not a sha256: {sha256!r}")
        # Two levels of folders, because a folder of a million files is slow to list and to back up.
        return self._root / sha256[:2] / sha256[2:4] / sha256


class FolderInUse:
    """Marks a data folder as used by a server until it is released or the process ends."""

    def __init__(self, data: Path) -> None:
        """Mark the folder.

        Raises:
            UnusableDatabaseError: If the folder is being restored.
        """
        descriptor = os.open(data / _IN_USE, os.O_RDWR | os.O_CREAT, 0o600)
        self._descriptor: int | None = descriptor
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self.release()
            words = f"{data} is being restored from a backup: start again when that has finished"
            raise UnusableDatabaseError(words) from error

    def release(self) -> None:
        """Remove the mark; again changes nothing."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    @staticmethod
    def by_server(data: Path) -> bool:
        """Return whether a server uses the folder."""
        if not (data / _IN_USE).is_file():
            return False
        descriptor = os.open(data / _IN_USE, os.O_RDWR)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
        return False


def _holds(path: Path, sha256: str) -> bool:
    """Return whether the file exists and is intact."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == sha256
    except OSError:
        return False


def _write_whole(path: Path, data: bytes) -> None:
    """Write to a temporary name, then rename, so that an incomplete file is never visible, even after a crash."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=".tmp-")
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def _make_folder(folder: Path, root: Path) -> None:
    """Create the folder of a file so that it survives a power cut too."""
    if folder.is_dir():
        return
    folder.mkdir(parents=True, exist_ok=True)
    for parent in (folder.parent, root, root.parent):
        sync_folder(parent)


def sync_folder(folder: Path) -> None:
    """Flush a folder to disk: a rename survives a power cut only after its folder was flushed."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
