"""Unpacks archives of strangers: nothing outside the folder, no links, and no more than was bargained for."""

import bz2
import gzip
import lzma
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, BinaryIO, cast

_PIECE_BYTES = 1 << 20
_LONGEST_READ_BYTES = 16 << 20  # of a tar header: tarfile would read one of any length into memory
_ENCRYPTED = 0x1
_DAMAGED = (zipfile.BadZipFile, tarfile.TarError, EOFError, NotImplementedError, zlib.error, lzma.LZMAError)
_OPENERS = ((b"\x1f\x8b", gzip.open), (b"BZh", bz2.open), (b"\xfd7zXZ\0", lzma.open))
_LITTER = {"__MACOSX", ".DS_Store"}


class UnsafeArchiveError(ValueError):
    """An archive holds what must not be unpacked, or is damaged; the message names it."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How much may come out of an archive.

    The largest release here has 13 GB and 277,524 files, and one copy has these twice. Images hardly shrink when
    packed, so that an archive which grows much more than `ratio` times is no dataset.
    """

    total_bytes: int = 60_000_000_000
    files: int = 700_000
    ratio: float = 30.0

    def __post_init__(self) -> None:
        if min(self.total_bytes, self.files, self.ratio) <= 0:
            raise ValueError(f"limits must be above 0: {self}")


@dataclass(frozen=True, slots=True)
class _Member:
    """A file of an archive: where it goes, the size it claims, and how to read it."""

    path: PurePosixPath
    size: int
    open: Callable[[], IO[bytes]]


def unpack(
    archive: Path, folder: Path, limits: Limits | None = None, progress: Callable[[int], None] = lambda files: None
) -> int:
    """Unpack a .zip or .tar(.gz, .bz2, .xz) into a new folder and give the number of files.

    Everything goes to a folder beside it first, which takes its name when the last file is written; of an archive that
    is refused or a process that is killed, no half folder remains under that name.

    Raises:
        UnsafeArchiveError: If it would write outside the folder, holds links, devices or encrypted files, unpacks to
            more than the limits, or cannot be read.
        FileExistsError: If the folder is there already.
    """
    if folder.exists():
        raise FileExistsError(f"{folder} is there already")
    beside = folder.with_name(folder.name + ".unpacking")
    shutil.rmtree(beside, ignore_errors=True)  # left by a killed process
    beside.mkdir(parents=True)
    try:
        with archive.open("rb") as file:
            zipped = file.read(2) == b"PK"
            file.seek(0)
            members = _zip_members(file) if zipped else _tar_members(file)
            count = _write_all(members, beside, _Budget(limits or Limits(), archive.stat().st_size), progress)
        beside.replace(folder)
    except _DAMAGED as error:
        raise UnsafeArchiveError(f"{archive.name} is damaged or of an unusual kind: {error}") from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return count


class _Budget:
    """Counts what has been unpacked and stops at the limits."""

    def __init__(self, limits: Limits, packed_bytes: int) -> None:
        self._limits = limits
        self._most = min(limits.total_bytes, int(limits.ratio * packed_bytes))
        self.files = self._bytes = 0

    def start_file(self, claimed: int) -> None:
        """Count a file; refuse it by its claimed size before a byte of it is read."""
        self.files += 1
        if self.files > self._limits.files:
            raise UnsafeArchiveError(f"the archive holds more than {self._limits.files:,} files")
        if self._bytes + claimed > self._most:
            self._refuse()

    def add(self, count: int) -> None:
        """Count bytes that came out, whatever was claimed."""
        self._bytes += count
        if self._bytes > self._most:
            self._refuse()

    def _refuse(self) -> None:
        raise UnsafeArchiveError(
            f"the archive unpacks to more than {self._most:,} bytes: at most {self._limits.ratio:g} times its own size "
            f"and {self._limits.total_bytes:,} bytes are unpacked"
        )


def _write_all(members: Iterator[_Member], folder: Path, budget: _Budget, progress: Callable[[int], None]) -> int:
    for member in members:
        target = folder.joinpath(*member.path.parts)
        budget.start_file(member.size)
        if _is_litter(member.path):
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            file = target.open("xb")
        except FileExistsError as error:
            raise UnsafeArchiveError(f"the archive holds {member.path} twice") from error
        with file, member.open() as source:
            while piece := source.read(_PIECE_BYTES):
                budget.add(len(piece))
                file.write(piece)
        progress(budget.files)
    return budget.files


def _safe_path(name: str) -> PurePosixPath:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or any(sign in name for sign in "\\:\0"):
        raise UnsafeArchiveError(f"the archive would write outside its folder: {name!r}")
    return path


def _is_litter(path: PurePosixPath) -> bool:
    return not path.parts or bool(_LITTER & set(path.parts)) or path.name.startswith("._")


def _zip_members(file: BinaryIO) -> Iterator[_Member]:
    with zipfile.ZipFile(file) as archive:
        for info in archive.infolist():
            path = _safe_path(info.filename)
            kind = stat.S_IFMT(info.external_attr >> 16)
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise UnsafeArchiveError(f"the archive holds a link or a device: {info.filename}")
            if info.flag_bits & _ENCRYPTED:
                raise UnsafeArchiveError(f"the archive is encrypted: {info.filename}")
            if not info.is_dir():
                yield _Member(path, info.file_size, partial(archive.open, info))


def _tar_members(file: BinaryIO) -> Iterator[_Member]:
    mark = file.read(6)
    file.seek(0)
    opened = next((opener(file) for start, opener in _OPENERS if mark.startswith(start)), file)
    stream = cast(IO[bytes], _ShortReads(cast(BinaryIO, opened)))
    with tarfile.open(fileobj=stream, mode="r:") as archive:
        for info in archive:
            path = _safe_path(info.name)
            if not info.isreg() and not info.isdir():
                raise UnsafeArchiveError(f"the archive holds a link or a device: {info.name}")
            if info.isreg():
                yield _Member(path, info.size, partial(_tar_file, archive, info))


def _tar_file(archive: tarfile.TarFile, info: tarfile.TarInfo) -> IO[bytes]:
    return cast(IO[bytes], archive.extractfile(info))  # None only for what is not a file


class _ShortReads:
    """A stream that refuses to be read in one enormous piece."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self.seek, self.tell = stream.seek, stream.tell

    def read(self, size: int) -> bytes:
        if size > _LONGEST_READ_BYTES:
            raise tarfile.ReadError(f"a header of {size:,} bytes")
        return self._stream.read(size)
