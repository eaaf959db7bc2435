"""Download a large file over HTTP, resuming an earlier attempt, and unpack untrusted archives safely."""

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

from core.archives import TarReader

Progress = Callable[[int, int | None], None]  # bytes on disk, and bytes of the whole file if the server states them

_ATTEMPTS = 6  # without a single new byte, before giving up
_MAX_WAIT_SECONDS = 30.0
_TIMEOUT_SECONDS = 60.0
_CONTENT_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")

_CHUNK_BYTES = 1 << 20
_FREE_HEADER_BYTES = 1 << 20  # of a tar archive, however small it is packed
_ENCRYPTED = 0x1
_DAMAGED = (zipfile.BadZipFile, tarfile.TarError, EOFError, NotImplementedError, zlib.error, lzma.LZMAError)
_OPENERS = ((b"\x1f\x8b", gzip.open), (b"BZh", bz2.open), (b"\xfd7zXZ\0", lzma.open))
_SYSTEM_FILES = {"__MACOSX", ".DS_Store"}


class FetchError(Exception):
    """A file could not be downloaded, or is not the expected one; the message says what to do."""


class _ChangedError(httpx.TransportError):
    """A file changed on the server while it was being downloaded."""


@dataclass(frozen=True, slots=True)
class _Origin:
    """The file that a partial download belongs to; a resumed response must belong to the same."""

    url: str
    validator: str  # the strong ETag, or the date of the last change; "" if the server sends neither
    total: int | None


