"""Fetch a large file over HTTP, resuming where an earlier attempt stopped, and unpack untrusted archives safely."""

import bz2
import gzip
import hashlib
import json
import lzma
import os
import re
import shutil
import stat
import tarfile
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, BinaryIO, cast

import httpx

Progress = Callable[[int, int | None], None]  # bytes here, and bytes of the whole file if the server says

_ATTEMPTS = 6  # without a single new byte, before giving up
_LONGEST_WAIT_SECONDS = 30.0
_TIMEOUT_SECONDS = 60.0
_CONTENT_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")

_PIECE_BYTES = 1 << 20
_LONGEST_READ_BYTES = 16 << 20  # of a tar header: tarfile would read one of any length into memory
_ENCRYPTED = 0x1
_DAMAGED = (zipfile.BadZipFile, tarfile.TarError, EOFError, NotImplementedError, zlib.error, lzma.LZMAError)
_OPENERS = ((b"\x1f\x8b", gzip.open), (b"BZh", bz2.open), (b"\xfd7zXZ\0", lzma.open))
_LITTER = {"__MACOSX", ".DS_Store"}


class FetchError(Exception):
    """A file could not be fetched, or is not the one that was meant; the message says what to do."""


class _ChangedError(httpx.TransportError):
    """A server sent the rest of another file, although it was asked not to."""


@dataclass(frozen=True, slots=True)
class _Origin:
    """What a partial file is a part of; a resumed answer must be a part of the same."""

    url: str
    validator: str  # the strong ETag, or the date of the last change; "" if the server gives neither
    total: int | None


def fetch(url: str, target: Path, sha256: str = "", progress: Progress = lambda done, total: None) -> Path:
    """Fetch a file to `target`, going on from a part of it that is already here.

    The part lies beside it as `NAME.part`. It is continued by a Range request with If-Range, so that a file changed on
    the server in between starts anew instead of being sewn together from two.

    Raises:
        FetchError: If the server refuses, the connection keeps breaking, or the sha256 is another.
    """
    if target.is_file():
        check_sha256(target, sha256)
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(target.name + ".part")
    with httpx.Client(timeout=_TIMEOUT_SECONDS, follow_redirects=True) as client:
        _fetch_all(client, url, part, progress)
    check_sha256(part, sha256)
    part.replace(target)
    _notes(part).unlink(missing_ok=True)
    return target


def check_sha256(file: Path, sha256: str) -> None:
    """Compare a file with the checksum it should have; "" compares nothing.

    Raises:
        FetchError: If they differ; the file is left where it is.
    """
    if not sha256:
        return
    with file.open("rb") as data:
        found = hashlib.file_digest(data, "sha256").hexdigest()
    if found != sha256.lower():
        raise FetchError(
            f"{file} has sha256 {found}, not {sha256}: delete it and fetch it again from a source you trust"
        )


def _fetch_all(client: httpx.Client, url: str, part: Path, progress: Progress) -> None:
    """Ask until the file is whole; waits longer each time that no further byte came."""
    furthest, fruitless = _size(part), 0
    while True:
        try:
            return _fetch_more(client, url, part, progress)
        except httpx.TransportError as error:
            if isinstance(error, _ChangedError):
                _notes(part).unlink(missing_ok=True)  # without them the next attempt begins at the first byte
            fruitless = 0 if _size(part) > furthest else fruitless + 1
            furthest = max(furthest, _size(part))
            if fruitless >= _ATTEMPTS:
                kept = f"run the same command again to go on, {_size(part):,} bytes are kept"
                raise FetchError(f"{url}: {error or type(error).__name__}; {kept}") from error
            time.sleep(min(0.2 * 2.0**fruitless, _LONGEST_WAIT_SECONDS))
        except (httpx.InvalidURL, httpx.TooManyRedirects) as error:
            raise FetchError(f"{url} does not lead to a file: {error}") from error


def _fetch_more(client: httpx.Client, url: str, part: Path, progress: Progress) -> None:
    """Ask for what is missing and append it; returns when the file is whole."""
    origin = _read_origin(part, url)
    have = _size(part) if origin and origin.validator else 0
    if origin and have and have == origin.total:
        return  # killed between the last byte and the renaming
    headers = {"Accept-Encoding": "identity"}
    if origin and have:
        headers |= {"Range": f"bytes={have}-", "If-Range": origin.validator}
    with client.stream("GET", url, headers=headers) as answer:
        if answer.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE and have:
            raise _ChangedError(f"{url} has become shorter than what is here of it")
        start = _start(answer, have, url)
        found = _origin(answer, url, origin if start else None)
        with part.open("r+b" if start else "wb") as file:
            # After the part is emptied: new notes beside old bytes would be trusted if the process died between.
            _notes(part).write_text(json.dumps(asdict(found)), encoding="utf-8")
            file.seek(start)
            progress(start, found.total)
            for piece in answer.iter_raw():
                file.write(piece)
                progress(file.tell(), found.total)
            file.truncate()
            file.flush()
            os.fsync(file.fileno())
    if found.total is not None and _size(part) != found.total:
        raise httpx.ReadError(f"{_size(part):,} of {found.total:,} bytes came")


def _start(answer: httpx.Response, have: int, url: str) -> int:
    """Say at which byte the answer begins."""
    if answer.status_code == httpx.codes.OK:
        return 0
    match = _CONTENT_RANGE.fullmatch(answer.headers.get("Content-Range", ""))
    if answer.status_code == httpx.codes.PARTIAL_CONTENT and have and match and int(match[1]) == have:
        return have
    if answer.status_code >= httpx.codes.INTERNAL_SERVER_ERROR:
        raise httpx.ReadError(f"the server answered {answer.status_code}")
    raise FetchError(
        f"{url}: the server answered {answer.status_code} {answer.reason_phrase}. If the address needs a login, "
        "fetch the archive in a browser and pass --archive FILE"
    )


def _origin(answer: httpx.Response, url: str, before: _Origin | None) -> _Origin:
    """Note what an answer is of; `before` is what the part here is of, if the answer goes on with it."""
    tag = answer.headers.get("ETag", "")
    # A weak tag ("W/...") promises the same meaning, not the same bytes; If-Range does not take it (RFC 9110, 13.1.5).
    validator = tag if tag.startswith('"') else answer.headers.get("Last-Modified", "")
    if before is None:
        length = answer.headers.get("Content-Length", "")
        return _Origin(url, validator, int(length) if length.isdigit() else None)
    if validator.startswith('"') and before.validator.startswith('"') and validator != before.validator:
        raise _ChangedError(f"{url} has changed on the server")
    return before


def _read_origin(part: Path, url: str) -> _Origin | None:
    try:
        noted = json.loads(_notes(part).read_text(encoding="utf-8"))
        origin = _Origin(noted["url"], noted["validator"], noted["total"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return origin if origin.url == url else None


def _notes(part: Path) -> Path:
    return part.with_name(part.name + ".json")


def _size(part: Path) -> int:
    return part.stat().st_size if part.is_file() else 0


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