def fetch(url: str, target: Path, sha256: str = "", progress: Progress = lambda done, total: None) -> Path:
    """Download a file to `target`, resuming a partial download if there is one.

    The partial file lies beside it as `NAME.part`. It is continued by a Range request with If-Range, so that a file
    that changed on the server in the meantime is downloaded from the start instead of being mixed from two versions.

    Raises:
        FetchError: If the server refuses, the connection keeps breaking, or the sha256 differs.
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
    _origin_file(part).unlink(missing_ok=True)
    return target


def check_sha256(file: Path, sha256: str) -> None:
    """Compare a file with its expected checksum; "" skips the comparison.

    Raises:
        FetchError: If they differ; the file is not removed.
    """
    if not sha256:
        return
    with file.open("rb") as data:
        actual = hashlib.file_digest(data, "sha256").hexdigest()
    if actual != sha256.lower():
        raise FetchError(
            f"{file} has sha256 {actual}, not {sha256}: delete it and download it again from a source you trust"
        )


def _fetch_all(client: httpx.Client, url: str, part: Path, progress: Progress) -> None:
    """Send requests until the file is complete; wait longer after each one that brought no new byte."""
    furthest, fruitless = _size(part), 0
    while True:
        try:
            return _fetch_more(client, url, part, progress)
        except httpx.TransportError as error:
            if isinstance(error, _ChangedError):
                _origin_file(part).unlink(missing_ok=True)  # without it the next attempt starts at the first byte
            fruitless = 0 if _size(part) > furthest else fruitless + 1
            furthest = max(furthest, _size(part))
            if fruitless >= _ATTEMPTS:
                advice = f"run the same command again to resume; {_size(part):,} bytes are saved"
                raise FetchError(f"{url}: {error or type(error).__name__}; {advice}") from error
            time.sleep(min(0.2 * 2.0**fruitless, _MAX_WAIT_SECONDS))
        except (httpx.InvalidURL, httpx.TooManyRedirects) as error:
            raise FetchError(f"{url} does not lead to a file: {error}") from error


def _fetch_more(client: httpx.Client, url: str, part: Path, progress: Progress) -> None:
    """Request the missing bytes and append them; return when the file is complete."""
    origin = _read_origin(part, url)
    have = _size(part) if origin and origin.validator else 0
    if origin and have and have == origin.total:
        return  # an earlier attempt was killed between the last byte and the renaming
    headers = {"Accept-Encoding": "identity"}
    if origin and have:
        headers |= {"Range": f"bytes={have}-", "If-Range": origin.validator}
    with client.stream("GET", url, headers=headers) as answer:
        if answer.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE and have:
            raise _ChangedError(f"{url} is now shorter than the part already downloaded")
        start = _start(answer, have, url)
        current = _origin(answer, url, origin if start else None)
        with part.open("r+b" if start else "wb") as file:
            # Only after emptying the part: if the process died in between, a new origin would be trusted for old bytes.
            _origin_file(part).write_text(json.dumps(asdict(current)), encoding="utf-8")
            file.seek(start)
            progress(start, current.total)
            for chunk in answer.iter_raw():
                file.write(chunk)
                progress(file.tell(), current.total)
            file.truncate()
            file.flush()
            os.fsync(file.fileno())
    if current.total is not None and _size(part) != current.total:
        raise httpx.ReadError(f"only {_size(part):,} of {current.total:,} bytes arrived")


def _start(answer: httpx.Response, have: int, url: str) -> int:
    """Return the byte at which the response starts."""
    if answer.status_code == httpx.codes.OK:
        return 0
    match = _CONTENT_RANGE.fullmatch(answer.headers.get("Content-Range", ""))
    if answer.status_code == httpx.codes.PARTIAL_CONTENT and have and match and int(match[1]) == have:
        return have
    if answer.status_code >= httpx.codes.INTERNAL_SERVER_ERROR:
        raise httpx.ReadError(f"the server answered {answer.status_code}")
    raise FetchError(
        f"{url}: the server answered {answer.status_code} {answer.reason_phrase}. If the address needs a login, "
        "download the archive in a browser and pass --archive FILE"
    )


def _origin(answer: httpx.Response, url: str, before: _Origin | None) -> _Origin:
    """Return the origin of a response; `before` is that of the partial file, if the response continues it."""
    tag = answer.headers.get("ETag", "")
    # A weak tag ("W/...") promises the same meaning, not the same bytes; If-Range refuses it (RFC 9110, 13.1.5).
    validator = tag if tag.startswith('"') else answer.headers.get("Last-Modified", "")
    if before is None:
        length = answer.headers.get("Content-Length", "")
        return _Origin(url, validator, int(length) if length.isdigit() else None)
    if validator.startswith('"') and before.validator.startswith('"') and validator != before.validator:
        raise _ChangedError(f"{url} has changed on the server")
    return before


def _read_origin(part: Path, url: str) -> _Origin | None:
    try:
        fields = json.loads(_origin_file(part).read_text(encoding="utf-8"))
        origin = _Origin(fields["url"], fields["validator"], fields["total"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return origin if origin.url == url else None


def _origin_file(part: Path) -> Path:
    return part.with_name(part.name + ".json")


def _size(part: Path) -> int:
    return part.stat().st_size if part.is_file() else 0


class UnsafeArchiveError(ValueError):
    """An archive is damaged or contains something that must not be unpacked; the message says what."""


@dataclass(frozen=True, slots=True)
class ArchiveLimits:
    """Limits on the contents of an archive.

    The largest supported release has 13 GB and 277,524 files, and one copy of it has every file twice. Images hardly
    compress, so an archive that grows by more than `ratio` times is not a dataset.
    """

    total_bytes: int = 60_000_000_000
    files: int = 700_000
    folders: int = 20_000
    ratio: float = 30.0

    def __post_init__(self) -> None:
        if min(self.total_bytes, self.files, self.folders, self.ratio) <= 0:
            raise ValueError(f"limits must be greater than 0: {self}")


@dataclass(frozen=True, slots=True)
class _Member:
    """A file in an archive: its path, the size stated by the archive, and how to read it."""

    path: PurePosixPath
    size: int
    open: Callable[[], IO[bytes]]


def unpack(
    archive: Path,
    folder: Path,
    limits: ArchiveLimits | None = None,
    progress: Callable[[int], None] = lambda files: None,
) -> int:
    """Unpack a .zip or .tar(.gz, .bz2, .xz) into a new folder and return the number of files.

    Everything is written to a temporary folder beside it, which is renamed after the last file. A refused archive or
    a killed process therefore never leaves an incomplete folder under the final name.

    Raises:
        UnsafeArchiveError: If it would write outside the folder, contains links, devices or encrypted files, unpacks to
            more than the limits, or cannot be read.
        FileExistsError: If the folder already exists.
    """
    if folder.exists():
        raise FileExistsError(f"{folder} already exists")
    temporary = folder.with_name(folder.name + ".unpacking")
    shutil.rmtree(temporary, ignore_errors=True)  # left by a killed process
    temporary.mkdir(parents=True)
    try:
        with archive.open("rb") as file:
            zipped = file.read(2) == b"PK"
            file.seek(0)
            budget = _Budget(limits or ArchiveLimits(), archive.stat().st_size)
            members = _zip_members(file, budget) if zipped else _tar_members(file, budget)
            count = _write_all(members, temporary, budget, progress)
        temporary.replace(folder)
    except _DAMAGED as error:
        raise UnsafeArchiveError(f"{archive.name} is damaged or of an unsupported kind: {error}") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return count


class _Budget:
    """Counts unpacked files and bytes, and raises an error at the limits."""

    def __init__(self, limits: ArchiveLimits, packed_bytes: int) -> None:
        self._limits = limits
        self._max_bytes = min(limits.total_bytes, int(limits.ratio * packed_bytes))
        self._max_header_bytes = max(_FREE_HEADER_BYTES, int(limits.ratio * packed_bytes))
        self.files = self._folders = self._bytes = 0

    def start_file(self, stated_size: int) -> None:
        """Count a file; refuse it by its stated size before any byte is read."""
        self.files += 1
        if self.files > self._limits.files:
            raise UnsafeArchiveError(f"the archive contains more than {self._limits.files:,} files")
        if self._bytes + stated_size > self._max_bytes:
            self._refuse()

    def start_folder(self) -> None:
        """Count a folder: it has no bytes, but its entry is read."""
        self._folders += 1
        if self._folders > self._limits.folders:
            raise UnsafeArchiveError(f"the archive contains more than {self._limits.folders:,} folders")

    def check_headers(self, count: int) -> None:
        """Check the bytes of all headers so far: packed, a million of them can be a small file."""
        if count > self._max_header_bytes:
            raise UnsafeArchiveError(f"the archive contains more than {self._max_header_bytes:,} bytes of headers")

    def add(self, count: int) -> None:
        """Count bytes actually unpacked, whatever size was stated."""
        self._bytes += count
        if self._bytes > self._max_bytes:
            self._refuse()

    def _refuse(self) -> None:
        raise UnsafeArchiveError(
            f"the archive unpacks to more than {self._max_bytes:,} bytes; "
            f"the limits are {self._limits.total_bytes:,} bytes and {self._limits.ratio:g} times its own size"
        )


def _write_all(members: Iterator[_Member], folder: Path, budget: _Budget, progress: Callable[[int], None]) -> int:
    for member in members:
        target = folder.joinpath(*member.path.parts)
        budget.start_file(member.size)
        if _is_system_file(member.path):
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            file = target.open("xb")
        except FileExistsError as error:
            raise UnsafeArchiveError(f"the archive contains {member.path} twice") from error
        with file, member.open() as source:
            while chunk := source.read(_CHUNK_BYTES):
                budget.add(len(chunk))
                file.write(chunk)
        progress(budget.files)
    return budget.files


def _safe_path(name: str) -> PurePosixPath:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or any(character in name for character in "\\:\0"):
        raise UnsafeArchiveError(f"the archive would write outside its folder: {name!r}")
    return path


def _is_system_file(path: PurePosixPath) -> bool:
    return not path.parts or bool(_SYSTEM_FILES & set(path.parts)) or path.name.startswith("._")


def _zip_members(file: BinaryIO, budget: _Budget) -> Iterator[_Member]:
    with zipfile.ZipFile(file) as archive:
        for info in archive.infolist():
            path = _safe_path(info.filename)
            kind = stat.S_IFMT(info.external_attr >> 16)
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise UnsafeArchiveError(f"the archive contains a link or a device: {info.filename}")
            if info.flag_bits & _ENCRYPTED:
                raise UnsafeArchiveError(f"the archive is encrypted: {info.filename}")
            if info.is_dir():
                budget.start_folder()
            else:
                yield _Member(path, info.file_size, partial(archive.open, info))


def _tar_members(file: BinaryIO, budget: _Budget) -> Iterator[_Member]:
    magic = file.read(6)
    file.seek(0)
    opened = next((opener(file) for start, opener in _OPENERS if magic.startswith(start)), file)
    archive = TarReader(cast(BinaryIO, opened))
    for info in archive:
        budget.check_headers(archive.header_bytes)
        path = _safe_path(info.name)
        if not info.isreg() and not info.isdir():
            raise UnsafeArchiveError(f"the archive contains a link or a device: {info.name}")
        if info.isreg():
            yield _Member(path, info.size, partial(archive.open, info))
        else:
            budget.start_folder()
